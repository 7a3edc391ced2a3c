#include "quant/refine.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffers.h"
#include "base/memory.h"
#include "base/thread.h"
#include "exec/node.h"
#include "ops/activation.h"
#include "ops/int8.h"
#include "ops/rows.h"
#include "quant/compensate.h"
#include "quant/quant.h"

enum { MOST_PICTURES = 32, FEWEST_PICTURES = 4 };

/* Bytes that values may take, of which half of what is left at most. */
static const size_t MEMORY = (size_t)256 << 20;

/* The two networks. */
enum { EXACT, INT8, SIDES };

/* A tensor in both, all pictures; one memory where nothing in int8 lies before it. */
struct value {
    float *at[SIDES];
    int readers_left;
    bool needed; /* by an int8 layer */
};

struct refine {
    q8_graph *graph;
    const q8_graph *exact; /* the same nodes in float */
    const q8_refine_opts *opts;
    const q8_env *env;
    int threads;
    int n;               /* pictures */
    struct value *value; /* by tensor */
    q8_buffers buffers;
    q8_err *err;
};

static size_t count_of(const struct refine *r, int tensor)
{
    return q8_shape_count(&r->graph->tensor[tensor].shape);
}

static float *new_values(struct refine *r, int tensor)
{
    return q8_buffers_take(&r->buffers, count_of(r, tensor) * (size_t)r->n * sizeof(float));
}

static void free_value(struct refine *r, struct value *v)
{
    if (v->at[INT8] != v->at[EXACT])
        q8_buffers_give(&r->buffers, v->at[INT8]);
    q8_buffers_give(&r->buffers, v->at[EXACT]);
    v->at[EXACT] = v->at[INT8] = NULL;
}

/* --- pictures --------------------------------------------------------------------------------- */

static void count_readers(struct refine *r)
{
    for (int i = 0; i < r->graph->n_nodes; i++)
        for (int k = 0; k < r->graph->node[i]->n_in; k++)
            r->value[r->graph->node[i]->in[k]].readers_left++;
}

/* Whether an int8 layer behind it needs what the node makes. */
static bool is_needed(const struct refine *r, const q8_node *node)
{
    for (int k = 0; k < node->n_out; k++)
        if (r->value[node->out[k]].needed)
            return true;
    return false;
}

static void mark_needed(struct refine *r)
{
    for (int i = r->graph->n_nodes - 1; i >= 0; i--) {
        const q8_node *node = r->graph->node[i];
        for (int k = 0; k < node->n_in && (node->quant || is_needed(r, node)); k++)
            r->value[node->in[k]].needed = true;
    }
}

/* Floats of one picture that live at once, at most; 0: out of memory. */
static size_t most_alive(const struct refine *r)
{
    size_t alive = 0, most = 1;
    int *left = malloc(((size_t)r->graph->n_tensors + 1) * sizeof(*left));
    if (!left)
        return 0;
    for (int t = 0; t < r->graph->n_tensors; t++)
        left[t] = r->value[t].readers_left;
    for (int i = 0; i < r->graph->n_nodes; i++) {
        const q8_node *node = r->graph->node[i];
        for (int k = 0; k < node->n_out; k++)
            alive += r->value[node->out[k]].needed ? count_of(r, node->out[k]) : 0;
        most = alive > most ? alive : most;
        for (int k = 0; k < node->n_in; k++)
            if (--left[node->in[k]] == 0)
                alive -= r->value[node->in[k]].needed ? count_of(r, node->in[k]) : 0;
    }
    free(left);
    return most;
}

static int pictures_that_fit(const struct refine *r, size_t alive)
{
    const size_t samples = q8_samples_count(r->opts->samples);
    const size_t each = 2 * sizeof(float) * alive, left = q8_memory_left(r->env) / 2;
    const size_t fit = MEMORY / each, fits_left = left / each;
    size_t n = fit < MOST_PICTURES ? fit : MOST_PICTURES;
    n = n < FEWEST_PICTURES ? FEWEST_PICTURES : n;
    n = n < samples ? n : samples;
    if (fits_left < n)
        q8_note(r->env, NULL, NULL, "refining on %zu pictures instead of %zu, for want of memory",
                fits_left, n);
    return (int)(fits_left < n ? fits_left : n);
}

