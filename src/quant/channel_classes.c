#include "quant/channel_classes.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/sums.h"

/* Factors, and the inverse of factors, leave weights below this far from fp32's limits. */
#define LARGEST_WEIGHT 1e30f

/* Channel numbers go through layers as fp32, which counts so far. */
enum { MOST_CHANNELS = 1 << 24 };

/* --- sets ----------------------------------------------------------------------------------- */

int q8_set_find(int *of, int i)
{
    while (of[i] != i)
        i = of[i] = of[of[i]];
    return i;
}

void q8_set_join(int *of, int i, int k)
{
    i = q8_set_find(of, i);
    k = q8_set_find(of, k);
    of[i > k ? i : k] = i < k ? i : k;
}

/* --- roles ---------------------------------------------------------------------------------- */

static int channels_of(const q8_graph *graph, int tensor)
{
    return graph->tensor[tensor].shape.dim[0];
}

/* NaN is not. */
static bool all_moderate(const float *x, size_t n)
{
    return q8_absmax(x, n) < LARGEST_WEIGHT;
}

/* The activation passes factors on. */
static bool passes_factors(q8_node *node, const bool *bounded)
{
    const q8_activation *act = node->op->activation ? node->op->activation(node) : NULL;
    if (!act || act->type == Q8_ACT_NONE || act->type == Q8_ACT_RELU || act->type == Q8_ACT_LEAKY)
        return true;
    return act->type == Q8_ACT_CLIP && bounded && bounded[node->out[0]] && act->params.v[0] == 0 &&
           act->params.v[1] > 0;
}

static bool is_linear(const q8_graph *graph, q8_node *node, q8_linear *view)
{
    if (!node->op->linear || node->n_in != 1 || node->n_out != 1 ||
        !node->op->linear(node, &graph->tensor[node->in[0]].shape, view))
        return false;
    const long long inputs = (long long)view->groups * view->inputs;
    const long long outputs = (long long)view->groups * view->outputs;
    return (!view->pads || view->pad_value == 0) && inputs == channels_of(graph, node->in[0]) &&
           outputs == channels_of(graph, node->out[0]) &&
           node->weight[0].count == (size_t)outputs * (size_t)view->inputs * (size_t)view->kernel &&
           all_moderate(node->weight[0].data, node->weight[0].count) &&
           all_moderate(node->weight[1].data, node->weight[1].count);
}

static bool is_affine(const q8_graph *graph, const q8_node *node, q8_arena *arena)
{
    if (!node->op->as_affine || node->n_in != 1 || node->n_out != 1)
        return false;
    const int channels = channels_of(graph, node->in[0]);
    float *a = q8_arena_array(arena, (size_t)channels, sizeof(*a));
    float *b = q8_arena_array(arena, (size_t)channels, sizeof(*b));
    return a && b && node->op->as_affine(node, channels, a, b) &&
           all_moderate(a, (size_t)channels) && all_moderate(b, (size_t)channels);
}

static bool is_same(const q8_graph *graph, const q8_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        if (channels_of(graph, node->in[i]) != channels_of(graph, node->out[0]))
            return false;
    return node->n_out == 1;
}

static q8_shape *shapes_of(const q8_graph *graph, const int *tensor, int n, q8_arena *arena)
{
    q8_shape *shape = q8_arena_array(arena, (size_t)n + 1, sizeof(*shape));
    for (int i = 0; shape && i < n; i++)
        shape[i] = graph->tensor[tensor[i]].shape;
    return shape;
}

static q8_code find_role(q8_channel_node *info, const q8_graph *graph, q8_node *node,
                         q8_arena *arena, q8_err *err)
{
    const q8_shape *in = shapes_of(graph, node->in, node->n_in, arena);
    if (!in)
        return q8_fail_nomem(err);
    const q8_channel_rule rule =
        node->op->channels && node->n_in > 0 ? node->op->channels(node, in) : Q8_CHANNELS_FIXED;
    if (is_linear(graph, node, &info->view))
        info->role = Q8_ROLE_LINEAR;
    else if (rule == Q8_CHANNELS_MOVE)
        info->role = Q8_ROLE_MOVE;
    else if (rule != Q8_CHANNELS_FIXED)
        info->role = is_same(graph, node) ? Q8_ROLE_SAME : Q8_ROLE_FIXED;
    else
        info->role = is_affine(graph, node, arena) ? Q8_ROLE_AFFINE : Q8_ROLE_FIXED;
    return Q8_OK;
}

