/* Blocks of pixels to channels (Reorg) and back (PixelShuffle). */
#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

/* What is the outer index of the block-wise channels. */
enum { CHANNEL_FIRST = 0, OFFSET_FIRST = 1 };

typedef struct block_attr {
    int size; /* of a block, both ways */
    int mode;
} block_attr;

static const q8_field fields[] = {
    Q8_FIELD_INT(block_attr, size, 0, 1),
    Q8_FIELD_INT(block_attr, mode, 1, 0),
};

static q8_code check(const q8_node *node, const q8_shape *in, q8_err *err)
{
    const block_attr *a = node->attr;
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (a->size < 1 || a->size > 4096 || (a->mode != CHANNEL_FIRST && a->mode != OFFSET_FIRST))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "blocks of %d in mode %d", a->size,
                       a->mode);
    return Q8_OK;
}

static q8_code set_shape(const q8_node *node, long long c, long long h, long long w, q8_shape *out,
                         q8_err *err)
{
    if (c > Q8_MAX_EXTENT || h > Q8_MAX_EXTENT || w > Q8_MAX_EXTENT)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "an output of %lldx%lldx%lld; " Q8_LIMIT, c, h, w,
                       Q8_LIMIT_OF(Q8_MAX_EXTENT));
    *out = (q8_shape){3, {(int)c, (int)h, (int)w}};
    return Q8_OK;
}

static q8_code infer_reorg(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const int size = ((const block_attr *)node->attr)->size;
    q8_code code = check(node, in, err);
    if (code)
        return code;
    if (in->dim[1] % size || in->dim[2] % size)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%dx%d pixels cannot be cut into blocks of %dx%d", in->dim[1], in->dim[2],
                       size, size);
    return set_shape(node, (long long)in->dim[0] * size * size, in->dim[1] / size,
                     in->dim[2] / size, out, err);
}

static q8_code infer_shuffle(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const int size = ((const block_attr *)node->attr)->size;
    q8_code code = check(node, in, err);
    if (code)
        return code;
    if (in->dim[0] % (size * size))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d channels do not make blocks of %dx%d", in->dim[0], size, size);
    return set_shape(node, in->dim[0] / (size * size), (long long)in->dim[1] * size,
                     (long long)in->dim[2] * size, out, err);
}

/* Copies between `wide`, of fewer channels, and `deep`, of one channel per pixel of a block. */
static void move_blocks(const block_attr *a, const q8_shape *wide_shape, const float *from,
                        float *to, bool to_deep)
{
    const int size = a->size, channels = wide_shape->dim[0];
    const int h = wide_shape->dim[1], w = wide_shape->dim[2];
    size_t deep = 0;
    for (int k = 0; k < channels * size * size; k++) {
        const int c = a->mode == CHANNEL_FIRST ? k / (size * size) : k % channels;
        const int offset = a->mode == CHANNEL_FIRST ? k % (size * size) : k / channels;
        for (int y = offset / size; y < h; y += size)
            for (int x = offset % size; x < w; x += size, deep++) {
                const size_t wide = ((size_t)c * (size_t)h + (size_t)y) * (size_t)w + (size_t)x;
                to[to_deep ? deep : wide] = from[to_deep ? wide : deep];
            }
    }
}

static q8_code forward_reorg(const q8_forward *f, q8_err *err)
{
    (void)err;
    move_blocks(f->node->attr, &f->in_shape[0], f->in[0], f->out[0], true);
    return Q8_OK;
}

static q8_code forward_shuffle(const q8_forward *f, q8_err *err)
{
    (void)err;
    move_blocks(f->node->attr, &f->out_shape[0], f->in[0], f->out[0], false);
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)in, (void)out;
    return ((const block_attr *)node->attr)->size == 1;
}

static void set_blocks(q8_node *node, int size)
{
    *(block_attr *)node->attr = (block_attr){.size = size, .mode = OFFSET_FIRST};
}

/*
 * The forks' Reorg is darknet's. Its downward way goes through the input as if that had already the
 * few channels and many pixels of the upward way's output, undoes that way, and takes the result
 * for one of many channels and few pixels. Networks are trained with it, so it is kept.
 */
static q8_code add_downward(q8_caffe_import *im, int stride)
{
    const q8_shape *in = &im->in_shape[0];
    const int square = stride * stride;
    const q8_shape wide = {3, {in->dim[0] / square, in->dim[1] * stride, in->dim[2] * stride}};
    const q8_shape deep = {3, {in->dim[0] * square, in->dim[1] / stride, in->dim[2] / stride}};
    q8_node *node = q8_im_node(im, &q8_op_reshape);
    if (node) {
        *(q8_reshape_attr *)node->attr = q8_reshape_to(&wide);
        node = q8_im_chain(im, &q8_op_reorg, "blocks");
    }
    if (node) {
        set_blocks(node, stride);
        node = q8_im_chain(im, &q8_op_reshape, "deep");
    }
    if (!node)
        return q8_im_failed(im);
    *(q8_reshape_attr *)node->attr = q8_reshape_to(&deep);
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ReorgParameter *p = im->param->reorg_param;
    q8_code code = q8_read_one_bottom(im);
    int stride = 0;
    if (code)
        return code;
    if (!p || !p->has_stride)
        return q8_im_fail(im, Q8_EMODEL, p, "stride", "stride missing");
    if ((code = q8_read_uint(im, p, "stride", p->stride, 1, &stride)))
        return code;
    if (p->flatten)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "flatten", "flatten is not supported");
    const q8_shape *in = &im->in_shape[0];
    if (in->rank != 3)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "Reorg needs an input with channels, height and width");
    if (stride > 4096 || in->dim[0] % (stride * stride))
        return q8_im_fail(im, Q8_EMODEL, p, "stride",
                          "%d channels cannot be divided by stride %d squared", in->dim[0], stride);
    if (!p->reverse && (in->dim[1] % stride || in->dim[2] % stride))
        return q8_im_fail(im, Q8_EMODEL, p, "stride", "%dx%d pixels cannot be divided by stride %d",
                          in->dim[1], in->dim[2], stride);
    if ((long long)in->dim[0] * stride * stride > Q8_MAX_EXTENT ||
        (long long)in->dim[1] * stride > Q8_MAX_EXTENT ||
        (long long)in->dim[2] * stride > Q8_MAX_EXTENT)
        return q8_im_fail(im, Q8_EMODEL, p, "stride",
                          "stride %d makes an output that is too large; " Q8_LIMIT, stride,
                          Q8_LIMIT_OF(Q8_MAX_EXTENT));
    if (!p->reverse)
        return add_downward(im, stride);
    q8_node *node = q8_im_node(im, &q8_op_pixelshuffle);
    if (!node)
        return q8_im_failed(im);
    set_blocks(node, stride);
    return Q8_OK;
}

const q8_op q8_op_reorg = {
    .type = "Reorg",
    .caffe_types = (const char *const[]){"Reorg", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(block_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer_reorg,
    .forward = forward_reorg,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits = "Darknet's order of elements, as in the YOLO forks. The channels must be divisible "
              "by the stride squared, height and width by the "
              "stride. With `reverse: true` it becomes a PixelShuffle. Refused: `flatten`.",
};

/* No Caffe type of its own: Reorg with `reverse` becomes one. */
const q8_op q8_op_pixelshuffle = {
    .type = "PixelShuffle",
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(block_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .infer = infer_shuffle,
    .forward = forward_shuffle,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits = "A `Reorg` with `reverse: true` becomes this.",
};
