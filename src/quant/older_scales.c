#include "quant/older_scales.h"

#include "base/sums.h"
#include "ops/rows.h"

/* Below this the original tool calls weights 0. */
#define ORIGINAL_LEAST 1e-4f

static float scale_of(const q8_node *node, q8_compat compat, float absmax)
{
    if (compat == Q8_COMPAT_ORIGINAL && absmax < ORIGINAL_LEAST)
        return node->op == &q8_op_convolutiondepthwise ? 1 : 0;
    if (absmax == 0)
        return 1;
    const bool six_bits =
        compat == Q8_COMPAT_NCNN && node->op == &q8_op_convolution && q8_may_be_winograd(node);
    return (six_bits ? 31 : 127) / absmax;
}

q8_code q8_older_scales(q8_given *given, q8_graph *graph, const float *threshold,
                        const q8_quant_opts *opts, q8_err *err)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        const size_t n = q8_quant_scales(graph, node);
        const float t = n ? threshold[node->in[0]] : 0;
        float *scale = q8_arena_array(graph->arena, n, sizeof(*scale));
        if (!scale)
            return q8_fail_nomem(err);
        const size_t together = n && opts->per_layer ? n : 1;
        const size_t row = n ? node->weight[0].count / n * together : 0;
        for (size_t k = 0; k < n; k++)
            scale[k] = k % together
                           ? scale[k - 1]
                           : scale_of(node, opts->compat,
                                      q8_absmax(node->weight[0].data + k * row / together, row));
        given[i] = (q8_given){.float_reason = t > 0 ? NULL : "its input was not observed",
                              .weight_scales = scale,
                              .bottom_scale = t > 0 ? 127 / t : 1};
    }
    return Q8_OK;
}
