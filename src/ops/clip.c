#include <float.h>
#include <string.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"Clip", "ReLU6", NULL};

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_clip_attr, min, 0, -FLT_MAX),
    Q8_FIELD_FLOAT(q8_clip_attr, max, 1, FLT_MAX),
};

static q8_code read_relu6(q8_caffe_import *im, q8_clip_attr *a)
{
    const Caffe__ReLU6Parameter *p = im->param->relu6_param;
    *a = (q8_clip_attr){.min = 0, .max = 6};
    if (p && p->negative_slope != 0)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "negative_slope",
                          "a ReLU6 with a negative slope is not supported");
    return Q8_OK;
}

static q8_code read_clip(q8_caffe_import *im, q8_clip_attr *a)
{
    const Caffe__ClipParameter *p = im->param->clip_param;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "clip_param missing");
    *a = (q8_clip_attr){.min = p->min, .max = p->max};
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    q8_node *node = q8_im_node(im, &q8_op_clip);
    if (!node)
        return q8_im_failed(im);
    return strcmp(im->layer->type, "ReLU6") == 0 ? read_relu6(im, node->attr)
                                                 : read_clip(im, node->attr);
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
    .as_activation = as_activation,
};
