#include "verify/simulate.h"

#include <stdlib.h>
#include <string.h>

#include "ops/conv.h"
#include "ops/innerproduct.h"
#include "ops/int8.h"
#include "ops/rows.h"
#include "ops/simple.h"

/* A float holds every integer up to this. */
#define EXACT_SUM (1 << 24)

/* --- constants of a layer --------------------------------------------------------------------- */

/* In fp32, as ncnn computes them. */
static float *get_scales(const q8_quant *quant, size_t outputs, q8_arena *arena)
{
    float *scale = q8_arena_array(arena, outputs, sizeof(*scale));
    const size_t each = outputs / quant->n_weight_scales;
    for (size_t o = 0; scale && o < outputs; o++) {
        const float weight_scale = quant->weight_scales[o / each];
        scale[o] = weight_scale == 0 ? 0 : 1 / (quant->bottom_scale * weight_scale);
    }
    return scale;
}

/* The largest sum of |w| * 127 of an output channel. */
static long long largest_sum(const signed char *weight, size_t outputs, size_t row)
{
    long long most = 0;
    for (size_t o = 0; o < outputs; o++) {
        long long sum = 0;
        for (size_t i = 0; i < row; i++)
            sum += abs(*weight++);
        most = sum > most ? sum : most;
    }
    return most * 127;
}

/* w = 16 * high + low, both of -8..8: no sum of either can reach 2^24 in a row of up to 16,512
 * weights, nor of twice as many in practice. Should one do so all the same, it is rounded like any
 * float. */
static bool split_weights(q8_simulated *layer, const signed char *weight, size_t count,
                          q8_arena *arena)
{
    float *high = q8_arena_array(arena, count, sizeof(*high));
    float *low = q8_arena_array(arena, count, sizeof(*low));
    for (size_t i = 0; high && low && i < count; i++) {
        const int h =
            (weight[i] + Q8_SIMULATE_DIGIT / 2 + 128) / Q8_SIMULATE_DIGIT - 128 / Q8_SIMULATE_DIGIT;
        high[i] = (float)h;
        low[i] = (float)(weight[i] - h * Q8_SIMULATE_DIGIT);
    }
    layer->high = high;
    layer->weight = low;
    return high && low;
}

static bool get_weights(q8_simulated *layer, size_t outputs, q8_arena *arena)
{
    const size_t count = layer->node->weight[0].count;
    const signed char *weight = layer->node->quant->weight;
    if (largest_sum(weight, outputs, count / outputs) > EXACT_SUM)
        return split_weights(layer, weight, count, arena);
    float *copy = q8_arena_array(arena, count, sizeof(*copy));
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = weight[i];
    layer->weight = copy;
    return copy != NULL;
}

q8_code q8_simulate_prepare(q8_simulated *layer, const q8_graph *graph, const q8_node *node,
                            q8_arena *arena, q8_err *err)
{
    q8_linear view;
    *layer = (q8_simulated){
        .node = node,
        .in = graph->tensor[node->in[0]].shape,
        .out = graph->tensor[node->out[0]].shape,
    };
    if (!node->quant || !node->op->linear(node, &layer->in, &view))
        return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name, "is not in int8");
    const size_t outputs = (size_t)view.groups * (size_t)view.outputs;
    float *no_bias = q8_arena_array(arena, outputs, sizeof(*no_bias));
    layer->scale = get_scales(node->quant, outputs, arena);
    layer->bias = node->weight[1].count == outputs ? node->weight[1].data : no_bias;
    if (!no_bias || !layer->scale ||
        (node->op != &q8_op_innerproduct && !get_weights(layer, outputs, arena)))
        return q8_fail_nomem(err);
    return Q8_OK;
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* A tensor "<layer>.<what>"; -1 when out of memory. */
static int add_tensor(q8_graph *graph, const q8_node *layer, const char *what,
                      const q8_shape *shape)
{
    const char *name = q8_arena_printf(graph->arena, "%s.%s", layer->name, what);
    return name ? q8_graph_add_tensor(graph, name, shape) : -1;
}

/* A node at the end of the graph that reads `in` and makes `out`. NULL when out of memory, or when
 * `out` is -1 for want of it. */
static q8_node *append(q8_graph *graph, const q8_op *op, const q8_node *layer, int in, int out)
{
    q8_node *node = out < 0 ? NULL : q8_node_new(graph->arena, op, layer->name, 1, op->min_out);
    if (!node || !q8_graph_insert(graph, node, graph->n_nodes))
        return NULL;
    node->loc = layer->loc;
    node->in[0] = in;
    node->out[0] = out;
    return node;
}

q8_code q8_simulate_quantize(q8_graph *graph, const q8_node *node, int in, int *codes, int *beyond,
                             q8_err *err)
{
    static const q8_shape one = {1, {1}};
    const q8_shape shape = graph->tensor[in].shape;
    const int out = add_tensor(graph, node, "codes", &shape);
    const int count = add_tensor(graph, node, "beyond", &one);
    q8_node *quantize = append(graph, &q8_op_int8_quantize, node, in, out);
    if (!quantize || count < 0)
        return q8_fail_nomem(err);
    quantize->out[1] = count;
    ((q8_quantize_attr *)quantize->attr)->scale = node->quant->bottom_scale;
    *codes = out;
    if (beyond)
        *beyond = count;
    return Q8_OK;
}

/* The int8 node's own layer on codes: with float weights, and without bias and activation. The
 * padding, in codes too, stays. */