/* One sample's part of every input, as picture `at`. */
static q8_code read_sample(struct refine *r, size_t sample, int at, q8_err *err)
{
    q8_code code = Q8_OK;
    int input = 0;
    for (int i = 0; i < r->graph->n_nodes && !code; i++) {
        const q8_node *node = r->graph->node[i];
        if (node->op == &q8_op_input)
            code = q8_samples_read(r->opts->samples, sample, input++,
                                   r->value[node->out[0]].at[EXACT] +
                                       (size_t)at * count_of(r, node->out[0]),
                                   NULL, err);
    }
    return code;
}

/* As picture `at`, the first readable one of the samples from `begin` to `end`. */
static q8_code read_one_of(struct refine *r, size_t begin, size_t end, int at, bool *found)
{
    *found = false;
    for (size_t i = begin; i < end && !*found; i++) {
        q8_err why = {0};
        const q8_loc loc = {.file = why.file};
        const q8_code code = read_sample(r, i, at, &why);
        if (code && (r->opts->strict || !q8_sample_unreadable(code))) {
            *r->err = why;
            return code;
        }
        if (code)
            q8_warn(r->env, &loc, NULL, "skipped: %s", why.text);
        *found = code == Q8_OK;
    }
    return Q8_OK;
}

/* Evenly spaced ones. */
static q8_code read_samples(struct refine *r)
{
    const size_t samples = q8_samples_count(r->opts->samples), wanted = (size_t)r->n;
    q8_code code = Q8_OK;
    for (int i = 0; i < r->graph->n_nodes; i++) {
        const q8_node *node = r->graph->node[i];
        if (node->op != &q8_op_input)
            continue;
        struct value *v = &r->value[node->out[0]];
        v->at[EXACT] = v->at[INT8] = new_values(r, node->out[0]);
        if (!v->at[EXACT])
            return q8_fail_nomem(r->err);
    }
    r->n = 0;
    for (size_t i = 0; i < wanted && !code; i++) {
        bool found;
        code = read_one_of(r, samples * i / wanted, samples * (i + 1) / wanted, r->n, &found);
        r->n += found;
    }
    return code;
}

/* --- running nodes ---------------------------------------------------------------------------- */

/* A node on all pictures, which threads share. */
struct running {
    const struct refine *r;
    const q8_node *node;
    int sides;
    const q8_runner *runner[SIDES];
    const float **in[SIDES]; /* by input */
    float **out[SIDES];      /* by output */
    char *scratch;           /* of all threads */
    size_t each, runs;       /* bytes of a thread's; those of them that a run needs */
    atomic_int next;
};

static void close_running(struct running *run)
{
    for (int side = 0; side < SIDES; side++) {
        free(run->in[side]);
        free(run->out[side]);
    }
}

/* With room for the outputs. `sides` 1: both networks' are the same. */
static q8_code open_running(struct running *run, struct refine *r, const q8_node *node, int sides)
{
    *run = (struct running){.r = r, .node = node, .sides = sides};
    for (int side = 0; side < sides; side++) {
        run->in[side] = calloc((size_t)node->n_in + 1, sizeof(*run->in[side]));
        run->out[side] = calloc((size_t)node->n_out + 1, sizeof(*run->out[side]));
        if (!run->in[side] || !run->out[side])
            return q8_fail_nomem(r->err);
        for (int k = 0; k < node->n_in; k++)
            run->in[side][k] = r->value[node->in[k]].at[side];
        for (int k = 0; k < node->n_out; k++) {
            run->out[side][k] = r->value[node->out[k]].at[side] = new_values(r, node->out[k]);
            if (!run->out[side][k])
                return q8_fail_nomem(r->err);
        }
    }
    return Q8_OK;
}

/* `scratch`: a run's, then room for pointers. */
static q8_code run_picture(const struct running *run, int side, size_t picture, char *scratch,
                           q8_err *err)
{
    const q8_node *node = run->node;
    const float **in = (const float **)(scratch + run->runs);
    float **out = (float **)(scratch + run->runs) + node->n_in;
    for (int k = 0; k < node->n_in; k++)
        in[k] = run->in[side][k] + picture * count_of(run->r, node->in[k]);
    for (int k = 0; k < node->n_out; k++)
        out[k] = run->out[side][k] + picture * count_of(run->r, node->out[k]);
    return q8_runner_run(run->runner[side], in, out, scratch, err);
}

