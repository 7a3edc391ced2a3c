/* The weights of a network from a .bin. */
#include "ncnn/read.h"

#include <math.h>
#include <string.h>

#include "ncnn/attr.h"
#include "ncnn/bin.h"
#include "ncnn/half.h"
#include "quant/quant.h"

struct bin {
    const unsigned char *data;
    size_t size, at;
    q8_loc loc;
    q8_arena *arena;
    q8_err *err;
};

/* The next `count * size` bytes and the zeros that pad them to 4; NULL, with the error recorded,
 * where the file ends before. */
static const unsigned char *take(struct bin *bin, const q8_node *node, const char *what,
                                 size_t count, size_t size)
{
    const size_t left = bin->size - bin->at;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > left ||
        (0 - bytes) % 4 > left - bytes) {
        q8_fail(bin->err, Q8_EFORMAT, &bin->loc, node->name,
                "%s: %zu values of %zu byte%s do not fit into the %zu bytes left at byte %zu", what,
                count, size, size > 1 ? "s" : "", left, bin->at);
        return NULL;
    }
    const unsigned char *data = bin->data + bin->at;
    bin->at += bytes + (0 - bytes) % 4;
    return data;
}

static uint32_t u32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float f32(const unsigned char *p)
{
    const uint32_t bits = u32(p);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static q8_code read_floats(struct bin *bin, const q8_node *node, const char *what, size_t count,
                           const float **values)
{
    const unsigned char *p = take(bin, node, what, count, sizeof(float));
    if (!p)
        return Q8_EFORMAT;
    float *v = q8_arena_array(bin->arena, count, sizeof(*v));
    if (!v)
        return q8_fail_nomem(bin->err);
    for (size_t i = 0; i < count; i++)
        v[i] = f32(p + 4 * i);
    *values = v;
    return Q8_OK;
}

static q8_code read_halfs(struct bin *bin, const q8_node *node, const char *what, size_t count,
                          const float **values)
{
    const unsigned char *p = take(bin, node, what, count, 2);
    if (!p)
        return Q8_EFORMAT;
    float *v = q8_arena_array(bin->arena, count, sizeof(*v));
    if (!v)
        return q8_fail_nomem(bin->err);
    for (size_t i = 0; i < count; i++)
        v[i] = q8_half_to_float((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
    *values = v;
    return Q8_OK;
}

static q8_code read_palette(struct bin *bin, const q8_node *node, const char *what, size_t count,
                            const float **values)
{
    const unsigned char *palette = take(bin, node, "palette", Q8_NCNN_PALETTE, sizeof(float));
    const unsigned char *p = palette ? take(bin, node, what, count, 1) : NULL;
    if (!p)
        return Q8_EFORMAT;
    float *v = q8_arena_array(bin->arena, count, sizeof(*v));
    if (!v)
        return q8_fail_nomem(bin->err);
    for (size_t i = 0; i < count; i++)
        v[i] = f32(palette + 4 * p[i]);
    *values = v;
    return Q8_OK;
}

static q8_code read_int8(struct bin *bin, const q8_node *node, const char *what, size_t count,
                         const signed char **values)
{
    const unsigned char *p = take(bin, node, what, count, 1);
    if (!p)
        return Q8_EFORMAT;
    signed char *v = q8_arena_alloc(bin->arena, count);
    if (!v)
        return q8_fail_nomem(bin->err);
    memcpy(v, p, count);
    *values = v;
    return Q8_OK;
}

/* A weight with a tag: floats, or `*quantised` for the main weight of an int8 layer. */
static q8_code read_tagged(struct bin *bin, const q8_node *node, int index, const float **values,
                           const signed char **quantised)
{
    const char *what = node->op->weights[index].name;
    const size_t count = node->op->weights[index].count(node->attr), at = bin->at;
    const unsigned char *tag = take(bin, node, "tag", 1, 4);
    if (!tag)
        return Q8_EFORMAT;
    switch (u32(tag)) {
    case Q8_NCNN_TAG_FP32:
    case Q8_NCNN_TAG_FP32_OLD:
        return read_floats(bin, node, what, count, values);
    case Q8_NCNN_TAG_FP16:
        return read_halfs(bin, node, what, count, values);
    case Q8_NCNN_TAG_INT8:
        if (index != 0 || !q8_int8_term(node))
            return q8_fail(bin->err, Q8_EFORMAT, &bin->loc, node->name,
                           "%s is int8 at byte %zu, but the layer has no scales for it (8=)", what,
                           at);
        return read_int8(bin, node, what, count, quantised);
    default:
        return read_palette(bin, node, what, count, values);
    }
}

static q8_code check_scales(const struct bin *bin, const q8_node *node, const char *what,
                            const float *v, size_t n, bool zero_is_fine)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]) || v[i] < 0 || (v[i] == 0 && !zero_is_fine))
            return q8_fail(bin->err, Q8_EFORMAT, &bin->loc, node->name,
                           "%s %zu is %g, before byte %zu", what, i, (double)v[i], bin->at);
    return Q8_OK;
}

