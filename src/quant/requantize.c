#include "quant/requantize.h"

#include "ops/conv.h"
#include "ops/rows.h"

/* ncnn runs other groups as Convolutions of their own, on parts of a packed int8 tensor. */
static bool is_depthwise(const q8_graph *graph, const q8_node *node)
{
    const q8_conv_attr *a = node->attr;
    return node->op == &q8_op_convolutiondepthwise && a->group == a->num_output &&
           a->group == graph->tensor[node->in[0]].shape.dim[0];
}

static bool takes_part(const q8_graph *graph, const q8_node *node)
{
    return node->quant && (node->op == &q8_op_convolution || is_depthwise(graph, node));
}

/* The bottom scale of all that read a tensor; 0 where one of them has another or takes no codes. */
static float common_scale(const q8_graph *graph, int tensor)
{
    float scale = 0;
    if (q8_graph_is_output(graph, tensor))
        return 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] != tensor)
                continue;
            if (!takes_part(graph, node) || (scale > 0 && node->quant->bottom_scale != scale))
                return 0;
            scale = node->quant->bottom_scale;
        }
    }
    return scale;
}

q8_code q8_requantize_graph(q8_graph *graph, q8_err *err)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_node *node = graph->node[i];
        const float scale = takes_part(graph, node) ? common_scale(graph, node->out[0]) : 0;
        if (scale == 0)
            continue;
        q8_quant *quant = q8_arena_alloc(graph->arena, sizeof(*quant));
        if (!quant)
            return q8_fail_nomem(err);
        *quant = *node->quant;
        quant->top_scale = scale;
        node->quant = quant;
        node->op->set_int8(node);
    }
    return Q8_OK;
}