static q8_code run_pictures(void *user, int worker, q8_err *err)
{
    struct running *run = user;
    char *scratch = run->scratch + (size_t)worker * run->each;
    q8_code code = Q8_OK;
    for (int i; !code && (i = atomic_fetch_add(&run->next, 1)) < run->r->n * run->sides;)
        code = run_picture(run, i % run->sides, (size_t)(i / run->sides), scratch, err);
    return code;
}

static q8_code run_all(struct running *run, struct refine *r)
{
    const int threads = r->threads < r->n ? r->threads : r->n;
    const size_t pointers = (size_t)run->node->n_in + (size_t)run->node->n_out;
    for (int side = 0; side < run->sides; side++) {
        const size_t needed = q8_runner_scratch(run->runner[side]);
        run->runs = needed > run->runs ? needed : run->runs;
    }
    run->each = run->runs + (pointers * sizeof(float *) + 63) / 64 * 64;
    run->scratch = q8_buffers_take(&r->buffers, (size_t)threads * run->each);
    const q8_code code =
        run->scratch ? q8_parallel(threads, run_pictures, run, r->err) : q8_fail_nomem(r->err);
    q8_buffers_give(&r->buffers, run->scratch);
    return code;
}

/* A node that is the same in both networks. */
static q8_code run_both(struct refine *r, const q8_node *node)
{
    bool same = true;
    for (int k = 0; k < node->n_in; k++)
        same = same && r->value[node->in[k]].at[EXACT] == r->value[node->in[k]].at[INT8];
    struct running run;
    q8_runner *runner = NULL;
    q8_code code = open_running(&run, r, node, same ? 1 : 2);
    if (!code)
        code = q8_runner_open(&runner, r->graph, node, r->opts->gpu, r->err);
    if (!code) {
        run.runner[EXACT] = run.runner[INT8] = runner;
        code = run_all(&run, r);
    }
    for (int k = 0; same && k < node->n_out; k++)
        r->value[node->out[k]].at[INT8] = r->value[node->out[k]].at[EXACT];
    q8_runner_close(&runner);
    close_running(&run);
    return code;
}

/* --- int8 layers ------------------------------------------------------------------------------ */

struct coding {
    const float *x;
    size_t count; /* of a picture */
    float scale;
    float *out;
};

static q8_code code_picture(void *user, int picture, q8_err *err)
{
    (void)err;
    enum { STRETCH = 4096 }; /* stays in the nearest cache */
    const struct coding *c = user;
    for (size_t at = 0; at < c->count; at += STRETCH) {
        const size_t from = (size_t)picture * c->count + at;
        const size_t n = c->count - at < STRETCH ? c->count - at : STRETCH;
        float *out = c->out + from;
        q8_int8_codes(c->x + from, c->scale, n, out);
        for (size_t k = 0; k < n; k++)
            out[k] /= c->scale;
    }
    return Q8_OK;
}

/* What the codes of the layer's inputs stand for. */
static q8_code code_inputs(struct refine *r, const q8_node *node, float **coded)
{
    struct coding c = {.x = r->value[node->in[0]].at[INT8],
                       .count = count_of(r, node->in[0]),
                       .scale = node->quant->bottom_scale,
                       .out = new_values(r, node->in[0])};
    *coded = c.out;
    return c.out ? q8_parallel_each(r->threads, r->n, code_picture, &c, r->err)
                 : q8_fail_nomem(r->err);
}

/* The layer with weights as its int8 form has them, and with that one's bias, which `exact` may
 * lack. */
static q8_node *dequantise(q8_arena *arena, const q8_node *node, const q8_node *exact)
{
    const q8_quant *quant = node->quant;
    const size_t count = exact->weight[0].count, each = count / quant->n_weight_scales;
    q8_node *copy = q8_arena_alloc(arena, sizeof(*copy));
    void *attr = q8_arena_alloc(arena, exact->op->attr_size);
    float *weight = q8_arena_array(arena, count, sizeof(*weight));
    if (!copy || !attr || !weight)
        return NULL;
    for (size_t i = 0; i < count; i++)
        weight[i] = (float)quant->weight[i] / quant->weight_scales[i / each];
    *copy = *exact;
    copy->attr = memcpy(attr, exact->attr, exact->op->attr_size);
    copy->weight[0].data = weight;
    if (node->weight[1].count) {
        copy->weight[1] = node->weight[1];
        node->op->set_bias(copy);
    }
    return copy;
}

