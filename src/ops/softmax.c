#include <math.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_softmax_attr, axis, 0, 0),
    Q8_FIELD_INT(q8_softmax_attr, fixed_axis, 1, 0),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_softmax_attr *a = node->attr;
    int axis;
    q8_code code = q8_node_axis(node, in, a->axis, &axis, err);
    if (code)
        return code;
    if (a->axis != 0 && !a->fixed_axis)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "made for an ncnn of before 2019, whose axis meant something else");
    /* After global pooling ncnn has {c} here and would not look at the axis. */
    if (in->rank == 3 && in->dim[1] == 1 && in->dim[2] == 1 && axis != 0 && in->dim[0] > 1)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "softmax over an axis of one element is always 1; was axis 1 meant?");
    out[0] = in[0];
    return Q8_OK;
}

static void softmax(const float *in, float *out, int n, size_t stride)
{
    float max = in[0];
    for (int i = 1; i < n; i++)
        max = in[(size_t)i * stride] > max ? in[(size_t)i * stride] : max;
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp((double)in[(size_t)i * stride] - max);
    for (int i = 0; i < n; i++)
        out[(size_t)i * stride] = (float)(exp((double)in[(size_t)i * stride] - max) / sum);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_softmax_attr *a = f->node->attr;
    const q8_shape *shape = &f->in_shape[0];
    int axis;
    q8_code code = q8_node_axis(f->node, shape, a->axis, &axis, err);
    if (code)
        return code;
    size_t outer, inner;
    q8_axis_split(shape, axis, &outer, &inner);
    for (size_t i = 0; i < outer; i++)
        for (size_t k = 0; k < inner; k++) {
            const size_t first = i * (size_t)shape->dim[axis] * inner + k;
            softmax(f->in[0] + first, f->out[0] + first, shape->dim[axis], inner);
        }
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__SoftmaxParameter none = CAFFE__SOFTMAX_PARAMETER__INIT;
    const Caffe__SoftmaxParameter *message = im->param->softmax_param,
                                  *p = message ? message : &none;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    q8_node *node = q8_im_node(im, &q8_op_softmax);
    if (!node)
        return q8_im_failed(im);
    q8_softmax_attr *a = node->attr;
    a->fixed_axis = 1;
    return q8_im_axis(im, message, "axis", p->axis, &a->axis);
}

const q8_op q8_op_softmax = {
    .type = "Softmax",
    .caffe_types = (const char *const[]){"Softmax", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_softmax_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .limits =
        "Any axis but the batch. Refused: an axis of one element of an input whose height and "
        "width are 1, since ncnn would take the channels.",
};
