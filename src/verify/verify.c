#include "verify/verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/team.h"
#include "base/thread.h"
#include "calib/loop.h"
#include "ops/int8.h"
#include "verify/outputs.h"
#include "verify/pair.h"

/* Sums over pictures. */
struct layer_sums {
    q8_exact_sum signal, noise, alone_noise, cosine, alone_cosine;
};

/* The values of one output for the picture at hand. */
struct values {
    float *exact, *int8;
};

/* All that is added up, in one block of memory that begins with the layers'. */
struct sums {
    struct layer_sums *layer;
    q8_output_sums *output;
    unsigned long long *beyond; /* by tensor */
    unsigned long long *right;  /* by enum right */
};

/* Pictures that have a label, and those whose class is that. */
enum right { LABELLED, FLOAT_RIGHT, INT8_RIGHT, N_RIGHT };

struct job {
    const q8_verify_of *what;
    q8_pair pair;
    int *layer_of;   /* by tensor: the layer whose Compare makes it, -1 */
    bool *is_beyond; /* by tensor: counts what a Quantize cut off */
    q8_output_form *form;
    int classes; /* the output that labels are of, -1: none */
    q8_exec *exec;
    struct worker *worker;
    void **user; /* by worker, for the loop */
    int n_workers;
};

/* One thread's own. */
struct worker {
    const struct job *job;
    struct values *value; /* by output */
    struct sums sums;
};

/* --- one picture ------------------------------------------------------------------------------ */

static void add_layer(struct layer_sums *sums, bool alone, const float *out)
{
    double v[Q8_COMPARE_SUMS];
    for (int i = 0; i < Q8_COMPARE_SUMS; i++)
        v[i] = q8_compare_value(out, i);
    q8_exact_sum_add(&sums->signal, v[Q8_COMPARE_SIGNAL]);
    q8_exact_sum_add(&sums->noise, v[Q8_COMPARE_NOISE]);
    q8_exact_sum_add(&sums->cosine,
                     q8_cosine(v[Q8_COMPARE_DOT], v[Q8_COMPARE_SIGNAL], v[Q8_COMPARE_POWER]));
    if (!alone)
        return;
    const double *own = v + Q8_COMPARE_ALONE; /* noise, dot, power */
    q8_exact_sum_add(&sums->alone_noise, own[0]);
    q8_exact_sum_add(&sums->alone_cosine, q8_cosine(own[1], v[Q8_COMPARE_SIGNAL], own[2]));
}

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    (void)err;
    struct worker *w = user;
    const q8_pair *pair = &w->job->pair;
    const int layer = w->job->layer_of[tensor];
    if (layer >= 0) {
        add_layer(&w->sums.layer[layer], pair->layer[layer].alone, view->data);
        return Q8_OK;
    }
    for (int i = 0; i < pair->graph->n_outputs; i++) {
        if (pair->graph->output[i] == tensor)
            q8_view_to_nchw(view, 0, w->value[i].exact);
        if (pair->simulated[i] == tensor)
            q8_view_to_nchw(view, 0, w->value[i].int8);
    }
    if (w->job->is_beyond[tensor])
        w->sums.beyond[tensor] += (unsigned long long)view->data[0];
    return Q8_OK;
}

static q8_code add_label(struct worker *w, size_t sample, q8_err *err)
{
    const struct job *job = w->job;
    char room[Q8_MAX_PATH];
    const char *path = q8_samples_path(job->what->samples, sample, room);
    const int label = q8_labels_find(job->what->labels, path);
    const q8_output_form *form = &job->form[job->classes];
    const q8_loc loc = {.file = path};
    if (label < 0)
        return Q8_OK;
    if ((size_t)label >= form->classes)
        return q8_fail(err, Q8_EINVAL, &loc, NULL, "is of class %d, but there are classes 0 to %zu",
                       label, form->classes - 1);
    const struct values *value = &w->value[job->classes];
    unsigned long long *right = w->sums.right;
    right[LABELLED]++;
    right[FLOAT_RIGHT] += q8_largest(value->exact, form->classes, 1) == (size_t)label;
    right[INT8_RIGHT] += q8_largest(value->int8, form->classes, 1) == (size_t)label;
    return Q8_OK;
}

static q8_code finish_sample(void *user, size_t sample, q8_err *err)
{
    struct worker *w = user;
    for (int i = 0; i < w->job->pair.graph->n_outputs; i++)
        q8_output_add(&w->sums.output[i], &w->job->form[i], w->value[i].exact, w->value[i].int8);
    return w->job->what->labels ? add_label(w, sample, err) : Q8_OK;
}