/* --- links ---------------------------------------------------------------------------------- */

static void pin(q8_channel_classes *classes, const q8_graph *graph, int tensor)
{
    for (int c = 0; c < channels_of(graph, tensor); c++)
        classes->pinned[classes->first[tensor] + c] = true;
}

static void pin_all(q8_channel_classes *classes, const q8_graph *graph, const q8_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        pin(classes, graph, node->in[i]);
    for (int i = 0; i < node->n_out; i++)
        pin(classes, graph, node->out[i]);
}

static void link_same(q8_channel_classes *classes, const q8_graph *graph, const q8_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        for (int c = 0; c < channels_of(graph, node->out[0]); c++)
            q8_set_join(classes->of, classes->first[node->in[i]] + c,
                        classes->first[node->out[0]] + c);
}

/* Tensors of a node that moves channel numbers: counted over all its inputs. */
struct moved {
    const q8_shape *in_shape, *out_shape;
    float **in, **out;
    int *number; /* by counted channel: its number in the graph */
    int channels;
};

static void free_moved(struct moved *m, const q8_node *node)
{
    for (int i = 0; m->in && i < node->n_in; i++)
        free(m->in[i]);
    for (int i = 0; m->out && i < node->n_out; i++)
        free(m->out[i]);
    free(m->in);
    free(m->out);
    free(m->number);
}

static bool alloc_tensors(float **data, const q8_shape *shape, int n)
{
    for (int i = 0; i < n; i++)
        if (!(data[i] = malloc(q8_shape_count(&shape[i]) * sizeof(float))))
            return false;
    return true;
}

static bool fill_moved(struct moved *m, const q8_channel_classes *classes, const q8_graph *graph,
                       const q8_node *node, q8_arena *arena)
{
    m->in_shape = shapes_of(graph, node->in, node->n_in, arena);
    m->out_shape = shapes_of(graph, node->out, node->n_out, arena);
    m->in = calloc((size_t)node->n_in, sizeof(*m->in));
    m->out = calloc((size_t)node->n_out, sizeof(*m->out));
    m->number = calloc((size_t)classes->n, sizeof(*m->number));
    if (!m->in_shape || !m->out_shape || !m->in || !m->out || !m->number ||
        !alloc_tensors(m->in, m->in_shape, node->n_in) ||
        !alloc_tensors(m->out, m->out_shape, node->n_out))
        return false;
    for (int i = 0; i < node->n_in; i++) {
        const size_t spatial = q8_shape_spatial(&m->in_shape[i]);
        float *x = m->in[i];
        for (int c = 0; c < m->in_shape[i].dim[0]; c++) {
            for (size_t k = 0; k < spatial; k++)
                *x++ = (float)m->channels;
            m->number[m->channels++] = classes->first[node->in[i]] + c;
        }
    }
    return true;
}

static bool add_move(q8_channel_node *info, q8_channel_move move, q8_arena *arena)
{
    q8_channel_move *all =
        q8_arena_grow(arena, info->move, (size_t)info->n_moves, sizeof(*info->move));
    if (!all)
        return false;
    all[info->n_moves++] = move;
    info->move = all;
    return true;
}

/* Notes where each stretch of a channel comes from. */
static bool note_moves(q8_channel_node *info, const struct moved *m, int output, int first,
                       q8_arena *arena)
{
    const q8_shape *shape = &m->out_shape[output];
    const size_t spatial = q8_shape_spatial(shape);
    const float *out = m->out[output];
    for (int c = 0; c < shape->dim[0]; c++, out += spatial)
        for (size_t k = 0, end; k < spatial; k = end) {
            for (end = k + 1; end < spatial && out[end] == out[k];)
                end++;
            const q8_channel_move move = {.from = m->number[(int)out[k]],
                                          .to = first + c,
                                          .share = (float)(end - k) / (float)spatial};
            if (!add_move(info, move, arena))
                return false;
        }
    return true;
}

