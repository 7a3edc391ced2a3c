#include "quant/equalise_rewrite.h"

#include <stdlib.h>

#include "base/simd.h"
#include "base/thread.h"
#include "ops/affine.h"
#include "ops/rows.h"

static float *own_weight(q8_graph *graph, q8_node *node, int index)
{
    float *weight = q8_arena_array(graph->arena, node->weight[index].count + 1, sizeof(*weight));
    if (weight)
        node->weight[index].data = weight;
    return weight;
}

/* The factors of a tensor's channels, NULL where all are 1. */
static const float *factors_of(const q8_graph *graph, int tensor)
{
    return graph->tensor[tensor].factor;
}

static double factor_at(const float *factors, int channel)
{
    return factors ? (double)factors[channel] : 1;
}

/* A layer with new weights that are to be filled. */
struct linear {
    const float *in, *out; /* factors of its input and output */
    const q8_linear *view;
    const float *from, *from_bias;
    float *to, *bias; /* bias: NULL where it has none */
};

static q8_code open_linear(struct linear *l, q8_graph *graph, q8_node *node, const q8_linear *view,
                           q8_err *err)
{
    const bool has_bias = node->weight[1].count > 0;
    *l = (struct linear){
        .in = factors_of(graph, node->in[0]),
        .out = factors_of(graph, node->out[0]),
        .view = view,
        .from = node->weight[0].data,
        .from_bias = node->weight[1].data,
    };
    l->to = own_weight(graph, node, 0);
    l->bias = has_bias ? own_weight(graph, node, 1) : NULL;
    return l->to && (l->bias || !has_bias) ? Q8_OK : q8_fail_nomem(err);
}

/* Weights of one tap. */
Q8_SIMD_CLONES
static void scale_weights(const float *restrict from, float *restrict to, double out,
                          const float *restrict in, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = (float)((double)from[i] * (out / (double)in[i]));
}

static void fill_row(const struct linear *l, const float *from, float *to, double out, int first)
{
    const q8_linear *view = l->view;
    if (view->kernel == 1 && l->in) {
        scale_weights(from, to, out, l->in + first, view->inputs);
        return;
    }
    for (int i = 0; i < view->inputs; i++) {
        const double f = out / factor_at(l->in, first + i);
        for (int k = 0; k < view->kernel; k++)
            *to++ = (float)((double)*from++ * f);
    }
}

static q8_code fill_linear(void *user, int index, q8_err *err)
{
    (void)err;
    const struct linear *l = (const struct linear *)user + index;
    const q8_linear *view = l->view;
    const size_t row = (size_t)view->inputs * (size_t)view->kernel;
    for (int o = 0; o < view->groups * view->outputs; o++) {
        const double out = factor_at(l->out, o);
        if (l->bias)
            l->bias[o] = (float)((double)l->from_bias[o] * out);
        fill_row(l, l->from + (size_t)o * row, l->to + (size_t)o * row, out,
                 o / view->outputs * view->inputs);
    }
    return Q8_OK;
}

static q8_code rewrite_affine(q8_graph *graph, q8_node *node, q8_err *err)
{
    const float *in = factors_of(graph, node->in[0]), *out = factors_of(graph, node->out[0]);
    const int channels = graph->tensor[node->in[0]].shape.dim[0];
    q8_scale_attr *attr = q8_arena_alloc(graph->arena, sizeof(*attr));
    float *a = q8_arena_array(graph->arena, (size_t)channels, sizeof(*a));
    float *b = q8_arena_array(graph->arena, (size_t)channels, sizeof(*b));
    if (!attr || !a || !b)
        return q8_fail_nomem(err);
    if (!node->op->as_affine(node, channels, a, b))
        return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name, "it is not affine any more");
    for (int c = 0; c < channels; c++) {
        a[c] = (float)((double)a[c] * factor_at(out, c) / factor_at(in, c));
        b[c] = (float)((double)b[c] * factor_at(out, c));
    }
    *attr = (q8_scale_attr){.scale_data_size = channels, .bias_term = 1};
    node->op = &q8_op_scale;
    node->attr = attr;
    node->weight[0] = (q8_weight){a, (size_t)channels};
    node->weight[1] = (q8_weight){b, (size_t)channels};
    node->weight[2] = node->weight[3] = (q8_weight){0};
    return Q8_OK;
}

static q8_code set_factors(q8_graph *graph, const q8_channel_classes *classes, const float *factor,
                           int tensor, q8_err *err)
{
    const int channels = graph->tensor[tensor].shape.dim[0];
    const int *of = classes->of + classes->first[tensor];
    bool any = false;
    for (int c = 0; c < channels; c++)
        any |= factor[of[c]] != 1;
    if (!any)
        return Q8_OK;
    float *own = q8_arena_array(graph->arena, (size_t)channels, sizeof(*own));
    if (!own)
        return q8_fail_nomem(err);
    for (int c = 0; c < channels; c++)
        own[c] = factor[of[c]];
    graph->tensor[tensor].factor = own;
    return Q8_OK;
}

static q8_code rewrite_nodes(q8_graph *graph, const q8_channel_classes *classes,
                             struct linear *linear, int *n, q8_err *err)
{
    q8_code code = Q8_OK;
    *n = 0;
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        q8_node *node = graph->node[i];
        const q8_channel_node *info = &classes->node[i];
        const bool absorbs = info->role == Q8_ROLE_LINEAR || info->role == Q8_ROLE_AFFINE;
        if (!absorbs || (!factors_of(graph, node->in[0]) && !factors_of(graph, node->out[0])))
            continue;
        code = info->role == Q8_ROLE_LINEAR
                   ? open_linear(&linear[(*n)++], graph, node, &info->view, err)
                   : rewrite_affine(graph, node, err);
    }
    return code;
}

q8_code q8_equalise_rewrite(q8_graph *graph, const q8_channel_classes *classes, const float *factor,
                            int threads, q8_err *err)
{
    q8_code code = Q8_OK;
    int n;
    struct linear *linear = calloc((size_t)graph->n_nodes + 1, sizeof(*linear));
    if (!linear)
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors && !code; t++)
        code = set_factors(graph, classes, factor, t, err);
    if (!code)
        code = rewrite_nodes(graph, classes, linear, &n, err);
    if (!code)
        code = q8_parallel_each(threads, n, fill_linear, linear, err);
    free(linear);
    return code;
}
