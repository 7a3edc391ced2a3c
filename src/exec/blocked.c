#include "exec/blocked.h"

#include <stdlib.h>
#include <string.h>

#include "exec/layout.h"
#include "ops/int8.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

struct kernel {
    q8_kernel base;
    const q8_graph *graph;
    const q8_node *node;
    const q8_shape *out_shape;
    int batch, block;
    float *a, *b; /* by channel, zeros for the padding channels */
};

static void close_kernel(q8_kernel *base)
{
    struct kernel *k = (struct kernel *)base;
    free(k->a);
    free(k->b);
    free(k);
}

/* --- Concat of channels ----------------------------------------------------------------------- */

/* One picture's `channels` go to channel `first` of dst. Block to block where `first` begins a
 * block; the source's padding channels go along and are zeros, or written over by the next input.
 */
static void copy_channels(float *dst, int first, const float *src, int channels, size_t area,
                          int block)
{
    if (first % block == 0) {
        const size_t blocks = ((size_t)channels + (size_t)block - 1) / (size_t)block;
        memcpy(dst + (size_t)first * area, src, blocks * (size_t)block * area * sizeof(*dst));
        return;
    }
    for (int c = 0; c < channels; c++) {
        const int o = first + c;
        const float *from = src + (size_t)(c / block * block) * area + c % block;
        float *to = dst + (size_t)(o / block * block) * area + o % block;
        for (size_t p = 0; p < area; p++)
            to[p * (size_t)block] = from[p * (size_t)block];
    }
}

/* The same where a pixel's channels lie together. */
static void copy_pixels(float *dst, size_t dst_channels, const float *src, size_t channels,
                        size_t area)
{
    for (size_t p = 0; p < area; p++)
        memcpy(dst + p * dst_channels, src + p * channels, channels * sizeof(*dst));
}

static q8_code run_concat(const q8_kernel *base, const float *const *in, float *const *out,
                          void *scratch, q8_err *err)
{
    (void)scratch;
    (void)err;
    const struct kernel *k = (const struct kernel *)base;
    const size_t area = q8_shape_spatial(k->out_shape);
    const size_t count = q8_layout_count(k->out_shape, k->block);
    const int channels = k->out_shape->dim[0];
    const bool pixels = k->block == Q8_CHANNELS_LAST;
    /* The last block may have padding channels. */
    const size_t last = pixels ? 0 : area * (size_t)k->block;
    for (size_t n = 0; n < (size_t)k->batch; n++) {
        float *dst = out[0] + n * count;
        memset(dst + count - last, 0, last * sizeof(*dst));
        for (int i = 0, first = 0; i < k->node->n_in; i++) {
            const q8_shape *shape = &k->graph->tensor[k->node->in[i]].shape;
            const float *src = in[i] + n * q8_layout_count(shape, k->block);
            if (pixels)
                copy_pixels(dst + first, (size_t)channels, src, (size_t)shape->dim[0], area);
            else
                copy_channels(dst, first, src, shape->dim[0], area, k->block);
            first += shape->dim[0];
        }
    }
    return Q8_OK;
}

static q8_code start_concat(struct kernel *k, bool *fits, q8_err *err)
{
    (void)err;
    const q8_concat_attr *a = k->node->attr;
    *fits = k->out_shape->rank == 3 && (a->axis == 0 || a->axis == -3);
    k->base.run = run_concat;
    return Q8_OK;
}

/* --- Eltwise ---------------------------------------------------------------------------------- */

static void multiply(float *y, const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = a[i] * b[i];
}

static void maximum(float *y, const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = b[i] > a[i] ? b[i] : a[i];
}

static void add(float *y, const float *a, float ca, const float *b, float cb, size_t count)
{
    if (ca == 1 && cb == 1) {
        for (size_t i = 0; i < count; i++)
            y[i] = a[i] + b[i];
        return;
    }
    for (size_t i = 0; i < count; i++)
        y[i] = a[i] * ca + b[i] * cb;
}