static q8_code link_moved(q8_channel_classes *classes, const q8_graph *graph, int index,
                          q8_arena *arena, q8_err *err)
{
    const q8_node *node = graph->node[index];
    q8_channel_node *info = &classes->node[index];
    struct moved m = {0};
    q8_code code = fill_moved(&m, classes, graph, node, arena) ? Q8_OK : q8_fail_nomem(err);
    if (code)
        goto done;
    const q8_forward f = {.node = node,
                          .in_shape = m.in_shape,
                          .out_shape = m.out_shape,
                          .in = (const float *const *)m.in,
                          .out = m.out};
    code = node->op->forward(&f, err);
    for (int i = 0; i < node->n_out && !code; i++)
        if (!note_moves(info, &m, i, classes->first[node->out[i]], arena))
            code = q8_fail_nomem(err);
    for (int i = 0; i < info->n_moves; i++)
        q8_set_join(classes->of, info->move[i].from, info->move[i].to);
done:
    free_moved(&m, node);
    return code;
}

static q8_code link_node(q8_channel_classes *classes, const q8_graph *graph, int index,
                         const bool *bounded, q8_arena *arena, q8_err *err)
{
    q8_node *node = graph->node[index];
    switch (classes->node[index].role) {
    case Q8_ROLE_LINEAR:
        if (!passes_factors(node, bounded))
            pin(classes, graph, node->out[0]);
        return Q8_OK;
    case Q8_ROLE_AFFINE:
        return Q8_OK;
    case Q8_ROLE_MOVE:
        return link_moved(classes, graph, index, arena, err);
    case Q8_ROLE_SAME:
        link_same(classes, graph, node);
        return Q8_OK;
    default:
        pin_all(classes, graph, node);
        return Q8_OK;
    }
}

/* Of each set the class, and the class is pinned where one of its channels is. */
static void settle(q8_channel_classes *classes)
{
    for (int i = 0; i < classes->n; i++) {
        const int of = q8_set_find(classes->of, i);
        classes->of[i] = of;
        if (classes->pinned[i])
            classes->pinned[of] = true;
    }
}

static q8_code number_channels(q8_channel_classes *classes, const q8_graph *graph, q8_arena *arena,
                               q8_err *err)
{
    int *first = q8_arena_array(arena, (size_t)graph->n_tensors + 1, sizeof(*first));
    if (!first)
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++) {
        first[t] = classes->n;
        const int channels = channels_of(graph, t);
        if (channels > MOST_CHANNELS - classes->n) {
            classes->n = 0;
            return Q8_OK;
        }
        classes->n += channels;
    }
    classes->first = first;
    classes->of = q8_arena_array(arena, (size_t)classes->n + 1, sizeof(*classes->of));
    classes->pinned = q8_arena_array(arena, (size_t)classes->n + 1, sizeof(*classes->pinned));
    if (!classes->of || !classes->pinned)
        return q8_fail_nomem(err);
    for (int i = 0; i < classes->n; i++)
        classes->of[i] = i;
    return Q8_OK;
}

q8_code q8_channel_classes_find(q8_channel_classes *classes, const q8_graph *graph,
                                const bool *bounded, q8_arena *arena, q8_err *err)
{
    *classes = (q8_channel_classes){0};
    q8_channel_node *info = q8_arena_array(arena, (size_t)graph->n_nodes + 1, sizeof(*info));
    classes->node = info;
    q8_code code = info ? number_channels(classes, graph, arena, err) : q8_fail_nomem(err);
    if (code || classes->n == 0)
        return code;
    for (int i = 0; i < graph->n_nodes && !code; i++)
        code = find_role(&info[i], graph, graph->node[i], arena, err);
    for (int i = 0; i < graph->n_nodes && !code; i++)
        code = link_node(classes, graph, i, bounded, arena, err);
    if (code)
        return code;
    for (int i = 0; i < graph->n_outputs; i++)
        pin(classes, graph, graph->output[i]);
    settle(classes);
    return Q8_OK;
}
