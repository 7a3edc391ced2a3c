#include "quant/saturate.h"

#include <float.h>
#include <math.h>

/* Values between these of a tensor make a difference. */
struct range {
    float low, high;
};

static const struct range nothing = {INFINITY, -INFINITY}, all = {-INFINITY, INFINITY};

static void widen(struct range *range, struct range by)
{
    range->low = by.low < range->low ? by.low : range->low;
    range->high = by.high > range->high ? by.high : range->high;
}

/* What lies beyond code 127, but for its rounding and fp32's. */
static struct range codes(float scale)
{
    return (struct range){-126.75F / scale, 126.75F / scale};
}

/* A clip may be done before or after these. */
static bool commutes(const q8_graph *graph, const q8_node *node, bool *no_memory)
{
    if (!node->op->channels || node->n_in == 0)
        return false;
    q8_shape *in = q8_arena_array(graph->arena, (size_t)node->n_in, sizeof(*in));
    if (!in) {
        *no_memory = true;
        return false;
    }
    for (int i = 0; i < node->n_in; i++)
        in[i] = graph->tensor[node->in[i]].shape;
    const q8_channel_rule rule = node->op->channels(node, in);
    return rule == Q8_CHANNELS_MOVE || rule == Q8_CHANNELS_MAX;
}

/* What matters of a node's inputs. */
static struct range needed(const q8_graph *graph, const q8_node *node, const struct range *tensor,
                           bool *no_memory)
{
    if (node->quant)
        return codes(node->quant->bottom_scale);
    if (!commutes(graph, node, no_memory))
        return all;
    struct range range = nothing;
    for (int i = 0; i < node->n_out; i++)
        widen(&range, tensor[node->out[i]]);
    return range;
}

static bool is_clip(const q8_activation *act, struct range *bounds)
{
    if (act->type == Q8_ACT_RELU)
        *bounds = (struct range){0, FLT_MAX};
    else if (act->type == Q8_ACT_CLIP)
        *bounds = (struct range){act->params.v[0], act->params.v[1]};
    else
        return false;
    if (bounds->low <= -FLT_MAX)
        bounds->low = -INFINITY;
    if (bounds->high >= FLT_MAX)
        bounds->high = INFINITY;
    return true;
}

q8_code q8_drop_saturated_clips(q8_graph *graph, q8_err *err)
{
    struct range *tensor =
        q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*tensor));
    bool no_memory = !tensor;
    for (int t = 0; tensor && t < graph->n_tensors; t++)
        tensor[t] = q8_graph_is_output(graph, t) ? all : nothing;
    for (int i = graph->n_nodes - 1; !no_memory && i >= 0; i--) {
        q8_node *node = graph->node[i];
        const struct range range = needed(graph, node, tensor, &no_memory);
        for (int k = 0; k < node->n_in; k++)
            widen(&tensor[node->in[k]], range);
        q8_activation *act = node->op->activation ? node->op->activation(node) : NULL;
        struct range bounds;
        if (act && is_clip(act, &bounds) && bounds.low <= tensor[node->out[0]].low &&
            bounds.high >= tensor[node->out[0]].high)
            *act = (q8_activation){.type = Q8_ACT_NONE};
    }
    return no_memory ? q8_fail_nomem(err) : Q8_OK;
}
