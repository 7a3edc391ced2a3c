#include "quant/quant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "base/sums.h"
#include "base/thread.h"
#include "ops/conv.h"
#include "ops/rows.h"

/* ncnn computes 1 / (bottom scale * weight scale) in fp32, on x86 also with an approximate
 * instruction that makes subnormals 0: the product and its inverse stay inside fp32's normal range.
 */
#define MAX_SCALE 1e37f
#define MIN_SCALE 1e-37f

/* Weights that share one scale: rows are output channels, each a sum of its own. */
struct unit {
    const float *weight;
    size_t rows, row_size;
};

/* Without a call or a branch, so that loops of it become vector code. Truncation and the difference
 * are exact, unlike trunc(x + 0.5), which takes 0.49999997 up. */
static inline int round_int8(float x)
{
    x = x > -127.0f ? x : -127.0f;
    x = x < 127.0f ? x : 127.0f;
    const int whole = (int)x;
    const float rest = x - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

signed char q8_round_int8(float x)
{
    return (signed char)round_int8(x);
}

static bool can_be_int8(const q8_node *node)
{
    return node->op->linear && node->op->set_int8 && node->n_in > 0;
}

void q8_quant_wanted(const q8_graph *graph, bool *wanted)
{
    memset(wanted, 0, (size_t)graph->n_tensors * sizeof(*wanted));
    for (int i = 0; i < graph->n_nodes; i++)
        if (can_be_int8(graph->node[i]) && !graph->node[i]->float_reason)
            wanted[graph->node[i]->in[0]] = true;
}

/* The convolution's attributes, NULL for other layers. */
static const q8_conv_attr *convolution(const q8_node *node)
{
    const bool is = node->op == &q8_op_convolution || node->op == &q8_op_convolutiondepthwise;
    return is ? node->attr : NULL;
}

/* ncnn runs a ConvolutionDepthWise of larger groups as one Convolution per group, so the winograd
 * bound holds there too. */
bool q8_may_be_winograd(const q8_node *node)
{
    const q8_conv_attr *a = convolution(node);
    return a && a->kernel_w == 3 && a->kernel_h == 3 && a->stride_w == 1 && a->stride_h == 1 &&
           a->dilation_w == 1 && a->dilation_h == 1;
}

long long q8_quant_sum_limit(const q8_node *node)
{
    return q8_may_be_winograd(node) ? Q8_WINOGRAD_SUM : Q8_INT32_SUM;
}

/* |round_int8(x)| without a comparison of floats, which keeps sums from becoming vector code. */
static inline int code_size(float x)
{
    const float most = 127;
    int32_t bits, most_bits;
    memcpy(&bits, &x, sizeof(bits));
    memcpy(&most_bits, &most, sizeof(most_bits));
    bits &= INT32_MAX;
    bits = bits < most_bits ? bits : most_bits;
    memcpy(&x, &bits, sizeof(x));
    const int whole = (int)x;
    return whole + (int)((x - (float)whole) * 2);
}

/* sum|w_q| of one row. */
Q8_SIMD_CLONES
static long long row_sum(const float *weight, size_t n, float scale)
{
    const size_t piece = 1 << 20; /* times 127 fits an int */
    long long sum = 0;
    for (size_t start = 0; start < n; start += piece) {
        const size_t end = n - start < piece ? n : start + piece;
        int part = 0;
        for (size_t i = start; i < end; i++)
            part += code_size(weight[i] * scale);
        sum += part;
    }
    return sum;
}

/* The largest sum|w_q| of the unit's rows. */
static long long largest_sum(const struct unit *u, float scale)
{
    long long most = 0;
    for (size_t r = 0; r < u->rows; r++) {
        const long long sum = row_sum(u->weight + r * u->row_size, u->row_size, scale);
        most = sum > most ? sum : most;
    }
    return most;
}

/* The largest scale up to `scale` with which no sum is above the limit. Sums never fall as the
 * scale grows, so bisection finds it to the bit. */
static float fit_sum(const struct unit *u, float scale, long long limit)
{
    if (u->row_size <= (size_t)limit / 127)
        return scale;
    const long long sum = largest_sum(u, scale);
    if (sum <= limit)
        return scale;
    float above = scale, within = scale * ((float)limit / (float)sum);
    while (largest_sum(u, within) > limit) {
        above = within;
        within *= 0.99f;
    }
    for (;;) {
        const float middle = within + (above - within) / 2;
        if (middle <= within || middle >= above)
            return within;
        if (largest_sum(u, middle) <= limit)
            within = middle;
        else
            above = middle;
    }
}

/* 0: no scale serves. */
static float weight_scale(const struct unit *u, float bottom_scale, const q8_quant *limits)
{
    const float absmax = q8_absmax(u->weight, u->rows * u->row_size);
    if (absmax == 0)
        return 1; /* any will do, but 0 gives NaN in one of ncnn's depthwise kernels */
    /* Weights so small that the limits apply can only yield values near 0. */
    float scale = (float)limits->weight_limit / absmax;
    if (scale > MAX_SCALE / bottom_scale)
        scale = MAX_SCALE / bottom_scale;
    if (scale > MAX_SCALE)
        scale = MAX_SCALE;
    scale = fit_sum(u, scale, limits->sum_limit);
    return scale * bottom_scale >= MIN_SCALE ? scale : 0;
}

/*
 * ncnn (seen in 1.0.20261020) runs int8 groups as one Convolution each, into memory of 4 channels a
 * pack. With AVX that Convolution packs 8 or 16 where it can, so it writes elsewhere and the output
 * is never set. Depthwise proper has kernels of its own.
 */
static bool has_broken_groups(const q8_node *node, const q8_linear *view)
{
    const bool depthwise = view->inputs == 1 && view->outputs == 1;
    return node->op == &q8_op_convolutiondepthwise && !depthwise && view->outputs % 8 == 0;
}

/* The code of what is padded with; -1 when it is none, or negative: on x86 ncnn fills packed int8
 * borders with -1 then. */
static int pad_code(float pad_value, float bottom_scale)
{
    const float code = pad_value * bottom_scale, whole = roundf(code);
    return fabsf(code - whole) < 1e-3f && whole >= 0 && whole <= 127 ? (int)whole : -1;
}

/* Why the node must stay float whatever its weight scales are; NULL: it need not. */
static const char *reason_for_float(const q8_node *node, const q8_linear *view, float threshold)
{
    const q8_conv_attr *conv = convolution(node);
    if (!(threshold > 0) || !isfinite(threshold))
        return "its input was not observed";
    if (127 / threshold > MAX_SCALE)
        return "its input's values are too small";
    if (!isfinite(q8_absmax(node->weight[0].data, node->weight[0].count)))
        return "its weights are not finite";
    if (conv && view->pads && pad_code(conv->pad_value, 127 / threshold) < 0)
        return "it pads with a value that has no int8 code ncnn handles";
    if (has_broken_groups(node, view))
        return "ncnn miscomputes int8 groups of 8, 16, ... outputs on x86";
    return NULL;
}

q8_scale_units q8_quant_units(const q8_node *node, const q8_linear *view, bool per_layer)
{
    const bool per_group = node->op == &q8_op_convolutiondepthwise;
    const size_t rows = (size_t)view->groups * (size_t)view->outputs;
    const size_t scales = per_group ? (size_t)view->groups : rows;
    const size_t units = per_layer ? 1 : scales;
    return (q8_scale_units){.units = units,
                            .rows = rows / units,
                            .row_size = node->weight[0].count / rows,
                            .scales = scales};
}

Q8_SIMD_CLONES
static void quantize_unit(const struct unit *u, float scale, signed char *out)
{
    const size_t n = u->rows * u->row_size;
    for (size_t i = 0; i < n; i++)
        out[i] = (signed char)round_int8(u->weight[i] * scale);
}

float q8_quantize_unit(const float *weight, const q8_scale_units *units, float bottom_scale,
                       const q8_quant *limits, signed char *out)
{
    const struct unit u = {.weight = weight, .rows = units->rows, .row_size = units->row_size};
    const float scale = weight_scale(&u, bottom_scale, limits);
    if (scale != 0)
        quantize_unit(&u, scale, out);
    return scale;
}

static void set_pad_code(q8_conv_attr *a, const q8_linear *view, float bottom_scale)
{
    a->pad_value = view->pads ? (float)pad_code(a->pad_value, bottom_scale) : 0;
}

/* How a layer's scales come about. */
struct making {
    float bottom_scale;
    const float *weight_scales; /* NULL: to be chosen */
    bool per_layer;
    q8_weight_bits weight_bits;
};

void q8_quant_set_limits(q8_quant *quant, const q8_node *node, q8_weight_bits bits)
{
    const bool six = bits == Q8_WEIGHT_BITS_6 && q8_may_be_winograd(node);
    quant->weight_limit = six ? 31 : 127;
    quant->sum_limit = bits == Q8_WEIGHT_BITS_AUTO ? q8_quant_sum_limit(node) : Q8_INT32_SUM;
}

/* A layer that becomes int8 where its weights allow it. */
struct piece {
    q8_node *node;
    q8_linear view;
    struct making how;
    q8_quant *quant;
    float *scales;
    signed char *weight;
};

static q8_code alloc_piece(struct piece *p, q8_arena *arena, q8_err *err)
{
    p->quant = q8_arena_alloc(arena, sizeof(*p->quant));
    p->scales = q8_arena_array(arena, q8_quant_units(p->node, &p->view, p->how.per_layer).scales,
                               sizeof(*p->scales));
    p->weight = q8_arena_array(arena, p->node->weight[0].count, 1);
    return p->quant && p->scales && p->weight ? Q8_OK : q8_fail_nomem(err);
}

static q8_code quantize_piece(void *user, int index, q8_err *err)
{
    (void)err;
    struct piece *p = (struct piece *)user + index;
    q8_node *node = p->node;
    q8_quant *quant = p->quant;
    const q8_scale_units plan = q8_quant_units(node, &p->view, p->how.per_layer);
    q8_quant_set_limits(quant, node, p->how.weight_bits);
    const size_t unit_size = plan.rows * plan.row_size;
    for (size_t i = 0; i < plan.units; i++) {
        const struct unit u = {.weight = node->weight[0].data + i * unit_size,
                               .rows = plan.rows,
                               .row_size = plan.row_size};
        signed char *out = p->weight + i * unit_size;
        if (p->how.weight_scales) {
            p->scales[i] = p->how.weight_scales[i];
            quantize_unit(&u, p->scales[i], out);
        } else if (!(p->scales[i] =
                         q8_quantize_unit(u.weight, &plan, p->how.bottom_scale, quant, out))) {
            node->float_reason = "its values are too large";
            return Q8_OK;
        }
    }
    for (size_t i = plan.units; i < plan.scales; i++)
        p->scales[i] = p->scales[0];
    quant->weight = p->weight;
    quant->weight_scales = p->scales;
    quant->n_weight_scales = plan.scales;
    quant->bottom_scale = p->how.bottom_scale;
    node->quant = quant;
    node->float_reason = NULL;
    if (convolution(node))
        set_pad_code(node->attr, &p->view, p->how.bottom_scale);
    node->op->set_int8(node);
    return Q8_OK;
}

/* The shape of a node's inputs, for op->linear. */
static bool linear_view(const q8_graph *graph, const q8_node *node, q8_linear *view)
{
    const q8_shape in = graph->tensor[node->in[0]].shape;
    return node->n_in == 1 && node->op->linear(node, &in, view);
}

static bool view_fits(const q8_node *node, const q8_linear *view)
{
    const int factor[] = {view->groups, view->outputs, view->inputs, view->kernel};
    unsigned long long count = 1;
    for (int i = 0; i < 4; i++) {
        count *= factor[i] > 0 ? (unsigned long long)factor[i] : 0;
        if (count == 0 || count > Q8_MAX_ELEMENTS)
            return false;
    }
    return count == node->weight[0].count;
}

/* Checks that the node has a view that its weights fit; `*view` has no groups when it has none. */
static q8_code open_view(const q8_graph *graph, q8_node *node, q8_linear *view, q8_err *err)
{
    if (!linear_view(graph, node, view)) {
        *view = (q8_linear){0};
        node->float_reason = "it has no int8 form with these parameters";
        return Q8_OK;
    }
    if (!view_fits(node, view))
        return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name,
                       "%zu weights do not make %d groups of %d outputs", node->weight[0].count,
                       view->groups, view->outputs);
    return Q8_OK;
}

