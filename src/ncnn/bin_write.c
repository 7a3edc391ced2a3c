#include "ncnn/ncnn.h"

#include <string.h>

#include "ncnn/attr.h"
#include "ncnn/bin.h"
#include "ncnn/half.h"

static void add_u32(q8_buf *bytes, uint32_t x)
{
    const unsigned char b[] = {(unsigned char)x, (unsigned char)(x >> 8), (unsigned char)(x >> 16),
                               (unsigned char)(x >> 24)};
    q8_buf_add(bytes, b, sizeof(b));
}

static void add_floats(q8_buf *bytes, const float *v, size_t n)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    q8_buf_add(bytes, v, n * sizeof(*v));
#else
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof(bits));
        add_u32(bytes, bits);
    }
#endif
}

static void add_halfs(q8_buf *bytes, const float *v, size_t n)
{
    add_u32(bytes, Q8_NCNN_TAG_FP16);
    for (size_t i = 0; i < n; i++) {
        const uint16_t half = q8_half_from_float(v[i]);
        const unsigned char b[] = {(unsigned char)half, (unsigned char)(half >> 8)};
        q8_buf_add(bytes, b, sizeof(b));
    }
    q8_buf_pad(bytes, 4);
}

static void add_int8(q8_buf *bytes, const signed char *v, size_t n)
{
    add_u32(bytes, Q8_NCNN_TAG_INT8);
    q8_buf_add(bytes, v, n);
    q8_buf_pad(bytes, 4);
}

/* The scales of an int8 node, which come after all of its weights. */
static void add_scales(q8_buf *bytes, const q8_quant *quant)
{
    add_floats(bytes, quant->weight_scales, quant->n_weight_scales);
    add_floats(bytes, &quant->bottom_scale, 1);
    if (quant->top_scale > 0)
        add_floats(bytes, &quant->top_scale, 1);
}

/* The .param line and the .bin must agree on what is there, or all that follows is misread. */
static q8_code check(const q8_graph *graph, const q8_node *node, q8_err *err)
{
    for (int i = 0; i < node->op->n_weights; i++) {
        const q8_weight_spec *spec = &node->op->weights[i];
        const size_t want = spec->count(node->attr);
        if (node->weight[i].count != want)
            return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name,
                           "%s has %zu values, its parameters say %zu", spec->name,
                           node->weight[i].count, want);
    }
    const int term = q8_int8_term(node);
    const q8_quant *quant = node->quant;
    if (!quant != !term)
        return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name,
                       "int8_scale_term is %d for %s weights", term, quant ? "int8" : "float");
    if (quant && (quant->n_weight_scales != q8_int8_scale_count(graph, node) ||
                  (quant->top_scale > 0) != (term > Q8_NCNN_TERM_TOP)))
        return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name,
                       "int8_scale_term %d does not fit %zu weight scales and a top scale of %g",
                       term, quant->n_weight_scales, (double)quant->top_scale);
    return Q8_OK;
}

static void add_weight(q8_buf *bytes, const q8_node *node, int index, bool fp16)
{
    const q8_weight *w = &node->weight[index];
    if (w->count == 0)
        return;
    if (!node->op->weights[index].tagged) {
        add_floats(bytes, w->data, w->count);
    } else if (index == 0 && node->quant) {
        add_int8(bytes, node->quant->weight, w->count);
    } else if (fp16 && q8_half_fits(w->data, w->count)) {
        add_halfs(bytes, w->data, w->count);
    } else {
        add_u32(bytes, Q8_NCNN_TAG_FP32);
        add_floats(bytes, w->data, w->count);
    }
}

q8_code q8_ncnn_bin(const q8_graph *graph, bool fp16, q8_buf *bytes, q8_err *err)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        q8_code code = check(graph, node, err);
        if (code)
            return code;
        for (int k = 0; k < node->op->n_weights; k++)
            add_weight(bytes, node, k, fp16);
        if (node->quant)
            add_scales(bytes, node->quant);
    }
    return bytes->failed ? q8_fail_nomem(err) : Q8_OK;
}