/* All of these turn zeros into zeros, so padding channels take care of themselves. */
static q8_code run_eltwise(const q8_kernel *base, const float *const *in, float *const *out,
                           void *scratch, q8_err *err)
{
    (void)scratch;
    (void)err;
    const struct kernel *k = (const struct kernel *)base;
    const q8_eltwise_attr *attr = k->node->attr;
    const float *coeff = attr->coeffs.n ? attr->coeffs.v : NULL;
    const size_t count = (size_t)k->batch * q8_layout_count(k->out_shape, k->block);
    for (int i = 1; i < k->node->n_in; i++) {
        const float *so_far = i == 1 ? in[0] : out[0];
        if (attr->type == Q8_ELTWISE_PROD)
            multiply(out[0], so_far, in[i], count);
        else if (attr->type == Q8_ELTWISE_MAX)
            maximum(out[0], so_far, in[i], count);
        else
            add(out[0], so_far, coeff && i == 1 ? coeff[0] : 1, in[i], coeff ? coeff[i] : 1, count);
    }
    return Q8_OK;
}

static q8_code start_eltwise(struct kernel *k, bool *fits, q8_err *err)
{
    (void)err;
    *fits = k->node->n_in > 1;
    k->base.run = run_eltwise;
    return Q8_OK;
}

/* --- channel by channel ----------------------------------------------------------------------- */

/* One channel (block 1) or one block of channels, with its values of a and b. */
typedef void (*plane_fn)(float *y, const float *x, size_t area, size_t block, const float *a,
                         const float *b);

#define PLANE(name, lanes, expression)                                                             \
    static void name(float *y, const float *x, size_t area, size_t block, const float *a,          \
                     const float *b)                                                               \
    {                                                                                              \
        (void)b;                                                                                   \
        (void)block;                                                                               \
        for (size_t p = 0; p < area * (lanes); p += (lanes))                                       \
            for (size_t l = 0; l < (lanes); l++)                                                   \
                y[p + l] = (expression);                                                           \
    }

PLANE(affine_1, 1, x[p + l] * a[l] + b[l])
PLANE(affine_8, 8, x[p + l] * a[l] + b[l])
PLANE(affine_16, 16, x[p + l] * a[l] + b[l])
PLANE(affine_all, block, x[p + l] * a[l] + b[l])
PLANE(prelu_1, 1, x[p + l] < 0 ? x[p + l] * a[l] : x[p + l])
PLANE(prelu_8, 8, x[p + l] < 0 ? x[p + l] * a[l] : x[p + l])
PLANE(prelu_16, 16, x[p + l] < 0 ? x[p + l] * a[l] : x[p + l])
PLANE(prelu_all, block, x[p + l] < 0 ? x[p + l] * a[l] : x[p + l])

static void for_each_plane(const struct kernel *k, const float *x, float *y,
                           const plane_fn fn[Q8_N_BLOCKS])
{
    const int block = q8_layout_block(k->out_shape, k->block);
    const plane_fn plane = fn[q8_block_index(q8_layout_asked(k->out_shape, k->block))];
    const size_t area = q8_shape_spatial(k->out_shape), step = area * (size_t)block;
    for (int n = 0; n < k->batch; n++)
        for (int c = 0; c < k->out_shape->dim[0]; c += block, x += step, y += step)
            plane(y, x, area, (size_t)block, k->a + c, k->b + c);
}

static q8_code run_affine(const q8_kernel *base, const float *const *in, float *const *out,
                          void *scratch, q8_err *err)
{
    static const plane_fn affine[Q8_N_BLOCKS] = {affine_1, affine_8, affine_16, affine_all};
    (void)scratch;
    (void)err;
    for_each_plane((const struct kernel *)base, in[0], out[0], affine);
    return Q8_OK;
}

static q8_code run_prelu(const q8_kernel *base, const float *const *in, float *const *out,
                         void *scratch, q8_err *err)
{
    static const plane_fn prelu[Q8_N_BLOCKS] = {prelu_1, prelu_8, prelu_16, prelu_all};
    (void)scratch;
    (void)err;
    for_each_plane((const struct kernel *)base, in[0], out[0], prelu);
    return Q8_OK;
}

static q8_code make_coefficients(struct kernel *k, q8_err *err)
{
    const size_t n = (size_t)k->out_shape->dim[0] + 16; /* room for the padding channels */
    k->a = calloc(n, sizeof(*k->a));
    k->b = calloc(n, sizeof(*k->b));
    return k->a && k->b ? Q8_OK : q8_fail_nomem(err);
}

static q8_code start_affine(struct kernel *k, bool *fits, q8_err *err)
{
    q8_code code = make_coefficients(k, err);
    *fits = !code && k->node->n_in == 1 &&
            k->node->op->as_affine(k->node, k->out_shape->dim[0], k->a, k->b);
    k->base.run = run_affine;
    return code;
}

