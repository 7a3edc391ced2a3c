#include "passes/passes.h"

#include <string.h>

q8_code q8_passes_optimise(q8_graph *graph, q8_err *err)
{
    q8_code (*const passes[])(q8_graph *, q8_err *) = {
        q8_pass_drop_identities, q8_pass_drop_dead,    q8_pass_fold_affine,
        q8_pass_fuse_activation, q8_pass_unique_names,
    };
    for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++) {
        q8_code code = passes[i](graph, err);
        if (code)
            return code;
    }
    return Q8_OK;
}

static void *duplicate(q8_arena *arena, const void *data, size_t count, size_t size)
{
    void *copy = q8_arena_array(arena, count + 1, size);
    if (copy && count)
        memcpy(copy, data, count * size);
    return copy;
}

static q8_node *copy_node(const q8_node *node, q8_arena *arena)
{
    q8_node *copy = duplicate(arena, node, 1, sizeof(*node));
    if (!copy)
        return NULL;
    copy->attr = duplicate(arena, node->attr, 1, node->op->attr_size);
    copy->in = duplicate(arena, node->in, (size_t)node->n_in, sizeof(int));
    copy->out = duplicate(arena, node->out, (size_t)node->n_out, sizeof(int));
    return copy->attr && copy->in && copy->out ? copy : NULL;
}

q8_graph *q8_graph_copy(const q8_graph *graph, q8_arena *arena)
{
    q8_graph *copy = q8_graph_new(arena);
    if (!copy)
        return NULL;
    for (int i = 0; i < graph->n_tensors; i++) {
        if (q8_graph_add_tensor(copy, graph->tensor[i].name, NULL) < 0)
            return NULL;
        copy->tensor[i] = graph->tensor[i];
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_node *node = copy_node(graph->node[i], arena);
        if (!node || !q8_graph_insert(copy, node, i))
            return NULL;
    }
    copy->n_outputs = graph->n_outputs;
    copy->output = duplicate(arena, graph->output, (size_t)graph->n_outputs, sizeof(int));
    return copy->output ? copy : NULL;
}
