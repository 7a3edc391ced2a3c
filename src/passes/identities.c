/* Drops nodes that hand their input on unchanged, and nodes nothing depends on. */
#include "passes/passes.h"

#include "ops/rows.h"

static bool is_identity(const q8_graph *graph, const q8_node *node)
{
    if (!node->op->is_identity || node->n_in != 1)
        return false;
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    for (int k = 0; k < node->n_out; k++) {
        const q8_shape *out = &graph->tensor[node->out[k]].shape;
        if (!q8_shape_equal(in, out) || !node->op->is_identity(node, in, out))
            return false;
    }
    return true;
}

/* What takes a dropped node's output's place, by tensor. */
struct dropping {
    q8_graph *graph;
    int *alias;          /* the tensor read instead; itself while it stays */
    bool *name_is_fixed; /* inputs and outputs of the network */
};

/* An output's name moves to the tensor before it; false: that one's own name is needed too. */
static bool hand_names_on(struct dropping *d, const q8_node *node, int to)
{
    int named = 0;
    for (int k = 0; k < node->n_out; k++)
        named += d->name_is_fixed[node->out[k]];
    if (named > 1 || (named == 1 && d->name_is_fixed[to]))
        return false;
    for (int k = 0; k < node->n_out; k++)
        if (d->name_is_fixed[node->out[k]]) {
            d->graph->tensor[to].name = d->graph->tensor[node->out[k]].name;
            d->name_is_fixed[to] = true;
        }
    return true;
}

static void visit(struct dropping *d, q8_node *node)
{
    for (int k = 0; k < node->n_in; k++)
        node->in[k] = d->alias[node->in[k]];
    if (!is_identity(d->graph, node) || !hand_names_on(d, node, node->in[0]))
        return;
    for (int k = 0; k < node->n_out; k++)
        d->alias[node->out[k]] = node->in[0];
    node->op = NULL;
}

q8_code q8_pass_drop_identities(q8_graph *graph, q8_err *err)
{
    const size_t n = (size_t)graph->n_tensors + 1;
    struct dropping d = {
        .graph = graph,
        .alias = q8_arena_array(graph->arena, n, sizeof(*d.alias)),
        .name_is_fixed = q8_arena_array(graph->arena, n, sizeof(*d.name_is_fixed)),
    };
    if (!d.alias || !d.name_is_fixed)
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++)
        d.alias[t] = t;
    for (int i = 0; i < graph->n_outputs; i++)
        d.name_is_fixed[graph->output[i]] = true;
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out && graph->node[i]->op == &q8_op_input; k++)
            d.name_is_fixed[graph->node[i]->out[k]] = true;
    for (int i = 0; i < graph->n_nodes; i++)
        visit(&d, graph->node[i]);
    for (int i = 0; i < graph->n_outputs; i++)
        graph->output[i] = d.alias[graph->output[i]];
    q8_graph_sweep(graph);
    return Q8_OK;
}

q8_code q8_pass_drop_dead(q8_graph *graph, q8_err *err)
{
    bool *needed = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*needed));
    if (!needed)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_outputs; i++)
        needed[graph->output[i]] = true;
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        q8_node *node = graph->node[i];
        bool alive = node->op == &q8_op_input; /* the inputs are the network's interface */
        for (int k = 0; k < node->n_out; k++)
            alive |= needed[node->out[k]];
        for (int k = 0; k < node->n_in && alive; k++)
            needed[node->in[k]] = true;
        if (!alive)
            node->op = NULL;
    }
    q8_graph_sweep(graph);
    return Q8_OK;
}
