#include "ops/int8.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "ops/activation.h"
#include "ops/unary.h"

/* Loops go over 16 neighbouring values at a time: one channel's (block 1), those of 8 channels
 * twice, or one of 16 channels. So each of the 16 places keeps to one channel. */
enum { LANES = 16 };

/* A channel, or a block of them, of one picture. */
struct plane {
    size_t start, n;           /* floats */
    int channel[LANES];        /* by lane; a padding channel: the last real one */
    unsigned char real[LANES]; /* 0 for padding channels */
};

static int plane_count(const q8_shape *shape, int block)
{
    return (shape->dim[0] + block - 1) / block;
}

static struct plane get_plane(const q8_shape *shape, int block, int index)
{
    const size_t n = q8_shape_spatial(shape) * (size_t)block;
    struct plane p = {.start = (size_t)index * n, .n = n};
    for (int l = 0; l < LANES; l++) {
        const int channel = index * block + l % block;
        p.real[l] = channel < shape->dim[0];
        p.channel[l] = p.real[l] ? channel : shape->dim[0] - 1;
    }
    return p;
}

/* --- Quantize --------------------------------------------------------------------------------- */

enum { INFINITY_BITS = 0x7f800000 };

/* As ncnn computes x * scale: in fp32. Limits are put on the bits, since comparing floats, where
 * NaN is a case of its own, keeps gcc from making vector code. Truncation and the difference are
 * exact.
 */
Q8_SIMD_CLONES
static void quantize(const float *x, float scale, size_t n, float *code)
{
    const float most = 127;
    int32_t most_bits;
    memcpy(&most_bits, &most, sizeof(most));
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] * scale;
        int32_t bits;
        memcpy(&bits, &v, sizeof(bits));
        int32_t sign = bits & INT32_MIN;
        bits &= INT32_MAX;
        sign = bits > INFINITY_BITS ? INT32_MIN : sign;
        bits = bits < most_bits ? bits : most_bits;
        float size;
        memcpy(&size, &bits, sizeof(bits));
        const int whole = (int)size;
        const float rounded = (float)(whole + (size - (float)whole >= 0.5f));
        memcpy(&bits, &rounded, sizeof(bits));
        bits |= sign;
        memcpy(&code[i], &bits, sizeof(bits));
    }
}

void q8_int8_codes(const float *x, float scale, size_t n, float *code)
{
    quantize(x, scale, n, code);
}

Q8_SIMD_CLONES
static size_t count_beyond(const float *x, float scale, size_t n)
{
    size_t total = 0;
    for (size_t start = 0; start < n; start += INT_MAX / 2) {
        const int stretch = n - start < INT_MAX / 2 ? (int)(n - start) : INT_MAX / 2;
        int beyond = 0;
        for (int i = 0; i < stretch; i++)
            beyond += fabsf(x[start + (size_t)i] * scale) > 127.5f;
        total += (size_t)beyond;
    }
    return total;
}

static void quantize_blocked(const q8_node *node, const q8_shape *shape, int block,
                             const float *const *in, float *const *out)
{
    const q8_quantize_attr *a = node->attr;
    const size_t n = (size_t)plane_count(shape, block) * (size_t)block * q8_shape_spatial(shape);
    q8_int8_codes(in[0], a->scale, n, out[0]); /* padding channels hold zeros */
    out[1][0] = (float)count_beyond(in[0], a->scale, n);
}

static q8_code infer_quantize(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    (void)node;
    (void)err;
    out[0] = in[0];
    out[1] = (q8_shape){1, {1}};
    return Q8_OK;
}

/* --- Dequantize ------------------------------------------------------------------------------- */

/* Product and sum in double, then rounded: what a fused multiply-add gives (ncnn's x86 and Arm code
 * uses that), but for one case in 2^29. */
Q8_SIMD_CLONES
static void dequantize(const float *x, size_t n, const float *scale, const float *bias, float *y)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            y[i + l] = (float)((double)x[i + l] * (double)scale[l] + (double)bias[l]);
    for (size_t l = 0; i + l < n; l++)
        y[i + l] = (float)((double)x[i + l] * (double)scale[l] + (double)bias[l]);
}