/* --- before ----------------------------------------------------------------------------------- */

/* Labels are of the first output that gives each picture one distribution; else of the only one
 * that is a vector. */
static q8_code find_classes(struct job *job, q8_err *err)
{
    int vectors = 0;
    job->classes = -1;
    for (int i = job->pair.graph->n_outputs - 1; i >= 0; i--)
        if (job->form[i].rows == 1 && job->form[i].distribution)
            job->classes = i;
    for (int i = 0; i < job->pair.graph->n_outputs && job->classes < 0; i++)
        vectors += job->form[i].rows == 1;
    for (int i = 0; i < job->pair.graph->n_outputs && vectors == 1; i++)
        if (job->form[i].rows == 1)
            job->classes = i;
    if (job->what->labels && job->classes < 0)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "there are labels, but no output is a vector of classes");
    return Q8_OK;
}

static q8_code find_forms(struct job *job, q8_arena *arena, q8_err *err)
{
    const int n = job->pair.graph->n_outputs;
    q8_code code = Q8_OK;
    job->form = q8_arena_array(arena, (size_t)n + 1, sizeof(*job->form));
    if (!job->form)
        return q8_fail_nomem(err);
    for (int i = 0; i < n && !code; i++)
        code = q8_output_form_of(&job->form[i], job->what->exact, job->what->int8, i, err);
    return code ? code : find_classes(job, err);
}

static q8_code open_exec(struct job *job, const q8_env *env, q8_arena *arena, q8_err *err)
{
    const q8_pair *pair = &job->pair;
    const size_t n = (size_t)pair->graph->n_tensors + 1;
    bool *wanted = q8_arena_array(arena, n, sizeof(*wanted));
    job->layer_of = q8_arena_array(arena, n, sizeof(*job->layer_of));
    job->is_beyond = q8_arena_array(arena, n, sizeof(*job->is_beyond));
    if (!wanted || !job->layer_of || !job->is_beyond)
        return q8_fail_nomem(err);
    for (int t = 0; t < pair->graph->n_tensors; t++)
        job->layer_of[t] = -1;
    for (int i = 0; i < pair->n_layers; i++) {
        const q8_pair_layer *layer = &pair->layer[i];
        if (layer->compare >= 0) {
            wanted[layer->compare] = true;
            job->layer_of[layer->compare] = i;
        }
        if (layer->beyond >= 0)
            wanted[layer->beyond] = job->is_beyond[layer->beyond] = true;
    }
    for (int i = 0; i < pair->graph->n_outputs; i++)
        wanted[pair->graph->output[i]] = wanted[pair->simulated[i]] = true;
    const q8_exec_opts opts = {.backend = job->what->backend,
                               .gpu = job->what->gpu,
                               .batch = 1,
                               .wanted = wanted,
                               .threads = q8_thread_count(env)};
    return q8_exec_open(&job->exec, pair->graph, &opts, err);
}

static size_t size_of_sums(const struct job *job)
{
    const q8_graph *graph = job->pair.graph;
    return (size_t)job->pair.n_layers * sizeof(struct layer_sums) +
           (size_t)graph->n_outputs * sizeof(q8_output_sums) +
           ((size_t)graph->n_tensors + N_RIGHT) * sizeof(unsigned long long);
}

/* Of both networks' outputs. */
static size_t size_of_values(const struct job *job)
{
    size_t bytes = 0;
    for (int i = 0; i < job->pair.graph->n_outputs; i++)
        bytes += 2 * q8_shape_count(&job->form[i].shape) * sizeof(float);
    return bytes;
}

static struct sums sums_in(const struct job *job, void *memory)
{
    const q8_graph *graph = job->pair.graph;
    struct sums s = {.layer = memory};
    s.output = (q8_output_sums *)(s.layer + job->pair.n_layers);
    s.beyond = (unsigned long long *)(s.output + graph->n_outputs);
    s.right = s.beyond + graph->n_tensors;
    return s;
}

/* Workers' memory is the arena's: it is made before there are threads. */
static q8_code open_worker(struct job *job, int index, q8_arena *arena, q8_err *err)
{
    struct worker *w = &job->worker[index];
    const q8_pair *pair = &job->pair;
    const size_t n_outputs = (size_t)pair->graph->n_outputs;
    job->user[index] = w;
    w->job = job;
    void *memory = q8_arena_alloc(arena, size_of_sums(job));
    w->value = q8_arena_array(arena, n_outputs + 1, sizeof(*w->value));
    if (!memory || !w->value)
        return q8_fail_nomem(err);
    w->sums = sums_in(job, memory);
    for (size_t i = 0; i < n_outputs; i++) {
        const size_t count = q8_shape_count(&job->form[i].shape);
        w->value[i].exact = q8_arena_array(arena, count, sizeof(float));
        w->value[i].int8 = q8_arena_array(arena, count, sizeof(float));
        if (!w->value[i].exact || !w->value[i].int8)
            return q8_fail_nomem(err);
    }
    return Q8_OK;
}

