#include "quant/quant.h"

#include <math.h>
#include <stdlib.h>

#include "base/simd.h"
#include "base/thread.h"

/* Of weights of one tap: sum of the errors, each times its input's mean. */
Q8_SIMD_CLONES
static double weighted_error(const float *weight, const signed char *rounded, const float *mean,
                             size_t n, double step)
{
    enum { LANES = 8 };
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (rounded[i + k] * step - (double)weight[i + k]) * (double)mean[i + k];
    for (; i < n; i++)
        sum += (rounded[i] * step - (double)weight[i]) * (double)mean[i];
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

/* Mean error of output `o`. */
static double mean_error(const q8_node *node, const q8_linear *view, int o, const float *mean)
{
    const size_t kernel = (size_t)view->kernel, row = (size_t)view->inputs * kernel;
    const size_t outputs = (size_t)view->groups * (size_t)view->outputs;
    const size_t per_scale = outputs / node->quant->n_weight_scales;
    const double scale = (double)node->quant->weight_scales[(size_t)o / per_scale];
    const float *weight = node->weight[0].data + (size_t)o * row;
    const signed char *rounded = node->quant->weight + (size_t)o * row;
    const float *m = mean + o / view->outputs * view->inputs;
    const double step = 1 / scale;
    double sum = 0;
    if (kernel == 1)
        return weighted_error(weight, rounded, m, row, step);
    for (int i = 0; i < view->inputs; i++) {
        double off = 0;
        for (size_t k = (size_t)i * kernel; k < ((size_t)i + 1) * kernel; k++)
            off += rounded[k] * step - (double)weight[k];
        sum += off * (double)m[i];
    }
    return sum;
}

/* A layer whose bias is corrected. */
struct layer {
    const q8_node *node;
    q8_linear view;
    const float *mean;
    float *bias; /* NULL: it has nothing to correct */
};

static q8_code open_layer(struct layer *l, q8_graph *graph, q8_node *node, const float *mean,
                          q8_err *err)
{
    *l = (struct layer){.node = node, .mean = mean};
    if (!node->quant || !mean ||
        !node->op->linear(node, &graph->tensor[node->in[0]].shape, &l->view))
        return Q8_OK;
    l->bias = q8_own_bias(graph->arena, node, &l->view);
    return l->bias ? Q8_OK : q8_fail_nomem(err);
}

static q8_code correct_layer(void *user, int index, q8_err *err)
{
    (void)err;
    const struct layer *l = (const struct layer *)user + index;
    for (int o = 0; l->bias && o < l->view.groups * l->view.outputs; o++) {
        const float to = (float)((double)l->bias[o] - mean_error(l->node, &l->view, o, l->mean));
        if (isfinite(to)) /* else the float layer's own output overflows too */
            l->bias[o] = to;
    }
    return Q8_OK;
}

q8_code q8_correct_bias_node(q8_graph *graph, q8_node *node, const float *mean, q8_err *err)
{
    struct layer layer;
    const q8_code code = open_layer(&layer, graph, node, mean, err);
    return code ? code : correct_layer(&layer, 0, err);
}

q8_code q8_correct_bias_graph(q8_graph *graph, const float *const *mean, const q8_env *env,
                              q8_err *err)
{
    q8_code code = Q8_OK;
    int n = 0;
    struct layer *layer = calloc((size_t)graph->n_nodes + 1, sizeof(*layer));
    if (!layer)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes && !code; i++)
        if (graph->node[i]->n_in > 0)
            code = open_layer(&layer[n++], graph, graph->node[i], mean[graph->node[i]->in[0]], err);
    if (!code)
        code = q8_parallel_each(q8_thread_count(env), n, correct_layer, layer, err);
    free(layer);
    return code;
}
