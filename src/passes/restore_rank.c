/* ncnn's global pooling hands on {c} where the graph has {c,1,1}: most readers do not care. */
#include "passes/passes.h"

#include "ops/pooling.h"
#include "ops/rows.h"
#include "ops/simple.h"

struct restoring {
    q8_graph *graph;
    bool *flat;    /* by tensor: ncnn will hold it as {c} */
    int *restored; /* by tensor: its {c,1,1} form, 0 while there is none */
    int n;         /* tensors when the pass began */
};

static bool is_flat(const struct restoring *r, int tensor)
{
    return tensor < r->n && r->flat[tensor];
}

static bool is_column(const q8_shape *shape)
{
    return shape->rank == 3 && shape->dim[1] == 1 && shape->dim[2] == 1;
}

static bool makes_flat(const struct restoring *r, const q8_node *node)
{
    if (node->op == &q8_op_pooling)
        return ((const q8_pooling_attr *)node->attr)->global_pooling != 0;
    return node->n_in > 0 && is_flat(r, node->in[0]) && node->op != &q8_op_reshape;
}

/* {c} with {c,h,w}: ncnn's BinaryOp repeats it over the channels as it is. */
static bool repeats_flat(const struct restoring *r, const q8_node *node)
{
    if (node->op != &q8_op_binaryop || node->n_in != 2)
        return false;
    const int flat = is_flat(r, node->in[0]) ? 0 : 1;
    const q8_shape *vector = &r->graph->tensor[node->in[flat]].shape;
    const q8_shape *other = &r->graph->tensor[node->in[1 - flat]].shape;
    return !is_flat(r, node->in[1 - flat]) && other->rank == 3 && other->dim[0] == vector->dim[0];
}

static bool needs_rank3(const struct restoring *r, const q8_node *node)
{
    bool any = false, all = true;
    for (int k = 0; k < node->n_in; k++) {
        any |= is_flat(r, node->in[k]);
        all &= is_flat(r, node->in[k]);
    }
    return any && (node->op->needs_rank3 || (!all && !repeats_flat(r, node)));
}

/* The {c,1,1} form of a flat tensor, by a Reshape put into the order here. -1: out of memory. */
static int restore(struct restoring *r, int tensor)
{
    if (r->restored[tensor])
        return r->restored[tensor];
    q8_graph *graph = r->graph;
    const q8_tensor flat = graph->tensor[tensor];
    q8_node *node = q8_node_new(graph->arena, &q8_op_reshape,
                                q8_arena_printf(graph->arena, "%s_rank3", flat.name), 1, 1);
    if (!node || !node->name)
        return -1;
    *(q8_reshape_attr *)node->attr = q8_reshape_to(&flat.shape);
    node->in[0] = tensor;
    node->out[0] = q8_graph_add_tensor(graph, node->name, &flat.shape);
    if (node->out[0] < 0 || !q8_graph_insert(graph, node, graph->n_nodes))
        return -1;
    return r->restored[tensor] = node->out[0];
}

static bool append(struct restoring *r, q8_node *node)
{
    const bool restores = needs_rank3(r, node);
    for (int k = 0; k < node->n_in && restores; k++)
        if (is_flat(r, node->in[k])) {
            node->in[k] = restore(r, node->in[k]);
            if (node->in[k] < 0)
                return false;
        }
    if (makes_flat(r, node))
        for (int k = 0; k < node->n_out; k++)
            r->flat[node->out[k]] = is_column(&r->graph->tensor[node->out[k]].shape);
    return q8_graph_insert(r->graph, node, r->graph->n_nodes);
}

q8_code q8_pass_restore_rank(q8_graph *graph, q8_err *err)
{
    const size_t n = (size_t)graph->n_tensors + 1;
    struct restoring r = {
        .graph = graph,
        .flat = q8_arena_array(graph->arena, n, sizeof(*r.flat)),
        .restored = q8_arena_array(graph->arena, n, sizeof(*r.restored)),
        .n = graph->n_tensors,
    };
    if (!r.flat || !r.restored)
        return q8_fail_nomem(err);
    q8_node **old = graph->node;
    const int n_old = graph->n_nodes;
    graph->node = NULL;
    graph->n_nodes = 0;
    for (int i = 0; i < n_old; i++)
        if (!append(&r, old[i]))
            return q8_fail_nomem(err);
    return Q8_OK;
}
