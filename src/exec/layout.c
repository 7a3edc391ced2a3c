#include "exec/layout.h"

#include <stdlib.h>
#include <string.h>

int q8_block_index(int block)
{
    return block == 1 ? 0 : block == 8 ? 1 : block == 16 ? 2 : block == Q8_CHANNELS_LAST ? 3 : -1;
}

int q8_layout_asked(const q8_shape *shape, int block)
{
    return shape->rank == 3 ? block : 1;
}

int q8_layout_block(const q8_shape *shape, int block)
{
    block = q8_layout_asked(shape, block);
    return block == Q8_CHANNELS_LAST ? shape->dim[0] : block;
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

/* Where some neighbouring channels of a picture lie. */
struct lanes {
    size_t first;          /* the first channel's first pixel */
    size_t channel, pixel; /* from a channel, or a pixel, to the next */
};

static struct lanes find_lanes(const q8_shape *shape, int block, int channel)
{
    const size_t area = q8_shape_spatial(shape), b = (size_t)block, c = (size_t)channel;
    return (struct lanes){c / b * b * area + c % b, block == 1 ? area : 1, b};
}

static inline void move(const float *restrict src, const struct lanes *from, float *restrict dst,
                        const struct lanes *to, size_t area, int n)
{
    for (size_t p = 0; p < area; p++)
        for (size_t l = 0; l < (size_t)n; l++)
            dst[to->first + p * to->pixel + l * to->channel] =
                src[from->first + p * from->pixel + l * from->channel];
}

/* With a constant number of lanes the inner loop unrolls: one side moves in order, the other along
 * as many streams, which all stay in the first-level cache. */
static void move_lanes(const float *src, const struct lanes *from, float *dst,
                       const struct lanes *to, size_t area, int n)
{
    if (n == 16)
        move(src, from, dst, to, area, 16);
    else if (n == 8)
        move(src, from, dst, to, area, 8);
    else
        move(src, from, dst, to, area, n);
}

/* Channels that lie as the first does, in both layouts; at most 16. */
static int side_by_side(const q8_shape *shape, int channel, int src_block, int dst_block)
{
    int n = shape->dim[0] - channel < 16 ? shape->dim[0] - channel : 16;
    if (src_block > 1 && n > src_block - channel % src_block)
        n = src_block - channel % src_block;
    if (dst_block > 1 && n > dst_block - channel % dst_block)
        n = dst_block - channel % dst_block;
    return n;
}

static void convert_picture(const q8_shape *shape, const float *src, int src_block, float *dst,
                            int dst_block)
{
    const size_t area = q8_shape_spatial(shape), count = q8_layout_count(shape, dst_block);
    const size_t last = area * (size_t)dst_block;
    if (shape->dim[0] % dst_block != 0)
        memset(dst + count - last, 0, last * sizeof(*dst));
    for (int c = 0, n; c < shape->dim[0]; c += n) {
        const struct lanes from = find_lanes(shape, src_block, c);
        const struct lanes to = find_lanes(shape, dst_block, c);
        n = side_by_side(shape, c, src_block, dst_block);
        move_lanes(src, &from, dst, &to, area, n);
    }
}

void q8_layout_convert(const q8_shape *shape, int batch, const float *src, int src_block,
                       float *dst, int dst_block)
{
    src_block = q8_layout_block(shape, src_block);
    dst_block = q8_layout_block(shape, dst_block);
    const size_t src_count = q8_layout_count(shape, src_block);
    const size_t dst_count = q8_layout_count(shape, dst_block);
    for (size_t n = 0; n < (size_t)batch; n++, src += src_count, dst += dst_count)
        if (src_block == dst_block)
            memcpy(dst, src, src_count * sizeof(*dst));
        else
            convert_picture(shape, src, src_block, dst, dst_block);
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
        .base = {.in_block = src_block,
                 .out_block = dst_block,
                 .run = run_convert,
                 .close = close_convert},
        .shape = *shape,
        .batch = batch,
    };
    *kernel = &k->base;
    return Q8_OK;
}
