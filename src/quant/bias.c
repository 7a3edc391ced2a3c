#include "quant/quant.h"

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
    double sum = 0;
    for (int i = 0; i < view->inputs; i++) {
        double off = 0;
        for (size_t k = (size_t)i * kernel; k < ((size_t)i + 1) * kernel; k++)
            off += rounded[k] / scale - (double)weight[k];
        sum += off * (double)m[i];
    }
    return sum;
}

q8_code q8_correct_bias_node(q8_graph *graph, q8_node *node, const float *mean, q8_err *err)
{
    q8_linear view;
    if (!node->quant || !mean || !node->op->linear(node, &graph->tensor[node->in[0]].shape, &view))
        return Q8_OK;
    float *bias = q8_own_bias(graph->arena, node, &view);
    if (!bias)
        return q8_fail_nomem(err);
    for (int o = 0; o < view.groups * view.outputs; o++)
        bias[o] = (float)((double)bias[o] - mean_error(node, &view, o, mean));
    return Q8_OK;
}

q8_code q8_correct_bias_graph(q8_graph *graph, const float *const *mean, q8_err *err)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < graph->n_nodes && !code; i++)
        if (graph->node[i]->n_in > 0)
            code = q8_correct_bias_node(graph, graph->node[i], mean[graph->node[i]->in[0]], err);
    return code;
}
