#include "verify/pair.h"

#include <string.h>

#include "ops/affine.h"
#include "ops/int8.h"
#include "ops/rows.h"
#include "verify/simulate.h"

/* The codes of a tensor, for the next layer that reads it with the same scale. */
struct codes {
    int tensor; /* -1: none yet */
    int beyond;
    float scale;
};

struct builder {
    q8_pair *pair;
    const q8_graph *exact, *int8;
    bool layers;
    int next;            /* float node to be put in */
    bool *made;          /* by tensor: a float node that is in makes it */
    int *at;             /* by int8 tensor: where it is in the pair's graph, -1 not yet */
    struct codes *codes; /* by int8 tensor, of what `at` says */
    struct codes *alone; /* by int8 tensor, of the float network's */
    q8_err *err;
};

static q8_graph *graph_of(const struct builder *b)
{
    return b->pair->graph;
}

static q8_code insert(const struct builder *b, q8_node *node)
{
    return node && q8_graph_insert(graph_of(b), node, graph_of(b)->n_nodes) ? Q8_OK
                                                                            : q8_fail_nomem(b->err);
}

/* --- the float network ------------------------------------------------------------------------ */

/* Float nodes up to the one that makes a tensor; -1: all. Taking turns with the int8 network keeps
 * the time short that tensors wait to be compared. */
static q8_code advance(struct builder *b, int tensor)
{
    q8_code code = Q8_OK;
    while (b->next < b->exact->n_nodes && !(tensor >= 0 && b->made[tensor]) && !code) {
        q8_node *node = b->exact->node[b->next++];
        for (int i = 0; i < node->n_out; i++)
            b->made[node->out[i]] = true;
        code = insert(b, node);
    }
    return code;
}

/* The float network has this tensor, and from here on so has the pair. */
static q8_code need_float(struct builder *b, int tensor)
{
    return b->made[tensor] ? Q8_OK : advance(b, tensor);
}

/* --- the int8 network ------------------------------------------------------------------------- */

static q8_code add_outputs(struct builder *b, const q8_node *node)
{
    for (int i = 0; i < node->n_out; i++) {
        const q8_tensor *tensor = &b->int8->tensor[node->out[i]];
        const int t = q8_graph_add_tensor(graph_of(b), tensor->name, &tensor->shape);
        if (t < 0)
            return q8_fail_nomem(b->err);
        b->at[node->out[i]] = t;
    }
    return Q8_OK;
}

/* A node that is not int8, on the int8 network's tensors. */
static q8_code add_float_node(struct builder *b, const q8_node *from)
{
    q8_node *node = q8_node_new(graph_of(b)->arena, from->op, from->name, from->n_in, from->n_out);
    if (!node)
        return q8_fail_nomem(b->err);
    int *in = node->in, *out = node->out;
    *node = *from;
    node->in = in;
    node->out = out;
    q8_code code = add_outputs(b, from);
    for (int i = 0; i < from->n_in; i++)
        in[i] = b->at[from->in[i]];
    for (int i = 0; i < from->n_out; i++)
        out[i] = b->at[from->out[i]];
    return code ? code : insert(b, node);
}

/* The codes of tensor `from`, which is what int8 tensor `id` is or should be. */
static q8_code get_codes(struct builder *b, const q8_node *node, struct codes *codes, int from)
{
    const float scale = node->quant->bottom_scale;
    if (codes->tensor >= 0 && codes->scale == scale)
        return Q8_OK;
    codes->scale = scale;
    return q8_simulate_quantize(graph_of(b), node, from, &codes->tensor, &codes->beyond, b->err);
}

static q8_code simulate(struct builder *b, const q8_simulated *layer, q8_pair_layer *result)
{
    const q8_node *node = layer->node;
    struct codes *codes = &b->codes[node->in[0]];
    q8_code code = get_codes(b, node, codes, b->at[node->in[0]]);
    if (!code)
        code = add_outputs(b, node);
    result->beyond = codes->beyond;
    result->n_inputs = q8_shape_count(&layer->in);
    return code ? code
                : q8_simulate_layer(graph_of(b), layer, codes->tensor, b->at[node->out[0]], b->err);
}