static q8_code propose_piece(struct piece *p, const q8_graph *graph, const float *threshold,
                             const q8_quant_opts *opts, q8_err *err)
{
    q8_code code = open_view(graph, p->node, &p->view, err);
    if (code || p->view.groups == 0)
        return code;
    const float t = threshold[p->node->in[0]];
    p->how = (struct making){
        .bottom_scale = 127 / t, .per_layer = opts->per_layer, .weight_bits = opts->weight_bits};
    p->node->float_reason = reason_for_float(p->node, &p->view, t);
    return Q8_OK;
}

/* Why ncnn cannot compute with these scales; NULL: it can. */
static const char *reason_for_scales(const q8_given *given, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float product = given->weight_scales[i] * given->bottom_scale;
        if (given->weight_scales[i] != 0 && !(product >= MIN_SCALE && product <= MAX_SCALE))
            return "its scales are too large or too small";
    }
    return NULL;
}

static q8_code propose_given(struct piece *p, const q8_graph *graph, const q8_given *given,
                             q8_err *err)
{
    q8_node *node = p->node;
    q8_code code = open_view(graph, node, &p->view, err);
    if (code || p->view.groups == 0)
        return code;
    p->how =
        (struct making){.bottom_scale = given->bottom_scale, .weight_scales = given->weight_scales};
    node->float_reason = given->float_reason;
    if (!node->float_reason)
        node->float_reason = reason_for_float(node, &p->view, 127 / p->how.bottom_scale);
    if (!node->float_reason)
        node->float_reason = reason_for_scales(given, q8_quant_units(node, &p->view, false).scales);
    return Q8_OK;
}

