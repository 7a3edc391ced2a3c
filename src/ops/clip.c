#include <float.h>
#include <math.h>
#include <string.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"Clip", "ReLU6", NULL};

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_clip_attr, min, 0, -FLT_MAX),
    Q8_FIELD_FLOAT(q8_clip_attr, max, 1, FLT_MAX),
};

/* With a slope for negative values a ReLU comes before the limit. */
static q8_code read_relu6(q8_caffe_import *im)
{
    const Caffe__ReLU6Parameter *p = im->param->relu6_param;
    const float slope = p ? p->negative_slope : 0;
    q8_node *relu = slope != 0 ? q8_im_node(im, &q8_op_relu) : NULL;
    if (slope != 0 && !relu)
        return q8_im_failed(im);
    if (relu)
        ((q8_relu_attr *)relu->attr)->slope = slope;
    q8_node *clip = relu ? q8_im_chain(im, &q8_op_clip, "limit") : q8_im_node(im, &q8_op_clip);
    if (!clip)
        return q8_im_failed(im);
    *(q8_clip_attr *)clip->attr = (q8_clip_attr){.min = relu ? -FLT_MAX : 0, .max = 6};
    return Q8_OK;
}

/* No bound is the largest number to ncnn. */
static float bound(float x)
{
    return isinf(x) ? copysignf(FLT_MAX, x) : x;
}

static q8_code read_clip(q8_caffe_import *im)
{
    const Caffe__ClipParameter *p = im->param->clip_param;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "clip_param missing");
    q8_node *node = q8_im_node(im, &q8_op_clip);
    if (!node)
        return q8_im_failed(im);
    *(q8_clip_attr *)node->attr = (q8_clip_attr){.min = bound(p->min), .max = bound(p->max)};
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    return strcmp(im->layer->type, "ReLU6") == 0 ? read_relu6(im) : read_clip(im);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_clip_attr *a = node->attr;
    if (!(a->min <= a->max))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "min %g is above max %g",
                       (double)a->min, (double)a->max);
    return q8_unary_infer(node, in, out, err);
}

static float element(const q8_node *node, float x)
{
    const q8_clip_attr *a = node->attr;
    return x < a->min ? a->min : x > a->max ? a->max : x;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

static bool as_activation(const q8_node *node, q8_arena *arena, q8_activation *act)
{
    const q8_clip_attr *a = node->attr;
    const float params[] = {a->min, a->max};
    return q8_make_activation(arena, act, Q8_ACT_CLIP, params, 2);
}

static bool is_far_or_0(float bound)
{
    return bound == 0 || fabsf(bound) >= FLT_MAX;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    const q8_clip_attr *a = node->attr;
    (void)in;
    return is_far_or_0(a->min) && is_far_or_0(a->max) ? Q8_CHANNELS_EACH : Q8_CHANNELS_FIXED;
}

const q8_op q8_op_clip = {
    .type = "Clip",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_clip_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .as_activation = as_activation,
    .limits = "`Clip` needs `clip_param`. Refused: min above max. A `ReLU6` with a negative slope "
              "becomes ReLU and Clip.",
};
