/* Folds y[c] = a[c] * x[c] + b[c] into the linear layer before or after it. */
#include "passes/passes.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "ops/affine.h"
#include "ops/rows.h"

/* An affine layer's factors. Folding is computed in double and rounded once. */
struct affine {
    int channels;
    float *a, *b;
};

static bool get_affine(const q8_graph *graph, const q8_node *node, struct affine *affine)
{
    const int channels = graph->tensor[node->in[0]].shape.dim[0];
    affine->channels = channels;
    affine->a = q8_arena_array(graph->arena, (size_t)channels, sizeof(float));
    affine->b = q8_arena_array(graph->arena, (size_t)channels, sizeof(float));
    return affine->a && affine->b && node->op->as_affine(node, channels, affine->a, affine->b);
}

static bool get_linear(const q8_graph *graph, const q8_node *node, q8_linear *linear)
{
    return node->op->linear && node->op->linear(node, &graph->tensor[node->in[0]].shape, linear);
}

static bool has_activation(q8_node *node)
{
    const q8_activation *act = node->op->activation ? node->op->activation(node) : NULL;
    return act && act->type != Q8_ACT_NONE;
}

static float *own_weight(q8_graph *graph, q8_node *node)
{
    float *weight = q8_arena_array(graph->arena, node->weight[0].count, sizeof(float));
    if (!weight)
        return NULL;
    memcpy(weight, node->weight[0].data, node->weight[0].count * sizeof(float));
    node->weight[0].data = weight;
    return weight;
}

static bool any_nonzero(const float *v, int n)
{
    for (int i = 0; i < n; i++)
        if (v[i] != 0)
            return true;
    return false;
}

/* A product of large factors is no float any more: such layers stay as they are, since what they
 * compute one after the other may be finite. */
static bool is_float(double x)
{
    return fabs(x) <= (double)FLT_MAX;
}

static double bias_of(const q8_node *node, int o)
{
    return node->weight[1].count ? (double)node->weight[1].data[o] : 0;
}

static bool fits_producer(const q8_node *node, const q8_linear *linear, const struct affine *affine)
{
    const size_t row = (size_t)linear->inputs * (size_t)linear->kernel;
    for (int o = 0; o < linear->groups * linear->outputs; o++) {
        for (size_t i = 0; i < row; i++)
            if (!is_float((double)node->weight[0].data[(size_t)o * row + i] * affine->a[o]))
                return false;
        if (!is_float(bias_of(node, o) * affine->a[o] + affine->b[o]))
            return false;
    }
    return true;
}

/* weight[o] *= a[o]; bias[o] = a[o] * bias[o] + b[o] */
static q8_code fold_into_producer(q8_graph *graph, q8_node *node, const q8_linear *linear,
                                  const struct affine *affine, q8_err *err)
{
    const size_t row = (size_t)linear->inputs * (size_t)linear->kernel;
    float *weight = own_weight(graph, node);
    float *bias = node->weight[1].count || any_nonzero(affine->b, affine->channels)
                      ? q8_own_bias(graph->arena, node, linear)
                      : NULL;
    if (!weight || (!bias && (node->weight[1].count || any_nonzero(affine->b, affine->channels))))
        return q8_fail_nomem(err);
    for (int o = 0; o < linear->groups * linear->outputs; o++) {
        for (size_t i = 0; i < row; i++)
            weight[(size_t)o * row + i] =
                (float)((double)weight[(size_t)o * row + i] * affine->a[o]);
        if (bias)
            bias[o] = (float)((double)bias[o] * affine->a[o] + affine->b[o]);
    }
    return Q8_OK;
}

static bool fits_reader(const q8_node *node, const q8_linear *linear, const struct affine *affine)
{
    const float *w = node->weight[0].data;
    for (int o = 0; o < linear->groups * linear->outputs; o++) {
        const int first_input = o / linear->outputs * linear->inputs;
        double bias = bias_of(node, o);
        for (int i = 0; i < linear->inputs; i++)
            for (int k = 0; k < linear->kernel; k++, w++) {
                bias += (double)*w * affine->b[first_input + i];
                if (!is_float((double)*w * affine->a[first_input + i]))
                    return false;
            }
        if (!is_float(bias))
            return false;
    }
    return true;
}

/* bias[o] += sum of weight[o][i][k] * b[i]; weight[o][i][k] *= a[i] */
static q8_code fold_into_reader(q8_graph *graph, q8_node *node, const q8_linear *linear,
                                const struct affine *affine, q8_err *err)
{
    float *weight = own_weight(graph, node);
    float *bias = q8_own_bias(graph->arena, node, linear);
    if (!weight || !bias)
        return q8_fail_nomem(err);
    for (int o = 0; o < linear->groups * linear->outputs; o++) {
        const int first_input = o / linear->outputs * linear->inputs;
        double shift = 0;
        for (int i = 0; i < linear->inputs; i++)
            for (int k = 0; k < linear->kernel; k++) {
                float *w = &weight[((size_t)o * (size_t)linear->inputs + (size_t)i) *
                                       (size_t)linear->kernel +
                                   (size_t)k];
                shift += (double)*w * affine->b[first_input + i];
                *w = (float)((double)*w * affine->a[first_input + i]);
            }
        bias[o] = (float)(bias[o] + shift);
    }
    return Q8_OK;
}

