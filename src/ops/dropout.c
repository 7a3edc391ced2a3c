#include "ops/affine.h"
#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"Dropout", NULL};

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_dropout_attr, scale, 0, 1),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__DropoutParameter *p = im->param->dropout_param;
    q8_node *node = q8_im_node(im, &q8_op_dropout);
    if (!node)
        return q8_im_failed(im);
    q8_dropout_attr *a = node->attr;
    /* A fork's way: training does not scale up what it keeps, so testing scales down. */
    a->scale = p && p->has_scale_train && !p->scale_train ? 1 - p->dropout_ratio : 1;
    return Q8_OK;
}

static float element(const q8_node *node, float x)
{
    const q8_dropout_attr *a = node->attr;
    return x * a->scale;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

static void factors(const q8_node *node, int channel, double *a, double *b)
{
    const q8_dropout_attr *attr = node->attr;
    (void)channel;
    *a = attr->scale;
    *b = 0;
}

static bool as_affine(const q8_node *node, int channels, float *a, float *b)
{
    return q8_affine_fill(node, channels, factors, a, b);
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    const q8_dropout_attr *a = node->attr;
    (void)in;
    (void)out;
    return a->scale == 1;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    (void)node;
    (void)in;
    return Q8_CHANNELS_LINEAR;
}

const q8_op q8_op_dropout = {
    .type = "Dropout",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_dropout_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .channels = channels,
    .as_affine = as_affine,
    .is_identity = is_identity,
    .limits = "Dropped: it does nothing when a network is used. With a fork's `scale_train: false` "
              "it multiplies by 1 - `dropout_ratio`.",
};
