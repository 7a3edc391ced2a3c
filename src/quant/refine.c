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

/* A tensor in both networks, all pictures; one memory where nothing in int8 lies before it. */
struct value {
    float *exact, *int8;
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
    if (v->int8 != v->exact)
        q8_buffers_give(&r->buffers, v->int8);
    q8_buffers_give(&r->buffers, v->exact);
    v->exact = v->int8 = NULL;
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
                r->value[node->out[0]].exact + (size_t)at * count_of(r, node->out[0]), err);
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
        v->exact = v->int8 = new_values(r, node->out[0]);
        if (!v->exact)
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

/* --- layers ----------------------------------------------------------------------------------- */

static q8_code run(struct refine *r, const q8_node *node, bool int8)
{
    const float **in = calloc((size_t)node->n_in + 1, sizeof(*in));
    float **out = calloc((size_t)node->n_out + 1, sizeof(*out));
    q8_code code = in && out ? Q8_OK : q8_fail_nomem(r->err);
    for (int k = 0; !code && k < node->n_in; k++)
        in[k] = int8 ? r->value[node->in[k]].int8 : r->value[node->in[k]].exact;
    for (int k = 0; !code && k < node->n_out; k++) {
        struct value *v = &r->value[node->out[k]];
        out[k] = new_values(r, node->out[k]);
        *(int8 ? &v->int8 : &v->exact) = out[k];
        if (!out[k])
            code = q8_fail_nomem(r->err);
    }
    if (!code)
        code = q8_exec_node(r->graph, node, r->n, in, out, r->threads, r->err);
    free(in);
    free(out);
    return code;
}

static q8_code run_both(struct refine *r, const q8_node *node)
{
    bool same = true;
    for (int k = 0; k < node->n_in; k++)
        same = same && r->value[node->in[k]].exact == r->value[node->in[k]].int8;
    q8_code code = run(r, node, false);
    if (!code && !same)
        return run(r, node, true);
    for (int k = 0; k < node->n_out; k++)
        r->value[node->out[k]].int8 = r->value[node->out[k]].exact;
    return code;
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

/* --- work on all pictures, shared by threads ---------------------------------------------------
 */

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
    struct coding *c = user;
    for (int i; (i = atomic_fetch_add(&c->next, 1)) < c->n;) {
        float *out = c->out + (size_t)i * c->count;
        q8_int8_codes(c->x + (size_t)i * c->count, c->scale, c->count, out);
        for (size_t k = 0; k < c->count; k++)
            out[k] /= c->scale;
    }
    return Q8_OK;
}

/* What the codes of the layer's inputs stand for. */
static q8_code code_inputs(struct refine *r, const q8_node *node, float **coded)
{
    struct coding c = {.x = r->value[node->in[0]].int8,
                       .count = count_of(r, node->in[0]),
                       .n = r->n,
                       .scale = node->quant->bottom_scale,
                       .out = new_values(r, node->in[0])};
    *coded = c.out;
    return c.out ? q8_parallel(r->threads, code_pictures, &c, r->err) : q8_fail_nomem(r->err);
}

/* A layer's outputs before the activation, on the way to what they are behind it. */
struct finishing {
    const struct value *value;
    int n, channels;
    size_t each;              /* elements of a channel */
    float *bias;              /* to be corrected; NULL: not */
    const q8_activation *act; /* NULL: none */
    atomic_int next;
};

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

/* Takes the channel's mean error off its bias and off the values. */
static void correct_channel(const struct finishing *f, int channel)
{
    const size_t picture = f->each * (size_t)f->channels, from = f->each * (size_t)channel;
    double sum = 0;
    for (size_t i = 0; i < (size_t)f->n; i++)
        sum += sum_of_difference(f->value->int8 + i * picture + from,
                                 f->value->exact + i * picture + from, f->each);
    const float off = (float)(sum / ((double)f->n * (double)f->each));
    if (!isfinite(off))
        return;
    f->bias[channel] -= off;
    for (size_t i = 0; i < (size_t)f->n; i++)
        for (size_t k = 0; k < f->each; k++)
            f->value->int8[i * picture + from + k] -= off;
}

static q8_code finish_channels(void *user, int worker, q8_err *err)
{
    (void)worker, (void)err;
    struct finishing *f = user;
    for (int c; (c = atomic_fetch_add(&f->next, 1)) < f->channels;) {
        if (f->bias)
            correct_channel(f, c);
        for (size_t i = 0; f->act && i < (size_t)f->n; i++) {
            const size_t at = (i * (size_t)f->channels + (size_t)c) * f->each;
            q8_activate_array(f->act, f->value->exact + at, f->each);
            q8_activate_array(f->act, f->value->int8 + at, f->each);
        }
    }
    return Q8_OK;
}

static q8_code finish_layer(struct refine *r, q8_node *node)
{
    q8_linear view;
    struct finishing f = {.value = &r->value[node->out[0]],
                          .n = r->n,
                          .act = node->op->activation ? node->op->activation(node) : NULL};
    if (!node->op->linear(node, &r->graph->tensor[node->in[0]].shape, &view))
        return q8_fail(r->err, Q8_EINTERNAL, &node->loc, node->name, "an int8 layer is not linear");
    f.channels = view.groups * view.outputs;
    f.each = count_of(r, node->out[0]) / (size_t)f.channels;
    if (r->opts->correct_bias && !(f.bias = q8_own_bias(r->graph->arena, node, &view)))
        return q8_fail_nomem(r->err);
    return q8_parallel(r->threads, finish_channels, &f, r->err);
}

/* --- int8 layers -------------------------------------------------------------------------------
 */

/* Both networks' values just before the activation. */
static q8_code run_layer(struct refine *r, const q8_node *node, const q8_node *exact, float *coded)
{
    q8_arena *arena = q8_arena_open();
    q8_node *a = arena ? bare(arena, exact) : NULL, *b = arena ? bare(arena, exact) : NULL;
    q8_code code = a && b && dequantise(arena, b, node->quant) ? Q8_OK : q8_fail_nomem(r->err);
    /* With the bias it has now, which may be one that `exact` lacks. */
    if (!code && node->weight[1].count) {
        b->weight[1] = node->weight[1];
        node->op->set_bias(b);
    }
    struct value *in = &r->value[node->in[0]];
    const struct value kept = *in;
    if (!code)
        code = run(r, a, false);
    in->int8 = coded;
    if (!code)
        code = run(r, b, true);
    in->int8 = kept.int8;
    q8_arena_close(&arena);
    return code;
}

static q8_code refine_layer(struct refine *r, q8_node *node, const q8_node *exact)
{
    float *coded;
    q8_code code = code_inputs(r, node, &coded);
    const q8_layer_inputs inputs = {
        .n = r->n, .exact = r->value[node->in[0]].exact, .coded = coded};
    if (!code && r->opts->compensate) {
        code = q8_compensate_rounding(r->graph, node, &inputs, r->env, r->err);
        node->weight[1] = exact->weight[1];
        if (!code)
            code = q8_correct_bias_node(r->graph, node, r->opts->mean[node->in[0]], r->err);
    }
    if (!code)
        code = run_layer(r, node, exact, coded);
    q8_buffers_give(&r->buffers, coded);
    return code ? code : finish_layer(r, node);
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
                       .threads = q8_thread_count(env),
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