/* Into the layer that makes the affine layer's input, which nothing else may read. */
static q8_code try_producer(q8_graph *graph, q8_node *affine_node, const struct affine *affine,
                            const q8_uses *uses, q8_err *err)
{
    const int tensor = affine_node->in[0];
    if (uses->producer[tensor] < 0 || uses->readers[tensor] != 1)
        return Q8_OK;
    q8_node *node = graph->node[uses->producer[tensor]];
    q8_linear linear;
    if (!node->op || !get_linear(graph, node, &linear) || has_activation(node) ||
        linear.groups * linear.outputs != affine->channels || !fits_producer(node, &linear, affine))
        return Q8_OK;
    q8_code code = fold_into_producer(graph, node, &linear, affine, err);
    if (code)
        return code;
    node->out[0] = affine_node->out[0];
    uses->producer[node->out[0]] = uses->producer[tensor];
    affine_node->op = NULL;
    return Q8_OK;
}

/* Into the only layer that reads the affine layer's output. A shift cannot pass zero padding. */
static q8_code try_reader(q8_graph *graph, q8_node *affine_node, const struct affine *affine,
                          const q8_uses *uses, q8_err *err)
{
    const int tensor = affine_node->out[0];
    if (uses->readers[tensor] != 1 || uses->reader[tensor] < 0)
        return Q8_OK;
    q8_node *node = graph->node[uses->reader[tensor]];
    q8_linear linear;
    if (!node->op || !get_linear(graph, node, &linear) || !node->op->set_bias ||
        linear.groups * linear.inputs != affine->channels ||
        (linear.pads && (linear.pad_value != 0 || any_nonzero(affine->b, affine->channels))) ||
        !fits_reader(node, &linear, affine))
        return Q8_OK;
    q8_code code = fold_into_reader(graph, node, &linear, affine, err);
    if (code)
        return code;
    node->in[0] = affine_node->in[0];
    uses->reader[node->in[0]] = uses->reader[tensor];
    affine_node->op = NULL;
    return Q8_OK;
}

/* `affine` becomes both one after the other. False: a factor would be no float, and `affine` is of
 * no use any more. */
static bool merge_affine(const struct affine *affine, const struct affine *before)
{
    for (int c = 0; c < affine->channels; c++) {
        const double a = (double)affine->a[c] * before->a[c];
        const double b = (double)affine->a[c] * before->b[c] + affine->b[c];
        if (!is_float(a) || !is_float(b))
            return false;
        affine->a[c] = (float)a;
        affine->b[c] = (float)b;
    }
    return true;
}

/* An affine layer behind another becomes one Scale. */
static q8_code try_merge(q8_graph *graph, q8_node *second, const struct affine *affine,
                         const q8_uses *uses, q8_err *err)
{
    const int tensor = second->in[0];
    q8_node *first = uses->producer[tensor] < 0 ? NULL : graph->node[uses->producer[tensor]];
    struct affine before;
    if (!first || !first->op || !first->op->as_affine || first->n_in != 1 ||
        uses->readers[tensor] != 1 || !get_affine(graph, first, &before) ||
        before.channels != affine->channels)
        return Q8_OK;
    if (!merge_affine(affine, &before))
        return Q8_OK;
    q8_scale_attr *attr = q8_arena_alloc(graph->arena, sizeof(*attr));
    if (!attr)
        return q8_fail_nomem(err);
    *attr = (q8_scale_attr){.scale_data_size = affine->channels, .bias_term = 1};
    second->op = &q8_op_scale;
    second->attr = attr;
    second->weight[0] = (q8_weight){affine->a, (size_t)affine->channels};
    second->weight[1] = (q8_weight){affine->b, (size_t)affine->channels};
    second->weight[2] = second->weight[3] = (q8_weight){0};
    second->in[0] = first->in[0];
    uses->reader[first->in[0]] = uses->reader[tensor];
    first->op = NULL;
    return Q8_OK;
}

typedef q8_code (*try_fn)(q8_graph *graph, q8_node *node, const struct affine *affine,
                          const q8_uses *uses, q8_err *err);

static q8_code for_each_affine(q8_graph *graph, try_fn try_one, q8_err *err)
{
    q8_uses uses;
    if (!q8_graph_uses(graph, &uses))
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_node *node = graph->node[i];
        struct affine affine;
        if (!node->op->as_affine || node->n_in != 1 || !get_affine(graph, node, &affine))
            continue;
        q8_code code = try_one(graph, node, &affine, &uses, err);
        if (code)
            return code;
    }
    q8_graph_sweep(graph);
    return Q8_OK;
}

q8_code q8_pass_fold_affine(q8_graph *graph, q8_err *err)
{
    q8_code code = for_each_affine(graph, try_merge, err);
    if (!code)
        code = for_each_affine(graph, try_producer, err);
    if (!code)
        code = for_each_affine(graph, try_reader, err);
    return code;
}
