#include "quant/refine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    int next_input;
    q8_err *err;
};

static size_t count_of(const struct refine *r, int tensor)
{
    return q8_shape_count(&r->graph->tensor[tensor].shape);
}

static float *new_values(const struct refine *r, int tensor)
{
    return malloc(count_of(r, tensor) * (size_t)r->n * sizeof(float));
}

static void free_value(struct value *v)
{
    if (v->int8 != v->exact)
        free(v->int8);
    free(v->exact);
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

static q8_code read_input(struct refine *r, const q8_node *node)
{
    struct value *v = &r->value[node->out[0]];
    v->exact = v->int8 = new_values(r, node->out[0]);
    if (!v->exact)
        return q8_fail_nomem(r->err);
    const size_t samples = q8_samples_count(r->opts->samples), count = count_of(r, node->out[0]);
    q8_code code = Q8_OK;
    for (int i = 0; i < r->n && !code; i++)
        code = q8_samples_read(r->opts->samples, samples * (size_t)i / (size_t)r->n, r->next_input,
                               v->exact + (size_t)i * count, r->err);
    r->next_input++;
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

/* What the layer's input codes stand for. */
static float *code_inputs(const struct refine *r, const q8_node *node)
{
    const size_t count = count_of(r, node->in[0]) * (size_t)r->n;
    const float scale = node->quant->bottom_scale;
    float *coded = malloc(count * sizeof(*coded));
    if (!coded)
        return NULL;
    q8_int8_codes(r->value[node->in[0]].int8, scale, count, coded);
    for (size_t i = 0; i < count; i++)
        coded[i] /= scale;
    return coded;
}

/* Mean of a channel's values over all pictures. */
static double channel_mean(const float *x, int n, size_t picture, size_t from, size_t count)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < count; k++)
            sum += (double)x[(size_t)i * picture + from + k];
    return sum / ((double)n * (double)count);
}

static q8_code correct_bias(struct refine *r, q8_node *node)
{
    q8_linear view;
    if (!node->op->linear(node, &r->graph->tensor[node->in[0]].shape, &view))
        return Q8_OK;
    float *bias = q8_own_bias(r->graph->arena, node, &view);
    if (!bias)
        return q8_fail_nomem(r->err);
    const struct value *v = &r->value[node->out[0]];
    const size_t picture = count_of(r, node->out[0]);
    const int outputs = view.groups * view.outputs;
    const size_t each = picture / (size_t)outputs;
    for (int o = 0; o < outputs; o++) {
        const size_t from = (size_t)o * each;
        const float off = (float)(channel_mean(v->int8, r->n, picture, from, each) -
                                  channel_mean(v->exact, r->n, picture, from, each));
        if (!isfinite(off))
            continue;
        bias[o] -= off;
        for (int i = 0; i < r->n; i++)
            for (size_t k = 0; k < each; k++)
                v->int8[(size_t)i * picture + from + k] -= off;
    }
    return Q8_OK;
}

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
    float *coded = code_inputs(r, node);
    if (!coded)
        return q8_fail_nomem(r->err);
    const q8_layer_inputs inputs = {
        .n = r->n, .exact = r->value[node->in[0]].exact, .coded = coded};
    q8_code code = Q8_OK;
    if (r->opts->compensate) {
        code = q8_compensate_rounding(r->graph, node, &inputs, r->threads, r->err);
        node->weight[1] = exact->weight[1];
        if (!code)
            code = q8_correct_bias_node(r->graph, node, r->opts->mean[node->in[0]], r->err);
    }
    if (!code)
        code = run_layer(r, node, exact, coded);
    if (!code && r->opts->correct_bias)
        code = correct_bias(r, node);
    free(coded);
    if (!code && node->op->activation) {
        const struct value *v = &r->value[node->out[0]];
        const q8_activation *act = node->op->activation(node);
        q8_activate_array(act, v->exact, count_of(r, node->out[0]) * (size_t)r->n);
        q8_activate_array(act, v->int8, count_of(r, node->out[0]) * (size_t)r->n);
    }
    return code;
}

static void release_inputs(struct refine *r, const q8_node *node)
{
    for (int k = 0; k < node->n_in; k++)
        if (--r->value[node->in[k]].readers_left == 0)
            free_value(&r->value[node->in[k]]);
}

static q8_code refine_nodes(struct refine *r)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < r->graph->n_nodes && !code; i++) {
        q8_node *node = r->graph->node[i];
        if (q8_cancelled(r->env))
            return q8_fail(r->err, Q8_EINTR, NULL, NULL, "interrupted");
        if (node->op == &q8_op_input)
            code = read_input(r, node);
        else if (node->quant)
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
    const q8_code code = refine_nodes(&r);
    for (int t = 0; t < graph->n_tensors; t++)
        free_value(&r.value[t]);
    free(r.value);
    return code;
}