/* Those of q8_activate() that are piecewise linear. */
Q8_SIMD_CLONES
static void limit(float *y, size_t n, float slope, float min, float max)
{
    for (size_t i = 0; i < n; i++) {
        float v = y[i] < 0 ? y[i] * slope : y[i];
        v = v < min ? min : v;
        y[i] = v > max ? max : v;
    }
}

static void activate(const q8_activation *act, float *y, size_t n)
{
    const float *param = act->params.v;
    if (act->type == Q8_ACT_RELU)
        limit(y, n, 1, 0, INFINITY);
    else if (act->type == Q8_ACT_LEAKY)
        limit(y, n, param[0], -INFINITY, INFINITY);
    else if (act->type == Q8_ACT_CLIP)
        limit(y, n, 1, param[0], param[1]);
    else
        q8_activate_array(act, y, n);
}

static void clear_padding(const struct plane *p, int block, float *y)
{
    for (int l = 0; l < block; l++)
        for (size_t i = (size_t)l; !p->real[l] && i < p->n; i += (size_t)block)
            y[i] = 0;
}

static void dequantize_blocked(const q8_node *node, const q8_shape *shape, int block,
                               const float *const *in, float *const *out)
{
    const q8_dequantize_attr *a = node->attr;
    const q8_shape vector = {1, {a->channels}}; /* an InnerProduct's output may be {1,n} */
    if (shape->rank != 3)
        shape = &vector;
    for (int i = 0; i < plane_count(shape, block); i++) {
        const struct plane p = get_plane(shape, block, i);
        float scale[LANES], bias[LANES], *y = out[0] + p.start;
        for (int l = 0; l < LANES; l++) {
            scale[l] = node->weight[0].data[p.channel[l]];
            bias[l] = node->weight[1].data[p.channel[l]];
        }
        dequantize(in[0] + p.start, p.n, scale, bias, y);
        activate(&a->activation, y, p.n);
        if (!p.real[block - 1])
            clear_padding(&p, block, y);
    }
}

static q8_activation *activation(q8_node *node)
{
    q8_dequantize_attr *a = node->attr;
    return &a->activation;
}

/* --- InnerProduct ----------------------------------------------------------------------------- */

Q8_SIMD_CLONES
static int dot(const signed char *w, const short *q, size_t n)
{
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        const short weight = w[i];
        sum += weight * q[i];
    }
    return sum;
}

static q8_code forward_innerproduct(const q8_forward *f, q8_err *err)
{
    const q8_int8_innerproduct_attr *a = f->node->attr;
    const size_t n = q8_shape_count(&f->in_shape[0]);
    short *codes = malloc(n * sizeof(*codes));
    if (!codes)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < n; i++)
        codes[i] = (short)f->in[0][i];
    for (size_t o = 0; o < (size_t)a->outputs; o++)
        f->out[0][o] = (float)dot(a->weight + o * n, codes, n);
    free(codes);
    return Q8_OK;
}

static q8_code infer_innerproduct(const q8_node *node, const q8_shape *in, q8_shape *out,
                                  q8_err *err)
{
    (void)err;
    const q8_int8_innerproduct_attr *a = node->attr;
    const bool one_row = in->rank == 2 && in->dim[0] == 1;
    *out = one_row ? (q8_shape){2, {1, a->outputs}} : (q8_shape){1, {a->outputs}};
    return Q8_OK;
}

/* --- Compare ---------------------------------------------------------------------------------- */

/* Sums of so many values are kept in fp32 before they are added up in double. */
enum { STRETCH = 64 * LANES };

struct mapping {
    float inverse[LANES], shift[LANES]; /* x = (y - shift) * inverse; 0 for padding channels */
};

struct sums {
    float signal[LANES], noise[LANES], dot[LANES], power[LANES];
};

static inline void add_lane(struct sums *s, const struct mapping *m, size_t l, float f, float y)
{
    const float x = (y - m->shift[l]) * m->inverse[l];
    const float e = x - f;
    s->signal[l] += f * f;
    s->noise[l] += e * e;
    s->dot[l] += f * x;
    s->power[l] += x * x;
}