static q8_code open_workers(struct job *job, const q8_env *env, q8_arena *arena, q8_err *err)
{
    q8_code code = Q8_OK;
    const int most = q8_loop_workers(job->what->samples, env);
    const size_t shared = q8_exec_weight_bytes(job->pair.graph);
    const size_t each =
        q8_exec_run_bytes(job->exec) + size_of_sums(job) + size_of_values(job) + Q8_MEMORY_PICTURE;
    job->n_workers = q8_memory_threads(env, shared, each, most);
    if (job->n_workers == 0)
        return q8_memory_fail(env, "verification, which --verify 0 leaves out,", shared + each,
                              err);
    if (job->n_workers < most)
        q8_note(env, NULL, NULL, "verifying on %d threads, for want of memory", job->n_workers);
    job->worker = q8_arena_array(arena, (size_t)job->n_workers, sizeof(*job->worker));
    job->user = q8_arena_array(arena, (size_t)job->n_workers, sizeof(*job->user));
    if (!job->worker || !job->user)
        return q8_fail_nomem(err);
    for (int i = 0; i < job->n_workers && !code; i++)
        code = open_worker(job, i, arena, err);
    return code;
}

/* --- after ------------------------------------------------------------------------------------ */

static void merge_layer(struct layer_sums *into, const struct layer_sums *from)
{
    q8_exact_sum_merge(&into->signal, &from->signal);
    q8_exact_sum_merge(&into->noise, &from->noise);
    q8_exact_sum_merge(&into->alone_noise, &from->alone_noise);
    q8_exact_sum_merge(&into->cosine, &from->cosine);
    q8_exact_sum_merge(&into->alone_cosine, &from->alone_cosine);
}

static void merge_sums(const struct job *job, const struct sums *into, const struct sums *from)
{
    for (int i = 0; i < job->pair.n_layers; i++)
        merge_layer(&into->layer[i], &from->layer[i]);
    for (int i = 0; i < job->pair.graph->n_outputs; i++)
        q8_output_merge(&into->output[i], &from->output[i]);
    for (int t = 0; t < job->pair.graph->n_tensors; t++)
        into->beyond[t] += from->beyond[t];
    for (int i = 0; i < N_RIGHT; i++)
        into->right[i] += from->right[i];
}

static void pack(void *user, q8_buf *bytes)
{
    const struct job *job = user;
    q8_buf_add(bytes, job->worker[0].sums.layer, size_of_sums(job));
}

static q8_code check_size(const struct job *job, size_t size, q8_err *err)
{
    return size == size_of_sums(job) ? Q8_OK
                                     : q8_fail(err, Q8_EINTERNAL, NULL, NULL,
                                               "members of a team verify different models");
}

static q8_code merge_packed(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    const struct job *job = user;
    const q8_code code = check_size(job, size, err);
    /* What comes from malloc() is aligned. */
    const struct sums from = sums_in(job, (void *)(uintptr_t)data);
    if (!code)
        merge_sums(job, &job->worker[0].sums, &from);
    return code;
}

static q8_code replace(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    const struct job *job = user;
    const q8_code code = check_size(job, size, err);
    if (!code)
        memcpy(job->worker[0].sums.layer, data, size);
    return code;
}

/* Worker 0's sums become those of all, on every member of a team. */
static q8_code merge(struct job *job, const q8_env *env, q8_err *err)
{
    const q8_reduction all = {job, pack, merge_packed, replace};
    for (int k = 1; k < job->n_workers; k++)
        merge_sums(job, &job->worker[0].sums, &job->worker[k].sums);
    return q8_team_reduce(env, Q8_OK, &all, err);
}

static double decibels(const q8_exact_sum *signal, const q8_exact_sum *noise)
{
    const double s = q8_exact_sum_value(signal), n = q8_exact_sum_value(noise);
    return n == 0 ? (double)INFINITY : 10 * log10(s / n);
}

static double mean(const q8_exact_sum *sum, size_t n)
{
    return q8_exact_sum_value(sum) / (double)n;
}

