#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

size_t q8_shape_count(const q8_shape *shape)
{
    size_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] <= 0 || (size_t)shape->dim[i] > Q8_MAX_ELEMENTS / count)
            return 0;
        count *= (size_t)shape->dim[i];
    }
    return shape->rank > 0 ? count : 0;
}

bool q8_shape_equal(const q8_shape *a, const q8_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof(a->dim[0])) == 0;
}

const char *q8_shape_text(const q8_shape *shape, char buf[64])
{
    size_t used = 0;
    buf[0] = '\0';
    for (int i = 0; i < shape->rank; i++)
        used += (size_t)snprintf(buf + used, 64 - used, i ? "x%d" : "%d", shape->dim[i]);
    return buf;
}

size_t q8_shape_spatial(const q8_shape *shape)
{
    size_t count = 1;
    for (int i = 1; i < shape->rank; i++)
        count *= (size_t)shape->dim[i];
    return count;
}

q8_graph *q8_graph_new(q8_arena *arena)
{
    q8_graph *graph = q8_arena_alloc(arena, sizeof(*graph));
    if (graph)
        graph->arena = arena;
    return graph;
}

int q8_graph_add_tensor(q8_graph *graph, const char *name, const q8_shape *shape)
{
    q8_tensor *tensors = q8_arena_grow(graph->arena, graph->tensor, (size_t)graph->n_tensors,
                                       sizeof(*graph->tensor));
    if (!tensors)
        return -1;
    graph->tensor = tensors;
    tensors[graph->n_tensors] = (q8_tensor){.name = name};
    if (shape)
        tensors[graph->n_tensors].shape = *shape;
    return graph->n_tensors++;
}

bool q8_graph_insert(q8_graph *graph, q8_node *node, int at)
{
    q8_node **nodes =
        q8_arena_grow(graph->arena, graph->node, (size_t)graph->n_nodes, sizeof(*graph->node));
    if (!nodes)
        return false;
    memmove(nodes + at + 1, nodes + at, (size_t)(graph->n_nodes - at) * sizeof(*nodes));
    nodes[at] = node;
    graph->node = nodes;
    graph->n_nodes++;
    return true;
}

void q8_graph_sweep(q8_graph *graph)
{
    int kept = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->node[i]->op)
            graph->node[kept++] = graph->node[i];
    graph->n_nodes = kept;
}

bool q8_graph_uses(const q8_graph *graph, q8_uses *uses)
{
    const size_t n = (size_t)graph->n_tensors + 1;
    uses->producer = q8_arena_array(graph->arena, n, sizeof(int));
    uses->readers = q8_arena_array(graph->arena, n, sizeof(int));
    uses->reader = q8_arena_array(graph->arena, n, sizeof(int));
    if (!uses->producer || !uses->readers || !uses->reader)
        return false;
    for (int t = 0; t < graph->n_tensors; t++)
        uses->producer[t] = uses->reader[t] = -1;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        for (int k = 0; k < node->n_in; k++) {
            uses->readers[node->in[k]]++;
            uses->reader[node->in[k]] = i;
        }
        for (int k = 0; k < node->n_out; k++)
            uses->producer[node->out[k]] = i;
    }
    for (int i = 0; i < graph->n_outputs; i++)
        uses->readers[graph->output[i]]++;
    return true;
}

bool q8_graph_is_output(const q8_graph *graph, int tensor)
{
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->output[i] == tensor)
            return true;
    return false;
}

void q8_graph_replace_tensor(q8_graph *graph, int from, int to)
{
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_in; k++)
            if (graph->node[i]->in[k] == from)
                graph->node[i]->in[k] = to;
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->output[i] == from)
            graph->output[i] = to;
}