static q8_node *append_sums(q8_graph *graph, const q8_simulated *layer, int codes,
                            const float *weight)
{
    const q8_node *from = layer->node;
    q8_node *node =
        append(graph, from->op, from, codes, add_tensor(graph, from, "sums", &layer->out));
    if (!node)
        return NULL;
    memcpy(node->attr, from->attr, from->op->attr_size);
    q8_conv_attr *a = node->attr;
    a->int8_scale_term = 0;
    a->bias_term = 0;
    a->activation = (q8_activation){.type = Q8_ACT_NONE};
    node->weight[0] = (q8_weight){weight, from->weight[0].count};
    node->exact = true;
    return node;
}

static q8_node *append_innerproduct(q8_graph *graph, const q8_simulated *layer, int codes)
{
    const q8_innerproduct_attr *from = layer->node->attr;
    q8_node *node = append(graph, &q8_op_int8_innerproduct, layer->node, codes,
                           add_tensor(graph, layer->node, "sums", &layer->out));
    if (node)
        *(q8_int8_innerproduct_attr *)node->attr = (q8_int8_innerproduct_attr){
            .outputs = from->num_output, .weight = layer->node->quant->weight};
    return node;
}

/* 16 * high + low: the product is exact, so the sum rounds once, as ncnn's int32 does when it
 * becomes a float. */
static q8_node *append_total(q8_graph *graph, const q8_simulated *layer, int high, int low)
{
    static const float coeffs[] = {Q8_SIMULATE_DIGIT, 1};
    q8_node *node = q8_node_new(graph->arena, &q8_op_eltwise, layer->node->name, 2, 1);
    if (!node || !q8_graph_insert(graph, node, graph->n_nodes))
        return NULL;
    q8_eltwise_attr *a = node->attr;
    a->type = Q8_ELTWISE_SUM;
    a->coeffs = (q8_floats){2, coeffs};
    node->in[0] = high;
    node->in[1] = low;
    node->out[0] = add_tensor(graph, layer->node, "total", &layer->out);
    return node->out[0] < 0 ? NULL : node;
}

static q8_node *append_layer(q8_graph *graph, const q8_simulated *layer, int codes)
{
    if (!layer->weight)
        return append_innerproduct(graph, layer, codes);
    q8_node *low = append_sums(graph, layer, codes, layer->weight);
    if (!layer->high || !low)
        return low;
    q8_node *high = append_sums(graph, layer, codes, layer->high);
    return high ? append_total(graph, layer, high->out[0], low->out[0]) : NULL;
}

static q8_activation activation_of(const q8_node *node)
{
    /* The slot is only read. */
    return *node->op->activation((q8_node *)(uintptr_t)node);
}

q8_code q8_simulate_layer(q8_graph *graph, const q8_simulated *layer, int codes, int out,
                          q8_err *err)
{
    const size_t outputs =
        layer->out.rank == 3 ? (size_t)layer->out.dim[0] : q8_shape_count(&layer->out);
    const q8_node *sums = append_layer(graph, layer, codes);
    q8_node *node =
        sums ? append(graph, &q8_op_int8_dequantize, layer->node, sums->out[0], out) : NULL;
    if (!node)
        return q8_fail_nomem(err);
    q8_dequantize_attr *a = node->attr;
    a->channels = (int)outputs;
    a->activation = activation_of(layer->node);
    node->weight[0] = (q8_weight){layer->scale, outputs};
    node->weight[1] = (q8_weight){layer->bias, outputs};
    return Q8_OK;
}

/* --- a whole network -------------------------------------------------------------------------- */

static q8_code simulate_node(q8_graph *graph, const q8_node *node, int *codes, q8_err *err)
{
    q8_simulated layer;
    q8_code code = q8_simulate_prepare(&layer, graph, node, graph->arena, err);
    if (!code && *codes < 0)
        code = q8_simulate_quantize(graph, node, node->in[0], codes, NULL, err);
    return code ? code : q8_simulate_layer(graph, &layer, *codes, node->out[0], err);
}

/* Readers of one tensor share its codes if they share its scale. */
struct shared_codes {
    int tensor; /* -1: none yet */
    float scale;
};

q8_code q8_simulate_graph(q8_graph **simulation, const q8_graph *from, q8_arena *arena, q8_err *err)
{
    q8_graph *graph = q8_graph_new(arena);
    struct shared_codes *shared =
        q8_arena_array(arena, (size_t)from->n_tensors + 1, sizeof(*shared));
    if (!graph || !shared)
        return q8_fail_nomem(err);
    for (int t = 0; t < from->n_tensors; t++) {
        shared[t].tensor = -1;
        if (q8_graph_add_tensor(graph, from->tensor[t].name, NULL) < 0)
            return q8_fail_nomem(err);
        graph->tensor[t] = from->tensor[t];
    }
    q8_code code = Q8_OK;
    for (int i = 0; i < from->n_nodes && !code; i++) {
        q8_node *node = from->node[i];
        if (!node->quant) {
            code = q8_graph_insert(graph, node, graph->n_nodes) ? Q8_OK : q8_fail_nomem(err);
            continue;
        }
        struct shared_codes *s = &shared[node->in[0]];
        if (s->tensor >= 0 && s->scale != node->quant->bottom_scale)
            s->tensor = -1;
        s->scale = node->quant->bottom_scale;
        code = simulate_node(graph, node, &s->tensor, err);
    }
    graph->output = from->output;
    graph->n_outputs = from->n_outputs;
    *simulation = graph;
    return code;
}
