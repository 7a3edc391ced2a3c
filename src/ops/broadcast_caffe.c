#include "ops/broadcast_caffe.h"

#include "ops/memorydata.h"
#include "ops/rows.h"
#include "ops/simple.h"

q8_code q8_add_constant(q8_caffe_import *im, const char *suffix, const q8_shape *shape,
                        const float *data, int *out)
{
    q8_node *node = q8_im_branch(im, &q8_op_memorydata, suffix, 0, im->in);
    if (!node)
        return q8_im_failed(im);
    *(q8_memorydata_attr *)node->attr = q8_memorydata_of(shape);
    q8_im_set_weight(node, 0, data, q8_shape_count(shape));
    *out = node->out[0];
    return Q8_OK;
}

q8_code q8_add_reshape(q8_caffe_import *im, const char *suffix, int tensor, const q8_shape *shape,
                       int *out)
{
    q8_node *node = q8_im_branch(im, &q8_op_reshape, suffix, 1, &tensor);
    if (!node)
        return q8_im_failed(im);
    *(q8_reshape_attr *)node->attr = q8_reshape_to(shape);
    *out = node->out[0];
    return Q8_OK;
}

q8_shape q8_operand_shape(const q8_shape *x, int from, int n)
{
    q8_shape shape = {.rank = x->rank};
    for (int i = 0; i < x->rank; i++)
        shape.dim[i] = i >= from && i < from + n ? x->dim[i] : 1;
    return shape;
}

/* Whether the dims of `s` are those of `x` from `from` on. */
static bool lies_at(const q8_shape *s, const q8_shape *x, int from)
{
    if (from + s->rank > x->rank)
        return false;
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] != x->dim[from + i])
            return false;
    return true;
}

static bool is_per_channel(const q8_shape *s, const q8_shape *x)
{
    return s->dim[0] == x->dim[0] && q8_shape_spatial(s) == 1;
}

q8_code q8_read_bottom_operand(q8_caffe_import *im, int index, const void *message, int axis,
                               const q8_shape *x, q8_operand *operand)
{
    const q8_shape *s = &im->in_shape[index];
    const int caffe_axis = axis < 0 ? axis + x->rank + 1 : axis;
    /* With axis 0 the operand has the batch too; with another it has none (a Parameter). */
    const int from = caffe_axis > 0 ? caffe_axis - 1 : 0;
    char text[64], other[64];
    if (caffe_axis < 0 || caffe_axis > x->rank)
        return q8_im_fail(im, Q8_EMODEL, message, "axis",
                          "axis %d is out of range: the input has %d axes, 0 (the batch) to %d",
                          axis, x->rank + 1, x->rank);
    if (q8_shape_count(s) == 1)
        operand->shape = q8_operand_shape(x, 0, 0);
    else if (from == 0 && is_per_channel(s, x))
        operand->shape = q8_operand_shape(x, 0, 1);
    else if (lies_at(s, x, from))
        operand->shape = q8_operand_shape(x, from, s->rank);
    else
        return q8_im_fail(im, Q8_EMODEL, message, "axis",
                          "bottom %d has the shape %s, which does not lie along axis %d of %s",
                          index, q8_shape_text(s, text), axis, q8_shape_text(x, other));
    operand->tensor = im->in[index];
    q8_shape out;
    if (s->rank <= x->rank && q8_broadcast(x, s, &out) && q8_shape_equal(&out, x) && from == 0)
        return Q8_OK; /* ncnn places it right by itself */
    return q8_add_reshape(im, "placed", im->in[index], &operand->shape, &operand->tensor);
}

q8_code q8_read_blob_operand(q8_caffe_import *im, int index, const char *suffix,
                             const q8_shape *shape, q8_operand *operand)
{
    float *data;
    q8_code code = q8_im_blob(im, index, shape->dim, shape->rank, &data);
    if (code)
        return code;
    operand->shape = *shape;
    return q8_add_constant(im, suffix, shape, data, &operand->tensor);
}

q8_code q8_add_binary(q8_caffe_import *im, const char *suffix, q8_binary_type type, int a, int b,
                      int *out)
{
    const int in[] = {a, b};
    q8_node *node = suffix ? q8_im_branch(im, &q8_op_binaryop, suffix, 2, in)
                           : q8_im_node_of(im, &q8_op_binaryop, 2, in);
    if (!node)
        return q8_im_failed(im);
    ((q8_binaryop_attr *)node->attr)->type = type;
    *out = node->out[0];
    return Q8_OK;
}