/* --- one layer on the float network's tensors ------------------------------------------------- */

static bool is_changed(const q8_tensor *tensor)
{
    return tensor->factor || tensor->shift != 0;
}

/* The float tensor as the rewrites have it: factor[c] * x + shift. */
static q8_code rewrite(struct builder *b, const q8_node *like, int id, int *rewritten)
{
    q8_graph *graph = graph_of(b);
    const q8_tensor *tensor = &b->int8->tensor[id];
    const size_t channels = (size_t)tensor->shape.dim[0];
    q8_node *node = q8_node_new(graph->arena, &q8_op_scale, like->name, 1, 1);
    float *factor = q8_arena_array(graph->arena, channels, sizeof(*factor));
    float *shift = q8_arena_array(graph->arena, channels, sizeof(*shift));
    *rewritten = q8_graph_add_tensor(graph, tensor->name, &tensor->shape);
    if (!node || !factor || !shift || *rewritten < 0)
        return q8_fail_nomem(b->err);
    for (size_t c = 0; c < channels; c++) {
        factor[c] = tensor->factor ? tensor->factor[c] : 1;
        shift[c] = tensor->shift;
    }
    *(q8_scale_attr *)node->attr =
        (q8_scale_attr){.scale_data_size = (int)channels, .bias_term = 1};
    node->weight[0] = (q8_weight){factor, channels};
    node->weight[1] = (q8_weight){shift, channels};
    node->in[0] = id;
    node->out[0] = *rewritten;
    return insert(b, node);
}

static q8_code simulate_alone(struct builder *b, const q8_simulated *layer, int *out)
{
    const int in = layer->node->in[0];
    struct codes *codes = &b->alone[in];
    int from = in;
    q8_code code = need_float(b, in);
    const bool ready = codes->tensor >= 0 && codes->scale == layer->node->quant->bottom_scale;
    if (!code && !ready && is_changed(&b->int8->tensor[in]))
        code = rewrite(b, layer->node, in, &from);
    if (!code)
        code = get_codes(b, layer->node, codes, from);
    *out = q8_graph_add_tensor(graph_of(b), layer->node->name, &layer->out);
    if (*out < 0)
        return q8_fail_nomem(b->err);
    return code ? code : q8_simulate_layer(graph_of(b), layer, codes->tensor, *out, b->err);
}

/* --- layers ----------------------------------------------------------------------------------- */

/* @param alone -1: none */
static q8_code compare(struct builder *b, const q8_node *of, int alone, q8_pair_layer *result)
{
    q8_graph *graph = graph_of(b);
    const int id = of->out[0];
    const q8_tensor *tensor = &b->int8->tensor[id];
    q8_node *node = q8_node_new(graph->arena, &q8_op_int8_compare, of->name, alone < 0 ? 2 : 3, 1);
    if (!node)
        return q8_fail_nomem(b->err);
    *(q8_compare_attr *)node->attr =
        (q8_compare_attr){.factor = tensor->factor, .shift = tensor->shift};
    node->in[0] = id;
    node->in[1] = b->at[id];
    if (alone >= 0)
        node->in[2] = alone;
    node->out[0] = result->compare = q8_graph_add_tensor(graph, of->name, NULL);
    if (node->out[0] < 0)
        return q8_fail_nomem(b->err);
    result->alone = alone >= 0;
    q8_code code = need_float(b, id);
    if (!code)
        code = insert(b, node);
    return code ? code : q8_infer_node(graph, node, b->err);
}

/* Tensors that rewrites added have no like in the float network. */
static bool is_shared(const struct builder *b, int tensor)
{
    return tensor < b->exact->n_tensors;
}