Q8_SIMD_CLONES
static void add_stretch(struct sums *s, const struct mapping *m, const float *f, const float *y,
                        size_t n)
{
    struct sums sum = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            add_lane(&sum, m, l, f[i + l], y[i + l]);
    for (size_t l = 0; i + l < n; l++)
        add_lane(&sum, m, l, f[i + l], y[i + l]);
    *s = sum;
}

static double total(const float lane[LANES])
{
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return sum;
}

/* Adds signal, noise, dot and power. */
static void compare_plane(const struct plane *p, const struct mapping *m, const float *f,
                          const float *y, double sum[4])
{
    for (size_t i = 0; i < p->n; i += STRETCH) {
        struct sums s;
        const size_t n = p->n - i < STRETCH ? p->n - i : STRETCH;
        add_stretch(&s, m, f + p->start + i, y + p->start + i, n);
        sum[0] += total(s.signal);
        sum[1] += total(s.noise);
        sum[2] += total(s.dot);
        sum[3] += total(s.power);
    }
}

static struct mapping get_mapping(const q8_compare_attr *a, const struct plane *p)
{
    struct mapping m;
    for (int l = 0; l < LANES; l++) {
        const float factor = a->factor ? a->factor[p->channel[l]] : 1;
        m.inverse[l] = p->real[l] ? 1 / factor : 0;
        m.shift[l] = a->shift;
    }
    return m;
}

static void compare_blocked(const q8_node *node, const q8_shape *shape, int block,
                            const float *const *in, float *const *out)
{
    double network[4] = {0}, alone[4] = {0}, result[Q8_COMPARE_SUMS];
    for (int i = 0; i < plane_count(shape, block); i++) {
        const struct plane p = get_plane(shape, block, i);
        const struct mapping m = get_mapping(node->attr, &p);
        compare_plane(&p, &m, in[0], in[1], network);
        if (node->n_in > 2)
            compare_plane(&p, &m, in[0], in[2], alone);
    }
    memcpy(result, network, sizeof(network));
    memcpy(result + Q8_COMPARE_ALONE, alone + 1, 3 * sizeof(alone[0]));
    for (int i = 0; i < Q8_COMPARE_SUMS; i++) {
        out[0][2 * i] = (float)result[i];
        out[0][2 * i + 1] = (float)(result[i] - (double)out[0][2 * i]);
    }
}

static q8_code infer_compare(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    for (int i = 1; i < node->n_in; i++)
        if (!q8_shape_equal(&in[0], &in[i]))
            return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name,
                           "a simulation of another shape");
    out[0] = (q8_shape){1, {2 * Q8_COMPARE_SUMS}};
    return Q8_OK;
}

/* --- the rows --------------------------------------------------------------------------------- */

bool q8_int8_forward(const q8_node *node, const q8_shape *shape, int block, const float *const *in,
                     float *const *out)
{
    if (node->op == &q8_op_int8_quantize)
        quantize_blocked(node, shape, block, in, out);
    else if (node->op == &q8_op_int8_dequantize)
        dequantize_blocked(node, shape, block, in, out);
    else if (node->op == &q8_op_int8_compare)
        compare_blocked(node, shape, block, in, out);
    else
        return false;
    return true;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_int8_forward(f->node, &f->in_shape[0], 1, f->in, f->out);
    return Q8_OK;
}

const q8_op q8_op_int8_quantize = {
    .type = "Quantize",
    .min_in = 1,
    .max_in = 1,
    .min_out = 2,
    .max_out = 2,
    .attr_size = sizeof(q8_quantize_attr),
    .infer = infer_quantize,
    .forward = forward,
};

const q8_op q8_op_int8_dequantize = {
    .type = "Dequantize",
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_dequantize_attr),
    .infer = q8_unary_infer,
    .forward = forward,
    .activation = activation,
};

const q8_op q8_op_int8_innerproduct = {
    .type = "Int8InnerProduct",
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_int8_innerproduct_attr),
    .infer = infer_innerproduct,
    .forward = forward_innerproduct,
};

const q8_op q8_op_int8_compare = {
    .type = "Compare",
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_compare_attr),
    .infer = infer_compare,
    .forward = forward,
};