static bool tell_layers(const struct job *job, q8_verify_result *r, q8_arena *arena)
{
    const struct sums *all = &job->worker[0].sums;
    r->layer = q8_arena_array(arena, (size_t)job->pair.n_layers + 1, sizeof(*r->layer));
    for (int i = 0; r->layer && i < job->pair.n_layers; i++) {
        const q8_pair_layer *layer = &job->pair.layer[i];
        const struct layer_sums *sums = &all->layer[i];
        const bool compared = layer->compare >= 0;
        const double inputs = (double)layer->n_inputs * (double)r->used;
        const char *name = q8_arena_strdup(arena, layer->node->name);
        if (!name)
            return false;
        r->layer[r->n_layers++] = (q8_verify_layer){
            .name = name,
            .type = layer->node->op->type,
            .int8 = layer->node->quant != NULL,
            .sqnr = compared ? decibels(&sums->signal, &sums->noise) : (double)NAN,
            .cosine = compared ? mean(&sums->cosine, r->used) : (double)NAN,
            .alone_sqnr = layer->alone ? decibels(&sums->signal, &sums->alone_noise) : (double)NAN,
            .alone_cosine = layer->alone ? mean(&sums->alone_cosine, r->used) : (double)NAN,
            .saturation =
                layer->beyond >= 0 ? (double)all->beyond[layer->beyond] / inputs : (double)NAN,
        };
    }
    return r->layer != NULL;
}

static bool tell_outputs(const struct job *job, q8_verify_result *r, q8_arena *arena)
{
    const q8_graph *graph = job->pair.graph;
    r->output = q8_arena_array(arena, (size_t)graph->n_outputs + 1, sizeof(*r->output));
    for (int i = 0; r->output && i < graph->n_outputs; i++) {
        const q8_output_sums *sums = &job->worker[0].sums.output[i];
        const q8_output_form *form = &job->form[i];
        const char *name = q8_arena_strdup(arena, graph->tensor[graph->output[i]].name);
        if (!name)
            return false;
        r->output[r->n_outputs++] = (q8_verify_output){
            .name = name,
            .sqnr = decibels(&sums->signal, &sums->noise),
            .cosine = mean(&sums->cosine, r->used),
            .classes = form->classes,
            .kl = form->distribution ? mean(&sums->kl, sums->rows) : (double)NAN,
            .agreement = form->classes ? (double)sums->agreed / (double)sums->rows : (double)NAN,
        };
    }
    return r->output != NULL;
}

static q8_code tell(struct job *job, q8_verify_result *r, q8_err *err)
{
    q8_arena *arena = r->memory;
    if ((job->what->layers && !tell_layers(job, r, arena)) || !tell_outputs(job, r, arena))
        return q8_fail_nomem(err);
    const unsigned long long *right = job->worker[0].sums.right;
    r->labelled = right[LABELLED];
    r->float_accuracy = (double)right[FLOAT_RIGHT] / (double)r->labelled;
    r->int8_accuracy = (double)right[INT8_RIGHT] / (double)r->labelled;
    char first[Q8_MAX_PATH];
    if (job->what->labels && r->labelled == 0)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "none of the %zu pictures has a label; the first is %s", r->used,
                       q8_samples_path(job->what->samples, 0, first));
    return Q8_OK;
}

q8_code q8_verify_run(q8_verify_result *result, const q8_verify_of *what, const q8_env *env,
                      q8_err *err)
{
    struct job job = {.what = what};
    memset(result, 0, sizeof(*result));
    q8_arena *arena = q8_arena_open();
    result->memory = q8_arena_open();
    q8_code code = arena && result->memory ? Q8_OK : q8_fail_nomem(err);
    if (!code)
        code = q8_pair_make(&job.pair, what->exact, what->int8, what->layers, arena, err);
    if (!code)
        code = find_forms(&job, arena, err);
    if (!code)
        code = open_exec(&job, env, arena, err);
    if (!code)
        code = open_workers(&job, env, arena, err);
    const q8_loop loop = {
        .samples = what->samples,
        .exec = job.exec,
        .stage = "verify",
        .strict = what->strict,
        .worker = job.user,
        .n_workers = job.n_workers,
        .observe = observe,
        .done = finish_sample,
    };
    if (!code)
        code = q8_loop_run(&loop, env, &result->used, &result->skipped, err);
    if (!code)
        code = merge(&job, env, err);
    if (!code)
        code = tell(&job, result, err);
    q8_exec_close(&job.exec);
    q8_arena_close(&arena);
    return code;
}
