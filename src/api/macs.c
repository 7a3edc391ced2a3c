#include "api/macs.h"

/* At most 2^30 weights at 2^30 positions. */
uint64_t q8_node_macs(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    q8_linear view;
    if (node->op->macs)
        return (uint64_t)node->op->macs(node, in, out);
    if (!node->op->linear || !node->op->linear(node, in, &view))
        return 0;
    const uint64_t channels = (uint64_t)view.groups * (uint64_t)view.outputs;
    const uint64_t weights = channels * (uint64_t)view.inputs * (uint64_t)view.kernel;
    return weights * (q8_shape_count(out) / channels);
}
