/* What ncnn needs before writing: every tensor is read once. */
#include "passes/passes.h"

#include "ops/rows.h"

/* The Split behind a tensor that several inputs read, and how many of its outputs are taken. */
struct split {
    q8_node *node;
    int taken;
};

static q8_node *make_split(q8_graph *graph, int tensor, int readers)
{
    const char *name = graph->tensor[tensor].name;
    q8_node *node = q8_node_new(graph->arena, &q8_op_split,
                                q8_arena_printf(graph->arena, "split_%s", name), 1, readers);
    if (!node || !node->name)
        return NULL;
    node->in[0] = tensor;
    for (int k = 0; k < readers; k++) {
        const char *branch = q8_arena_printf(graph->arena, "%s_split_%d", name, k);
        const q8_shape shape = graph->tensor[tensor].shape;
        node->out[k] = branch ? q8_graph_add_tensor(graph, branch, &shape) : -1;
        if (node->out[k] < 0)
            return NULL;
    }
    return node;
}

/* Appends node and the Splits of its outputs to the new order in `graph->node`. */
static bool append(q8_graph *graph, q8_node *node, const q8_uses *uses, struct split *split)
{
    for (int k = 0; k < node->n_in; k++)
        if (split[node->in[k]].node) {
            struct split *s = &split[node->in[k]];
            node->in[k] = s->node->out[s->taken++];
        }
    if (!q8_graph_insert(graph, node, graph->n_nodes))
        return false;
    for (int k = 0; k < node->n_out; k++) {
        const int tensor = node->out[k];
        const int readers = uses->readers[tensor] - q8_graph_is_output(graph, tensor);
        if (readers < 2)
            continue;
        split[tensor].node = make_split(graph, tensor, readers);
        if (!split[tensor].node || !q8_graph_insert(graph, split[tensor].node, graph->n_nodes))
            return false;
    }
    return true;
}

q8_code q8_pass_insert_splits(q8_graph *graph, q8_err *err)
{
    q8_uses uses;
    struct split *split =
        q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*split));
    if (!split || !q8_graph_uses(graph, &uses))
        return q8_fail_nomem(err);
    q8_node **old = graph->node;
    const int n_old = graph->n_nodes;
    graph->node = NULL;
    graph->n_nodes = 0;
    for (int i = 0; i < n_old; i++)
        if (!append(graph, old[i], &uses, split))
            return q8_fail_nomem(err);
    return Q8_OK;
}
