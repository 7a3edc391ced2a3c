#include "quant/refine.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffers.h"
#include "base/simd.h"
#include "base/thread.h"
#include "exec/node.h"
#include "ops/activation.h"
#include "ops/int8.h"
#include "ops/rows.h"
#include "quant/compensate.h"
#include "quant/quant.h"

enum { MOST_PICTURES = 32, FEWEST_PICTURES = 4 };

/* Bytes that values may take. */
static const size_t MEMORY = (size_t)256 << 20;

/* The two networks. */
enum { EXACT, INT8, SIDES };

/* A tensor in both, all pictures; one memory where nothing in int8 lies before it. */
struct value {
    float *at[SIDES];
    int readers_left;
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

/* Floats of one picture that live at once, at most. */
static size_t most_alive(const struct refine *r)
{
    size_t alive = 0, most = 1;
    int *left = malloc(((size_t)r->graph->n_tensors + 1) * sizeof(*left));
    for (int t = 0; left && t < r->graph->n_tensors; t++)
        left[t] = r->value[t].readers_left;
    for (int i = 0; left && i < r->graph->n_nodes; i++) {
        const q8_node *node = r->graph->node[i];
        for (int k = 0; k < node->n_out; k++)
            alive += count_of(r, node->out[k]);
        most = alive > most ? alive : most;
        for (int k = 0; k < node->n_in; k++)
            if (--left[node->in[k]] == 0)
                alive -= count_of(r, node->in[k]);
    }
    free(left);
    return most;
}

static int pictures_that_fit(const struct refine *r)
{
    const size_t samples = q8_samples_count(r->opts->samples);
    const size_t fit = MEMORY / (2 * sizeof(float) * most_alive(r));
    size_t n = fit < MOST_PICTURES ? fit : MOST_PICTURES;
    n = n < FEWEST_PICTURES ? FEWEST_PICTURES : n;
    return (int)(n < samples ? n : samples);
}

/* One sample's part of every input, as picture `at`. */
static q8_code read_sample(struct refine *r, size_t sample, int at, q8_err *err)
{
    q8_code code = Q8_OK;
    int input = 0;
    for (int i = 0; i < r->graph->n_nodes && !code; i++) {
        const q8_node *node = r->graph->node[i];
        if (node->op == &q8_op_input)
            code = q8_samples_read(
                r->opts->samples, sample, input++,
                r->value[node->out[0]].at[EXACT] + (size_t)at * count_of(r, node->out[0]), err);
    }
    return code;
}

/* As picture `at`, the first readable one of the samples from `begin` to `end`. */
static q8_code read_one_of(struct refine *r, size_t begin, size_t end, int at, bool *found)
{
    *found = false;
    for (size_t i = begin; i < end && !*found; i++) {
        q8_err why = {0};
        const q8_code code = read_sample(r, i, at, &why);
        if (code && !q8_sample_unreadable(code)) {
            *r->err = why;
            return code;
        }
        *found = code == Q8_OK;
    }
    return Q8_OK;
}

/* Evenly spaced ones; those that cannot be read have been reported when they were calibrated on. */
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
    /* Of int8 layers, which run without their activation: */
    int channels;
    double *off;              /* by picture and channel: sums of the outputs' differences */
    const q8_activation *act; /* of the exact side; NULL: none */
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

Q8_SIMD_CLONES
static double sum_of_difference(const float *a, const float *b, size_t n)
{
    enum { LANES = 16 };
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += a[i + k] - b[i + k];
    double sum = 0;
    for (size_t k = 0; k < LANES; k++)
        sum += (double)lane[k];
    for (; i < n; i++)
        sum += (double)(a[i] - b[i]);
    return sum;
}

/* While the picture's outputs are in the cache. */
static void compare_outputs(const struct running *run, size_t picture)
{
    const size_t count = count_of(run->r, run->node->out[0]), channels = (size_t)run->channels;
    const size_t each = count / channels;
    float *exact = run->out[EXACT][0] + picture * count;
    const float *int8 = run->out[INT8][0] + picture * count;
    for (size_t c = 0; c < channels; c++)
        run->off[picture * channels + c] =
            sum_of_difference(int8 + c * each, exact + c * each, each);
    if (run->act)
        q8_activate_array(run->act, exact, count);
}

static q8_code run_pictures(void *user, int worker, q8_err *err)
{
    struct running *run = user;
    char *scratch = run->scratch + (size_t)worker * run->each;
    q8_code code = Q8_OK;
    for (int i; !code && (i = atomic_fetch_add(&run->next, 1)) < run->r->n;) {
        for (int side = 0; !code && side < run->sides; side++)
            code = run_picture(run, side, (size_t)i, scratch, err);
        if (!code && run->off)
            compare_outputs(run, (size_t)i);
    }
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
        code = q8_runner_open(&runner, r->graph, node, r->err);
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
    int n;
    float scale;
    float *out;
    atomic_int next;
};

static q8_code code_pictures(void *user, int worker, q8_err *err)
{
    (void)worker, (void)err;
    enum { STRETCH = 4096 }; /* stays in the nearest cache */
    struct coding *c = user;
    for (int i; (i = atomic_fetch_add(&c->next, 1)) < c->n;)
        for (size_t at = 0; at < c->count; at += STRETCH) {
            const size_t from = (size_t)i * c->count + at;
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
                       .n = r->n,
                       .scale = node->quant->bottom_scale,
                       .out = new_values(r, node->in[0])};
    *coded = c.out;
    return c.out ? q8_parallel(r->threads, code_pictures, &c, r->err) : q8_fail_nomem(r->err);
}

/* The layer without its activation. */
static q8_node *bare(q8_arena *arena, const q8_node *node)
{
    q8_node *copy = q8_arena_alloc(arena, sizeof(*copy));
    void *attr = q8_arena_alloc(arena, node->op->attr_size);
    if (!copy || !attr)
        return NULL;
    *copy = *node;
    copy->quant = NULL;
    copy->attr = memcpy(attr, node->attr, node->op->attr_size);
    if (node->op->activation)
        node->op->activation(copy)->type = Q8_ACT_NONE;
    return copy;
}

/* Weights as the int8 layer has them. */
static bool dequantise(q8_arena *arena, q8_node *bare_node, const q8_quant *quant)
{
    const size_t count = bare_node->weight[0].count, each = count / quant->n_weight_scales;
    float *weight = q8_arena_array(arena, count, sizeof(*weight));
    for (size_t i = 0; weight && i < count; i++)
        weight[i] = (float)quant->weight[i] / quant->weight_scales[i / each];
    bare_node->weight[0].data = weight;
    return weight != NULL;
}

/* Both forms of a layer, compiled at the same time. */
struct forms {
    const q8_graph *graph;
    q8_node *node[SIDES];
    q8_runner *runner[SIDES];
    atomic_int next;
};

static q8_code compile_forms(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct forms *f = user;
    q8_code code = Q8_OK;
    for (int side; !code && (side = atomic_fetch_add(&f->next, 1)) < SIDES;)
        code = q8_runner_open(&f->runner[side], f->graph, f->node[side], err);
    return code;
}

static q8_code open_forms(struct forms *f, struct refine *r, q8_arena *arena, const q8_node *node,
                          const q8_node *exact)
{
    *f = (struct forms){.graph = r->graph};
    f->node[EXACT] = bare(arena, exact);
    f->node[INT8] = bare(arena, exact);
    if (!f->node[EXACT] || !f->node[INT8] || !dequantise(arena, f->node[INT8], node->quant))
        return q8_fail_nomem(r->err);
    /* With the bias it has now, which may be one that `exact` lacks. */
    if (node->weight[1].count) {
        f->node[INT8]->weight[1] = node->weight[1];
        node->op->set_bias(f->node[INT8]);
    }
    return q8_parallel(r->threads < SIDES ? r->threads : SIDES, compile_forms, f, r->err);
}

static void close_forms(struct forms *f)
{
    q8_runner_close(&f->runner[EXACT]);
    q8_runner_close(&f->runner[INT8]);
}

/* What lies behind the activation in the float network, in front of it in the int8 one; and how
 * much the channels of each picture differ in front of it, in `off`. */
static q8_code run_layer(struct refine *r, const q8_node *node, const q8_node *exact,
                         const float *coded, int channels, double *off)
{
    struct forms forms = {0};
    struct running run;
    q8_arena *arena = q8_arena_open();
    q8_code code = open_running(&run, r, node, SIDES);
    if (!code)
        code = arena ? open_forms(&forms, r, arena, node, exact) : q8_fail_nomem(r->err);
    if (!code) {
        run.in[INT8][0] = coded;
        run.channels = channels;
        run.off = off;
        run.act = node->op->activation ? node->op->activation((q8_node *)(uintptr_t)node) : NULL;
        run.runner[EXACT] = forms.runner[EXACT];
        run.runner[INT8] = forms.runner[INT8];
        code = run_all(&run, r);
    }
    close_forms(&forms);
    close_running(&run);
    q8_arena_close(&arena);
    return code;
}

/* An int8 layer's outputs on the way from in front of the activation to behind it. */
struct finishing {
    float *x;
    int n, channels;
    size_t each;              /* elements of a channel */
    const float *off;         /* by channel, what is too much */
    const q8_activation *act; /* NULL: none */
    atomic_int next;
};

static q8_code finish_pictures(void *user, int worker, q8_err *err)
{
    (void)worker, (void)err;
    struct finishing *f = user;
    for (int i; (i = atomic_fetch_add(&f->next, 1)) < f->n;) {
        float *x = f->x + (size_t)i * f->each * (size_t)f->channels;
        for (int c = 0; c < f->channels; c++, x += f->each) {
            for (size_t k = 0; k < f->each; k++)
                x[k] -= f->off[c];
            if (f->act)
                q8_activate_array(f->act, x, f->each);
        }
    }
    return Q8_OK;
}

/* Takes each channel's mean error off its bias. @param off by channel, is set */
static q8_code correct_bias(struct refine *r, q8_node *node, const q8_linear *view, size_t each,
                            const double *sums, float *off)
{
    const size_t channels = (size_t)view->groups * (size_t)view->outputs;
    float *bias = q8_own_bias(r->graph->arena, node, view);
    if (!bias)
        return q8_fail_nomem(r->err);
    for (size_t c = 0; c < channels; c++) {
        double sum = 0;
        for (size_t i = 0; i < (size_t)r->n; i++)
            sum += sums[i * channels + c];
        off[c] = (float)(sum / ((double)r->n * (double)each));
        if (!isfinite(off[c]))
            off[c] = 0;
        bias[c] -= off[c];
    }
    return Q8_OK;
}

static q8_code correct_layer(struct refine *r, q8_node *node, const q8_node *exact,
                             const float *coded)
{
    q8_linear view;
    if (!node->op->linear(node, &r->graph->tensor[node->in[0]].shape, &view))
        return q8_fail(r->err, Q8_EINTERNAL, &node->loc, node->name, "an int8 layer is not linear");
    const int channels = view.groups * view.outputs;
    const size_t each = count_of(r, node->out[0]) / (size_t)channels;
    double *sums = calloc((size_t)channels * (size_t)r->n, sizeof(*sums));
    float *off = calloc((size_t)channels, sizeof(*off));
    q8_code code = sums && off ? Q8_OK : q8_fail_nomem(r->err);
    if (!code)
        code = run_layer(r, node, exact, coded, channels, sums);
    if (!code && r->opts->correct_bias)
        code = correct_bias(r, node, &view, each, sums, off);
    if (!code) {
        struct finishing f = {.x = r->value[node->out[0]].at[INT8],
                              .n = r->n,
                              .channels = channels,
                              .each = each,
                              .off = off,
                              .act = node->op->activation ? node->op->activation(node) : NULL};
        code = q8_parallel(r->threads, finish_pictures, &f, r->err);
    }
    free(sums);
    free(off);
    return code;
}

static q8_code refine_layer(struct refine *r, q8_node *node, const q8_node *exact)
{
    float *coded;
    q8_code code = code_inputs(r, node, &coded);
    const q8_layer_inputs inputs = {
        .n = r->n, .layer = exact, .exact = r->value[node->in[0]].at[EXACT], .coded = coded};
    if (!code && r->opts->compensate) {
        code = q8_compensate_rounding(r->graph, node, &inputs, &r->buffers, r->threads, r->err);
        node->weight[1] = exact->weight[1];
        if (!code)
            code = q8_correct_bias_node(r->graph, node, r->opts->mean[node->in[0]], r->err);
    }
    if (!code)
        code = correct_layer(r, node, exact, coded);
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
        else
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
                       .threads = env && env->threads > 0 ? env->threads : q8_core_count(),
                       .value = calloc((size_t)graph->n_tensors + 1, sizeof(*r.value)),
                       .err = err};
    if (!r.value)
        return q8_fail_nomem(err);
    count_readers(&r);
    r.n = pictures_that_fit(&r);
    q8_code code = read_samples(&r);
    if (!code && r.n > 0)
        code = refine_nodes(&r);
    for (int t = 0; t < graph->n_tensors; t++)
        free_value(&r, &r.value[t]);
    q8_buffers_close(&r.buffers);
    free(r.value);
    return code;
}