static q8_code add_int8_node(struct builder *b, const q8_node *node, q8_pair_layer *result,
                             int *alone)
{
    q8_simulated layer;
    q8_code code = q8_simulate_prepare(&layer, b->int8, node, graph_of(b)->arena, b->err);
    if (!code)
        code = simulate(b, &layer, result);
    if (!code && b->layers && is_shared(b, node->in[0]) && is_shared(b, node->out[0]))
        code = simulate_alone(b, &layer, alone);
    return code;
}

static q8_code add_layer(struct builder *b, const q8_node *node)
{
    q8_pair_layer *layer = &b->pair->layer[b->pair->n_layers++];
    int alone = -1;
    *layer = (q8_pair_layer){.node = node, .compare = -1, .beyond = -1};
    q8_code code = node->quant ? add_int8_node(b, node, layer, &alone) : add_float_node(b, node);
    if (!b->layers)
        layer->beyond = -1;
    if (!code && b->layers && is_shared(b, node->out[0]))
        code = compare(b, node, alone, layer);
    return code;
}

static q8_code add_node(struct builder *b, const q8_node *node)
{
    if (node->op == &q8_op_input) {
        b->at[node->out[0]] = node->out[0];
        return Q8_OK;
    }
    return node->op->linear ? add_layer(b, node) : add_float_node(b, node);
}

/* --- the pair --------------------------------------------------------------------------------- */

static q8_code start(struct builder *b, q8_arena *arena)
{
    q8_pair *pair = b->pair;
    const size_t n = (size_t)b->int8->n_tensors + 1;
    pair->graph = q8_graph_new(arena);
    pair->layer = q8_arena_array(arena, (size_t)b->int8->n_nodes + 1, sizeof(*pair->layer));
    pair->simulated = q8_arena_array(arena, (size_t)b->int8->n_outputs + 1, sizeof(int));
    b->made = q8_arena_array(arena, (size_t)b->exact->n_tensors + 1, sizeof(*b->made));
    b->at = q8_arena_array(arena, n, sizeof(*b->at));
    b->codes = q8_arena_array(arena, n, sizeof(*b->codes));
    b->alone = q8_arena_array(arena, n, sizeof(*b->alone));
    if (!pair->graph || !pair->layer || !pair->simulated || !b->made || !b->at || !b->codes ||
        !b->alone)
        return q8_fail_nomem(b->err);
    for (int t = 0; t < b->int8->n_tensors; t++)
        b->at[t] = b->codes[t].tensor = b->alone[t].tensor = -1;
    for (int t = 0; t < b->exact->n_tensors; t++) {
        if (q8_graph_add_tensor(pair->graph, b->exact->tensor[t].name, NULL) < 0)
            return q8_fail_nomem(b->err);
        pair->graph->tensor[t] = b->exact->tensor[t];
    }
    pair->graph->output = b->exact->output;
    pair->graph->n_outputs = b->exact->n_outputs;
    return Q8_OK;
}

/* Both networks read the same inputs, which are made first. */
static q8_code add_inputs(struct builder *b)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < b->exact->n_nodes && !code; i++)
        if (b->exact->node[i]->op == &q8_op_input)
            code = need_float(b, b->exact->node[i]->out[0]);
    return code;
}

q8_code q8_pair_make(q8_pair *pair, const q8_graph *exact, const q8_graph *int8, bool layers,
                     q8_arena *arena, q8_err *err)
{
    struct builder b = {.pair = pair, .exact = exact, .int8 = int8, .layers = layers, .err = err};
    memset(pair, 0, sizeof(*pair));
    q8_code code = start(&b, arena);
    if (!code)
        code = add_inputs(&b);
    for (int i = 0; i < int8->n_nodes && !code; i++)
        code = add_node(&b, int8->node[i]);
    if (!code)
        code = advance(&b, -1);
    for (int i = 0; i < int8->n_outputs && !code; i++)
        pair->simulated[i] = b.at[int8->output[i]];
    return code;
}
