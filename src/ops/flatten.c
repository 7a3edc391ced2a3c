/* All dimensions into one; Caffe's flattening of some of them only becomes a Reshape. */
#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    (void)node, (void)err;
    out[0] = (q8_shape){1, {(int)q8_shape_count(in)}};
    return Q8_OK;
}

/* Dims [from, to] become one, which follows the input's size. */
static q8_code flatten_some(q8_caffe_import *im, int from, int to)
{
    const q8_shape *in = &im->in_shape[0];
    int dim[Q8_MAX_RANK], rank = 0;
    for (int i = 0; i < in->rank; i++)
        if (i <= from || i > to)
            dim[rank++] = i == from ? -1 : in->dim[i];
    if (rank > 3)
        return q8_im_fail(im, Q8_EUNSUPPORTED, NULL, NULL, "more than 3 dimensions are left");
    q8_node *node = q8_im_node(im, &q8_op_reshape);
    if (!node)
        return q8_im_failed(im);
    *(q8_reshape_attr *)node->attr = q8_reshape_dims(rank, dim);
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__FlattenParameter none = CAFFE__FLATTEN_PARAMETER__INIT;
    const Caffe__FlattenParameter *message = im->param->flatten_param,
                                  *p = message ? message : &none;
    int from = 0, to = 0;
    q8_code code;
    if ((code = q8_read_one_bottom(im)) ||
        (code = q8_im_axis(im, message, "axis", p->axis, &from)) ||
        (code = q8_im_axis(im, message, "end_axis", p->end_axis, &to)))
        return code;
    if (to < from)
        return q8_im_fail(im, Q8_EMODEL, message, "end_axis", "end_axis %d is before axis %d",
                          p->end_axis, p->axis);
    if (from > 0 || to < im->in_shape[0].rank - 1)
        return flatten_some(im, from, to);
    return q8_im_node(im, &q8_op_flatten) ? Q8_OK : q8_im_failed(im);
}

const q8_op q8_op_flatten = {
    .type = "Flatten",
    .caffe_types = (const char *const[]){"Flatten", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = q8_copy_forward,
    .channels = q8_channels_move,
    .is_identity = q8_same_shape,
    .limits = "Any range of axes but the batch; all of them become a Flatten, some of them a "
              "Reshape.",
};
