#include <math.h>

#include "ops/affine.h"
#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"Power", NULL};

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_power_attr, power, 0, 1),
    Q8_FIELD_FLOAT(q8_power_attr, scale, 1, 1),
    Q8_FIELD_FLOAT(q8_power_attr, shift, 2, 0),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__PowerParameter *p = im->param->power_param;
    q8_node *node = q8_im_node(im, &q8_op_power);
    if (!node)
        return q8_im_failed(im);
    if (p)
        *(q8_power_attr *)node->attr =
            (q8_power_attr){.power = p->power, .scale = p->scale, .shift = p->shift};
    return Q8_OK;
}

static float element(const q8_node *node, float x)
{
    const q8_power_attr *a = node->attr;
    const double base = (double)a->scale * x + a->shift;
    return (float)(a->power == 1 ? base : pow(base, a->power));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

static void factors(const q8_node *node, int channel, double *a, double *b)
{
    const q8_power_attr *attr = node->attr;
    (void)channel;
    *a = attr->scale;
    *b = attr->shift;
}

static bool as_affine(const q8_node *node, int channels, float *a, float *b)
{
    const q8_power_attr *attr = node->attr;
    return attr->power == 1 && q8_affine_fill(node, channels, factors, a, b);
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    const q8_power_attr *a = node->attr;
    (void)in;
    (void)out;
    return a->power == 1 && a->scale == 1 && a->shift == 0;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    const q8_power_attr *a = node->attr;
    (void)in;
    return a->power == 1 && a->shift == 0 ? Q8_CHANNELS_LINEAR : Q8_CHANNELS_FIXED;
}

const q8_op q8_op_power = {
    .type = "Power",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_power_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .channels = channels,
    .as_affine = as_affine,
    .is_identity = is_identity,
    .limits = "With `power: 1` it is folded into a neighbouring layer where there is one.",
};
