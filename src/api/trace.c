#include "api/trace.h"

#include <stdlib.h>

#include "passes/passes.h"

q8_code q8_trace_begin(q8_trace *trace, const q8_graph *graph, q8_err *err)
{
    q8_uses uses;
    const size_t n_nodes = (size_t)graph->n_nodes + 1, n_tensors = (size_t)graph->n_tensors + 1;
    q8_graph *before = q8_graph_copy(graph, graph->arena);
    *trace = (q8_trace){
        .before = before,
        .node = q8_arena_array(graph->arena, n_nodes, sizeof(*trace->node)),
        .fused = q8_arena_array(graph->arena, n_nodes, sizeof(*trace->fused)),
        .alias = q8_arena_array(graph->arena, n_tensors, sizeof(*trace->alias)),
        .found = q8_arena_array(graph->arena, n_nodes, sizeof(*trace->found)),
    };
    if (!before || !trace->node || !trace->fused || !trace->alias || !trace->found ||
        !q8_graph_uses(before, &uses))
        return q8_fail_nomem(err);
    trace->producer = uses.producer;
    for (int i = 0; i < graph->n_nodes; i++)
        trace->node[i] = graph->node[i];
    return Q8_OK;
}

static bool does_nothing(const q8_graph *graph, const q8_node *node)
{
    if (!node->op->is_identity || node->n_in != 1 || node->n_out < 1)
        return false;
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    const q8_shape *out = &graph->tensor[node->out[0]].shape;
    return q8_shape_equal(in, out) && node->op->is_identity(node, in, out);
}

static void find_gone(q8_trace *trace)
{
    const q8_graph *before = trace->before;
    for (int t = 0; t < before->n_tensors; t++)
        trace->alias[t] = t;
    for (int i = 0; i < before->n_nodes; i++) {
        const q8_node *node = before->node[i];
        if (trace->node[i]->op)
            continue;
        trace->node[i] = NULL; /* a pass has dropped it */
        trace->n_gone++;
        for (int k = 0; k < node->n_out && does_nothing(before, node); k++)
            trace->alias[node->out[k]] = trace->alias[node->in[0]];
    }
}

/* Follows nodes that are gone from `tensor` back to `stop`, both tensors of `before`. */
static int walk_back(q8_trace *trace, int tensor, int stop, int n)
{
    for (tensor = trace->alias[tensor]; tensor != stop;) {
        const int i = trace->producer[tensor];
        if (i < 0 || trace->node[i] || trace->before->node[i]->n_in < 1 ||
            n == trace->before->n_nodes)
            break;
        trace->found[n++] = i;
        tensor = trace->alias[trace->before->node[i]->in[0]];
    }
    return n;
}

static int by_index(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static q8_code find_fused(q8_trace *trace, int i, q8_err *err)
{
    const q8_node *old = trace->before->node[i], *now = trace->node[i];
    int n = 0;
    for (int k = 0; k < now->n_in && k < old->n_in; k++)
        n = walk_back(trace, old->in[k], now->in[k], n);
    if (now->n_out > 0 && old->n_out > 0)
        n = walk_back(trace, now->out[0], old->out[0], n);
    qsort(trace->found, (size_t)n, sizeof(*trace->found), by_index);
    const char **type = q8_arena_array(trace->before->arena, (size_t)n + 1, sizeof(*type));
    if (!type)
        return q8_fail_nomem(err);
    for (int k = 0; k < n; k++)
        type[k] = trace->before->node[trace->found[k]]->op->type;
    trace->fused[i] = (q8_fused){type, (size_t)n};
    trace->n_fused += (size_t)n;
    return Q8_OK;
}

q8_code q8_trace_end(q8_trace *trace, q8_err *err)
{
    find_gone(trace);
    for (int i = 0; i < trace->before->n_nodes; i++)
        if (trace->node[i] && find_fused(trace, i, err))
            return Q8_ENOMEM;
    return Q8_OK;
}
