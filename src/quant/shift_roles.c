#include "quant/shift_roles.h"

#include "ops/rows.h"

/* A clip moves with what it clips, and a ReLU becomes a clip. */
static bool can_move(const q8_activation *act)
{
    return act->type == Q8_ACT_NONE || act->type == Q8_ACT_RELU || act->type == Q8_ACT_CLIP;
}

static bool is_linear(const q8_graph *graph, q8_node *node)
{
    q8_linear view;
    return node->op->linear && node->op->set_bias && node->n_in == 1 &&
           (!node->op->activation || can_move(node->op->activation(node))) &&
           node->op->linear(node, &graph->tensor[node->in[0]].shape, &view);
}

static bool is_movable_activation(const q8_graph *graph, const q8_node *node)
{
    q8_activation act = {0};
    return node->op->as_activation && node->n_in == 1 &&
           node->op->as_activation(node, graph->arena, &act) && can_move(&act);
}

static q8_shift_role role_by_rule(const q8_node *node, const q8_shape *in)
{
    switch (node->op->channels(node, in)) {
    case Q8_CHANNELS_MOVE:
    case Q8_CHANNELS_MEAN:
        return Q8_SHIFT_LINKS;
    case Q8_CHANNELS_MAX:
        return Q8_SHIFT_LINKS_MAX;
    case Q8_CHANNELS_SUM: /* other sums have no coefficients */
        return node->op == &q8_op_eltwise ? Q8_SHIFT_SUMS : Q8_SHIFT_BLOCKS;
    default:
        return Q8_SHIFT_BLOCKS;
    }
}

bool q8_shift_role_of(const q8_graph *graph, q8_node *node, q8_shift_role *role)
{
    *role = Q8_SHIFT_BLOCKS;
    if (is_linear(graph, node))
        *role = Q8_SHIFT_LINEAR;
    else if (is_movable_activation(graph, node))
        *role = Q8_SHIFT_LINKS;
    else if (node->op == &q8_op_scale && node->n_in == 1)
        *role = Q8_SHIFT_AFFINE;
    else if (node->op->shapes_only)
        *role = Q8_SHIFT_STARTS;
    else if (node->op->channels && node->n_in > 0) {
        q8_shape *in = q8_arena_array(graph->arena, (size_t)node->n_in, sizeof(*in));
        if (!in)
            return false;
        for (int i = 0; i < node->n_in; i++)
            in[i] = graph->tensor[node->in[i]].shape;
        *role = role_by_rule(node, in);
    }
    return true;
}
