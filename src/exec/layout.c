#include "exec/layout.h"

#include <stdlib.h>
#include <string.h>

int q8_block_index(int block)
{
    return block == 1 ? 0 : block == 8 ? 1 : block == 16 ? 2 : -1;
}

int q8_layout_block(const q8_shape *shape, int block)
{
    return shape->rank == 3 ? block : 1;
}

bool q8_layout_same(const q8_shape *shape, int a, int b)
{
    a = q8_layout_block(shape, a);
    b = q8_layout_block(shape, b);
    /* Blocks of single pixels follow each other as plain channels do. */
    return a == b ||
           (q8_shape_spatial(shape) == 1 && shape->dim[0] % a == 0 && shape->dim[0] % b == 0);
}

size_t q8_layout_count(const q8_shape *shape, int block)
{
    block = q8_layout_block(shape, block);
    const size_t channels =
        ((size_t)shape->dim[0] + (size_t)block - 1) / (size_t)block * (size_t)block;
    size_t count, bytes;
    if (q8_shape_count(shape) == 0 ||
        __builtin_mul_overflow(channels, q8_shape_spatial(shape), &count) ||
        __builtin_mul_overflow(count, sizeof(float), &bytes))
        return 0;
    return count;
}

/* `lanes` planes of src (of `area` elements each) become one block of dst. With a constant `block`
 * the inner loops unroll: one side moves in order, the other along `block` streams that all stay in
 * the first-level cache. */
static inline void pack(const float *restrict src, float *restrict dst, size_t area, int lanes,
                        int block)
{
    if (lanes == block) {
        for (size_t p = 0; p < area; p++)
            for (int l = 0; l < block; l++)
                dst[p * (size_t)block + (size_t)l] = src[(size_t)l * area + p];
        return;
    }
    memset(dst, 0, area * (size_t)block * sizeof(*dst));
    for (size_t p = 0; p < area; p++)
        for (int l = 0; l < lanes; l++)
            dst[p * (size_t)block + (size_t)l] = src[(size_t)l * area + p];
}

static inline void unpack(const float *restrict src, float *restrict dst, size_t area, int lanes,
                          int block)
{
    if (lanes == block) {
        for (size_t p = 0; p < area; p++)
            for (int l = 0; l < block; l++)
                dst[(size_t)l * area + p] = src[p * (size_t)block + (size_t)l];
        return;
    }
    for (size_t p = 0; p < area; p++)
        for (int l = 0; l < lanes; l++)
            dst[(size_t)l * area + p] = src[p * (size_t)block + (size_t)l];
}

static void pack_picture(const q8_shape *shape, const float *src, float *dst, int block)
{
    const size_t area = q8_shape_spatial(shape);
    for (int c = 0; c < shape->dim[0]; c += block) {
        const int left = shape->dim[0] - c, lanes = left < block ? left : block;
        const float *from = src + (size_t)c * area;
        float *to = dst + (size_t)c * area;
        if (block == 16)
            pack(from, to, area, lanes, 16);
        else
            pack(from, to, area, lanes, 8);
    }
}

static void unpack_picture(const q8_shape *shape, const float *src, float *dst, int block)
{
    const size_t area = q8_shape_spatial(shape);
    for (int c = 0; c < shape->dim[0]; c += block) {
        const int left = shape->dim[0] - c, lanes = left < block ? left : block;
        const float *from = src + (size_t)c * area;
        float *to = dst + (size_t)c * area;
        if (block == 16)
            unpack(from, to, area, lanes, 16);
        else
            unpack(from, to, area, lanes, 8);
    }
}

void q8_layout_convert(const q8_shape *shape, int batch, const float *src, int src_block,
                       float *dst, int dst_block)
{
    src_block = q8_layout_block(shape, src_block);
    dst_block = q8_layout_block(shape, dst_block);
    const size_t src_count = q8_layout_count(shape, src_block);
    const size_t dst_count = q8_layout_count(shape, dst_block);
    for (size_t n = 0; n < (size_t)batch; n++) {
        if (src_block == dst_block)
            memcpy(dst + n * dst_count, src + n * src_count, src_count * sizeof(*dst));
        else if (src_block == 1)
            pack_picture(shape, src + n * src_count, dst + n * dst_count, dst_block);
        else
            unpack_picture(shape, src + n * src_count, dst + n * dst_count, src_block);
    }
}

void q8_view_to_nchw(const q8_view *view, int i, float *out)
{
    const size_t count = q8_layout_count(&view->shape, view->block);
    q8_layout_convert(&view->shape, 1, view->data + (size_t)i * count, view->block, out, 1);
}

struct convert_kernel {
    q8_kernel base;
    q8_shape shape;
    int batch;
};

static q8_code run_convert(const q8_kernel *kernel, const float *const *in, float *const *out,
                           void *scratch, q8_err *err)
{
    const struct convert_kernel *k = (const struct convert_kernel *)kernel;
    (void)scratch;
    (void)err;
    q8_layout_convert(&k->shape, k->batch, in[0], kernel->in_block, out[0], kernel->out_block);
    return Q8_OK;
}

static void close_convert(q8_kernel *kernel)
{
    free(kernel);
}

q8_code q8_layout_kernel(const q8_shape *shape, int batch, int src_block, int dst_block,
                         q8_kernel **kernel, q8_err *err)
{
    struct convert_kernel *k = malloc(sizeof(*k));
    if (!k)
        return q8_fail_nomem(err);
    *k = (struct convert_kernel){
        .base = {src_block, dst_block, 0, run_convert, close_convert},
        .shape = *shape,
        .batch = batch,
    };
    *kernel = &k->base;
    return Q8_OK;
}
