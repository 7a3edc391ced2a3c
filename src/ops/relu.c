#include "ops/caffe_import.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"ReLU", NULL};

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_relu_attr, slope, 0, 0),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ReLUParameter *p = im->param->relu_param;
    q8_node *node = q8_im_node(im, &q8_op_relu);
    if (!node)
        return q8_im_failed(im);
    q8_relu_attr *a = node->attr;
    a->slope = p ? p->negative_slope : 0;
    return Q8_OK;
}

static float element(const q8_node *node, float x)
{
    const q8_relu_attr *a = node->attr;
    return x < 0 ? x * a->slope : x;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

static bool as_activation(const q8_node *node, q8_arena *arena, q8_activation *act)
{
    const q8_relu_attr *a = node->attr;
    if (a->slope == 0)
        return q8_make_activation(arena, act, Q8_ACT_RELU, NULL, 0);
    return q8_make_activation(arena, act, Q8_ACT_LEAKY, &a->slope, 1);
}

const q8_op q8_op_relu = {
    .type = "ReLU",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_relu_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .channels = q8_channels_each,
    .as_activation = as_activation,
    .limits = "`negative_slope` makes it leaky.",
};