/* Quantises by thresholds, or as `given` by node. */
static q8_code quantize(q8_graph *graph, const float *threshold, const q8_quant_opts *opts,
                        const q8_given *given, const q8_env *env, q8_err *err)
{
    q8_code code = Q8_OK;
    int n = 0;
    struct piece *piece = calloc((size_t)graph->n_nodes + 1, sizeof(*piece));
    if (!piece)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        struct piece *p = &piece[n];
        *p = (struct piece){.node = graph->node[i]};
        if (!can_be_int8(p->node) || p->node->float_reason)
            continue;
        code = given ? propose_given(p, graph, &given[i], err)
                     : propose_piece(p, graph, threshold, opts, err);
        if (code || p->node->float_reason)
            continue;
        code = alloc_piece(p, graph->arena, err);
        n++;
    }
    if (!code)
        code = q8_parallel_each(q8_thread_count(env), n, quantize_piece, piece, err);
    free(piece);
    return code;
}

q8_code q8_quantize_graph(q8_graph *graph, const float *threshold, const q8_quant_opts *opts,
                          const q8_env *env, q8_err *err)
{
    return quantize(graph, threshold, opts, NULL, env, err);
}

q8_code q8_quantize_given(q8_graph *graph, const q8_given *given, const q8_env *env, q8_err *err)
{
    return quantize(graph, NULL, NULL, given, env, err);
}

size_t q8_quant_scales(const q8_graph *graph, const q8_node *node)
{
    q8_linear view;
    if (!can_be_int8(node) || !linear_view(graph, node, &view) || !view_fits(node, &view))
        return 0;
    return q8_quant_units(node, &view, false).scales;
}