/* Both forms of a layer, compiled at the same time. */
struct forms {
    const q8_graph *graph;
    q8_gpu *gpu;
    const q8_node *node[SIDES];
    q8_runner *runner[SIDES];
};

static q8_code compile_form(void *user, int side, q8_err *err)
{
    struct forms *f = user;
    return q8_runner_open(&f->runner[side], f->graph, f->node[side], f->gpu, err);
}

static q8_code run_layer(struct refine *r, const q8_node *node, const q8_node *exact,
                         const float *coded)
{
    struct forms forms = {.graph = r->graph, .gpu = r->opts->gpu, .node[EXACT] = exact};
    struct running run;
    q8_arena *arena = q8_arena_open();
    q8_code code = open_running(&run, r, node, SIDES);
    if (!code && !(arena && (forms.node[INT8] = dequantise(arena, node, exact))))
        code = q8_fail_nomem(r->err);
    if (!code)
        code = q8_parallel_each(r->threads, SIDES, compile_form, &forms, r->err);
    if (!code) {
        run.in[INT8][0] = coded;
        run.runner[EXACT] = forms.runner[EXACT];
        run.runner[INT8] = forms.runner[INT8];
        code = run_all(&run, r);
    }
    q8_runner_close(&forms.runner[EXACT]);
    q8_runner_close(&forms.runner[INT8]);
    close_running(&run);
    q8_arena_close(&arena);
    return code;
}

/* Sums of a layer's windows, by picture, in both networks. */
struct summing {
    const q8_node *layer; /* in float */
    const q8_shape *in;
    const float *x[SIDES];
    int n;
    size_t size;        /* of a window, of all groups' */
    double *sum[SIDES]; /* n x size */
};

static q8_code sum_picture(void *user, int item, q8_err *err)
{
    (void)err;
    const struct summing *s = user;
    const size_t side = (size_t)item % SIDES, picture = (size_t)item / SIDES;
    s->layer->op->window_sums(s->layer, s->in, s->x[side] + picture * q8_shape_count(s->in),
                              s->sum[side] + picture * s->size);
    return Q8_OK;
}

/* The sum of all pictures, in their order, in place of the first one's. */
static void add_up(const struct summing *s)
{
    for (size_t side = 0; side < SIDES; side++)
        for (size_t i = 1; i < (size_t)s->n; i++)
            for (size_t k = 0; k < s->size; k++)
                s->sum[side][k] += s->sum[side][i * s->size + k];
}

/* What the int8 layer's output `o` has too much without the biases, added up as `s` is. */
static double sum_of_error(const q8_node *node, const q8_linear *view, const struct summing *s,
                           size_t o)
{
    const size_t row = (size_t)view->inputs * (size_t)view->kernel;
    const size_t outputs = (size_t)view->groups * (size_t)view->outputs;
    const size_t at = o / (size_t)view->outputs * row;
    const float scale = node->quant->weight_scales[o / (outputs / node->quant->n_weight_scales)];
    const signed char *q = node->quant->weight + o * row;
    const float *w = s->layer->weight[0].data + o * row;
    double codes = 0, exact = 0;
    for (size_t i = 0; i < row; i++) {
        codes += q[i] * s->sum[INT8][at + i];
        exact += (double)w[i] * s->sum[EXACT][at + i];
    }
    return codes / (double)scale - exact;
}

/* Takes each channel's mean error in front of the activation off its bias: outputs are linear in
 * the windows, so their means are made of the windows'. */
static q8_code set_biases(struct refine *r, q8_node *node, const q8_linear *view,
                          const struct summing *s)
{
    const size_t channels = (size_t)view->groups * (size_t)view->outputs;
    const double positions = (double)count_of(r, node->out[0]) / (double)channels;
    const q8_weight *before = &s->layer->weight[1];
    float *bias = q8_own_bias(r->graph->arena, node, view);
    if (!bias)
        return q8_fail_nomem(r->err);
    for (size_t o = 0; o < channels; o++) {
        const double off = sum_of_error(node, view, s, o) / (positions * s->n);
        const float to = (float)((before->count ? (double)before->data[o] : 0) - off);
        if (isfinite(to))
            bias[o] = to;
    }
    return Q8_OK;
}