static q8_code start_prelu(struct kernel *k, bool *fits, q8_err *err)
{
    const q8_prelu_attr *attr = k->node->attr;
    q8_code code = make_coefficients(k, err);
    for (int c = 0; !code && c < k->out_shape->dim[0]; c++)
        k->a[c] = k->node->weight[0].data[attr->num_slope > 1 ? c : 0];
    *fits = true;
    k->base.run = run_prelu;
    return code;
}

/* --- the simulation of int8 ------------------------------------------------------------------- */

static q8_code run_int8(const q8_kernel *base, const float *const *in, float *const *out,
                        void *scratch, q8_err *err)
{
    (void)scratch;
    (void)err;
    const struct kernel *k = (const struct kernel *)base;
    const q8_node *node = k->node;
    const q8_tensor *tensor = k->graph->tensor;
    for (size_t b = 0; b < (size_t)k->batch; b++) {
        const float *picture_in[3];
        float *picture_out[2];
        for (int i = 0; i < node->n_in; i++)
            picture_in[i] = in[i] + b * q8_layout_count(&tensor[node->in[i]].shape, k->block);
        for (int i = 0; i < node->n_out; i++)
            picture_out[i] = out[i] + b * q8_layout_count(&tensor[node->out[i]].shape, k->block);
        const q8_shape *shape = &tensor[node->in[0]].shape;
        q8_int8_forward(node, shape, q8_layout_block(shape, k->block), picture_in, picture_out);
    }
    return Q8_OK;
}

static q8_code start_int8(struct kernel *k, bool *fits, q8_err *err)
{
    (void)err;
    *fits = k->block != Q8_CHANNELS_LAST;
    k->base.run = run_int8;
    return Q8_OK;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Sets the kernel's run(), or `*fits` to false where the node's attributes are beyond it. */
typedef q8_code (*start_fn)(struct kernel *k, bool *fits, q8_err *err);

static start_fn find_start(const q8_node *node)
{
    if (node->op == &q8_op_concat)
        return start_concat;
    if (node->op == &q8_op_eltwise)
        return start_eltwise;
    if (node->op == &q8_op_prelu)
        return start_prelu;
    if (node->op == &q8_op_int8_quantize || node->op == &q8_op_int8_dequantize ||
        node->op == &q8_op_int8_compare)
        return start_int8;
    return node->op->as_affine ? start_affine : NULL;
}

/* Converting a plain input to blocks is no worse than the other way round, and what follows is most
 * likely to want blocks; all the channels in one, where another input has them so. */
static int common_block(const int *in_block, int n)
{
    int block = 1;
    for (int i = 0; i < n; i++)
        if (in_block[i] > block)
            block = in_block[i];
    return block;
}

/* NULL when out of memory. */
static struct kernel *new_kernel(const q8_graph *graph, const q8_node *node, int block, int batch)
{
    struct kernel *k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    k->graph = graph;
    k->node = node;
    k->out_shape = &graph->tensor[node->out[0]].shape;
    k->batch = batch;
    k->block = block;
    k->base = (q8_kernel){.in_block = block, .out_block = block, .close = close_kernel};
    return k;
}

q8_code q8_blocked_compile(const q8_graph *graph, const q8_node *node, const int *in_block,
                           int batch, q8_kernel **kernel, q8_err *err)
{
    *kernel = NULL;
    const start_fn start = find_start(node);
    if (!start)
        return Q8_OK;
    struct kernel *k = new_kernel(graph, node, common_block(in_block, node->n_in), batch);
    if (!k)
        return q8_fail_nomem(err);
    bool fits = false;
    q8_code code = start(k, &fits, err);
    if (code || !fits)
        close_kernel(&k->base);
    else
        *kernel = &k->base;
    return code;
}

q8_code q8_blocked_bias(const q8_graph *graph, const q8_node *node, const float *bias, int block,
                        int batch, q8_kernel **kernel, q8_err *err)
{
    *kernel = NULL;
    struct kernel *k = new_kernel(graph, node, block, batch);
    if (!k)
        return q8_fail_nomem(err);
    q8_code code = make_coefficients(k, err);
    if (code) {
        close_kernel(&k->base);
        return code;
    }
    for (int c = 0; c < k->out_shape->dim[0]; c++) {
        k->a[c] = 1;
        k->b[c] = bias[c];
    }
    k->base.run = run_affine;
    *kernel = &k->base;
    return Q8_OK;
}