static q8_code read_scales(struct bin *bin, const q8_node *node, const char *what, size_t n,
                           bool zero_is_fine, const float **values)
{
    q8_code code = read_floats(bin, node, what, n, values);
    return code ? code : check_scales(bin, node, what, *values, n, zero_is_fine);
}

/* What ncnn does when it finds float weights in a layer that has scales. */
static q8_code quantise(const struct bin *bin, const q8_node *node, q8_quant *quant)
{
    const size_t count = node->weight[0].count, each = count / quant->n_weight_scales;
    signed char *v = q8_arena_alloc(bin->arena, count);
    if (!v)
        return q8_fail_nomem(bin->err);
    for (size_t i = 0; i < count; i++)
        v[i] = q8_round_int8(node->weight[0].data[i] * quant->weight_scales[i / each]);
    quant->weight = v;
    return Q8_OK;
}

static q8_code read_quant(struct bin *bin, const q8_graph *graph, q8_node *node,
                          const signed char *weight)
{
    const int term = q8_int8_term(node);
    const size_t n = q8_int8_scale_count(graph, node);
    const size_t count = node->op->weights[0].count(node->attr);
    if (n == 0 || count == 0 || count % n)
        return q8_fail(bin->err, Q8_EFORMAT, &node->loc, node->name,
                       "int8_scale_term %d does not fit a layer with %zu weights", term, count);
    q8_quant *quant = q8_arena_alloc(bin->arena, sizeof(*quant));
    if (!quant)
        return q8_fail_nomem(bin->err);
    *quant = (q8_quant){.weight = weight, .n_weight_scales = n};
    const float *bottom = NULL, *top = NULL; /* GCC 12 at -O3 does not see that success sets them */
    q8_code code = read_scales(bin, node, "weight scale", n, true, &quant->weight_scales);
    if (!code)
        code = read_scales(bin, node, "input scale", 1, false, &bottom);
    if (code)
        return code;
    quant->bottom_scale = *bottom;
    if (term > Q8_NCNN_TERM_TOP) {
        code = read_scales(bin, node, "output scale", 1, false, &top);
        if (code)
            return code;
        quant->top_scale = *top;
    }
    node->quant = quant;
    return weight ? Q8_OK : quantise(bin, node, quant);
}

static q8_code read_node(struct bin *bin, const q8_graph *graph, q8_node *node)
{
    const signed char *quantised = NULL;
    for (int i = 0; i < node->op->n_weights; i++) {
        const q8_weight_spec *spec = &node->op->weights[i];
        q8_weight *w = &node->weight[i];
        w->count = spec->count(node->attr);
        if (w->count == 0)
            continue;
        q8_code code = spec->tagged ? read_tagged(bin, node, i, &w->data, &quantised)
                                    : read_floats(bin, node, spec->name, w->count, &w->data);
        if (code)
            return code;
    }
    return q8_int8_term(node) ? read_quant(bin, graph, node, quantised) : Q8_OK;
}

q8_code q8_ncnn_read_bin(q8_graph *graph, const char *name, const unsigned char *bytes, size_t size,
                         q8_err *err)
{
    struct bin bin = {bytes, size, 0, {.file = name}, graph->arena, err};
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_code code = read_node(&bin, graph, graph->node[i]);
        if (code)
            return code;
    }
    if (bin.at != size)
        return q8_fail(err, Q8_EFORMAT, &bin.loc, NULL,
                       "%zu bytes are left over at byte %zu: not the weights of this param file",
                       size - bin.at, bin.at);
    return Q8_OK;
}