static q8_code correct_bias(struct refine *r, q8_node *node, const q8_node *exact,
                            const float *coded)
{
    q8_linear view;
    const q8_shape *in = &r->graph->tensor[node->in[0]].shape;
    if (!exact->op->window_sums || !node->op->linear(node, in, &view))
        return Q8_OK;
    struct summing s = {.layer = exact,
                        .in = in,
                        .x = {r->value[node->in[0]].at[EXACT], coded},
                        .n = r->n,
                        .size = (size_t)view.groups * (size_t)view.inputs * (size_t)view.kernel};
    const size_t all = (size_t)s.n * s.size;
    double *sums = q8_buffers_take(&r->buffers, SIDES * all * sizeof(*sums));
    if (!sums)
        return q8_fail_nomem(r->err);
    s.sum[EXACT] = sums;
    s.sum[INT8] = sums + all;
    q8_code code = q8_parallel_each(r->threads, SIDES * s.n, sum_picture, &s, r->err);
    if (!code) {
        add_up(&s);
        code = set_biases(r, node, &view, &s);
    }
    q8_buffers_give(&r->buffers, sums);
    return code;
}

static q8_code refine_layer(struct refine *r, q8_node *node, const q8_node *exact)
{
    float *coded;
    q8_code code = code_inputs(r, node, &coded);
    const q8_layer_inputs inputs = {
        .n = r->n, .layer = exact, .exact = r->value[node->in[0]].at[EXACT], .coded = coded};
    if (!code && r->opts->compensate) {
        code = q8_compensate_rounding(r->graph, node, &inputs, &r->buffers, r->env, r->err);
        node->weight[1] = exact->weight[1];
        if (!code)
            code = q8_correct_bias_node(r->graph, node, r->opts->mean[node->in[0]], r->err);
    }
    if (!code && r->opts->correct_bias)
        code = correct_bias(r, node, exact, coded);
    if (!code && is_needed(r, node))
        code = run_layer(r, node, exact, coded);
    q8_buffers_give(&r->buffers, coded);
    return code;
}

static void release_inputs(struct refine *r, const q8_node *node)
{
    for (int k = 0; k < node->n_in; k++)
        if (--r->value[node->in[k]].readers_left == 0)
            free_value(r, &r->value[node->in[k]]);
}

static q8_code refine_nodes(struct refine *r)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < r->graph->n_nodes && !code; i++) {
        q8_node *node = r->graph->node[i];
        if (q8_cancelled(r->env))
            return q8_fail(r->err, Q8_EINTR, NULL, NULL, "interrupted");
        if (node->op == &q8_op_input)
            continue;
        if (node->quant)
            code = refine_layer(r, node, r->exact->node[i]);
        else if (is_needed(r, node))
            code = run_both(r, node);
        release_inputs(r, node);
        if (r->env && r->env->progress)
            r->env->progress(r->env->user, "refine", (size_t)i + 1, (size_t)r->graph->n_nodes);
    }
    return code;
}

q8_code q8_refine_graph(q8_graph *graph, const q8_graph *exact, const q8_refine_opts *opts,
                        const q8_env *env, q8_err *err)
{
    struct refine r = {.graph = graph,
                       .exact = exact,
                       .opts = opts,
                       .env = env,
                       .threads = q8_thread_count(env),
                       .value = calloc((size_t)graph->n_tensors + 1, sizeof(*r.value)),
                       .err = err};
    if (!r.value)
        return q8_fail_nomem(err);
    count_readers(&r);
    mark_needed(&r);
    const size_t alive = most_alive(&r);
    q8_code code = alive > 0 ? Q8_OK : q8_fail_nomem(err);
    if (!code) {
        r.n = pictures_that_fit(&r, alive);
        code = read_samples(&r);
    }
    if (!code && r.n > 0)
        code = refine_nodes(&r);
    for (int t = 0; t < graph->n_tensors; t++)
        free_value(&r, &r.value[t]);
    q8_buffers_close(&r.buffers);
    free(r.value);
    return code;
}
