/* Moves an activation into the activation slot of the layer before it. */
#include "passes/passes.h"

static void try_fuse(q8_graph *graph, q8_node *act_node, const q8_activation *act,
                     const q8_uses *uses)
{
    const int tensor = act_node->in[0];
    if (uses->producer[tensor] < 0 || uses->readers[tensor] != 1)
        return;
    q8_node *node = graph->node[uses->producer[tensor]];
    q8_activation *slot = node->op && node->op->activation ? node->op->activation(node) : NULL;
    if (!slot || slot->type != Q8_ACT_NONE)
        return;
    *slot = *act;
    node->out[0] = act_node->out[0];
    uses->producer[node->out[0]] = uses->producer[tensor];
    act_node->op = NULL;
}

q8_code q8_pass_fuse_activation(q8_graph *graph, q8_err *err)
{
    q8_uses uses;
    if (!q8_graph_uses(graph, &uses))
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_node *node = graph->node[i];
        q8_activation act = {0};
        if (node->op->as_activation && node->n_in == 1 &&
            node->op->as_activation(node, graph->arena, &act))
            try_fuse(graph, node, &act, &uses);
    }
    q8_graph_sweep(graph);
    return Q8_OK;
}
