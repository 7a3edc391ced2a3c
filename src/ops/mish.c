/* Mish and HardSwish, of forks: x times what grows from 0 to 1. ncnn has both as activations, too.
 */
#include "ops/activation.h"
#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

/* x * clip(alpha * x + beta, 0, 1) */
struct hardswish_attr {
    float alpha, beta;
};

static const q8_field hardswish_fields[] = {
    Q8_FIELD_FLOAT(struct hardswish_attr, alpha, 0, 0.2f),
    Q8_FIELD_FLOAT(struct hardswish_attr, beta, 1, 0.5f),
};

static q8_code mish_from_caffe(q8_caffe_import *im)
{
    return q8_im_node(im, &q8_op_mish) ? Q8_OK : q8_im_failed(im);
}

/* MobileNet v3's: x * ReLU6(x + 3) / 6 */
static q8_code hardswish_from_caffe(q8_caffe_import *im)
{
    q8_node *node = q8_im_node(im, &q8_op_hardswish);
    if (!node)
        return q8_im_failed(im);
    *(struct hardswish_attr *)node->attr = (struct hardswish_attr){1.0f / 6, 0.5f};
    return Q8_OK;
}

static q8_code hardswish_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const struct hardswish_attr *a = node->attr;
    if (!(a->alpha > 0)) /* ncnn divides by it to know where the clip begins */
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "alpha is %g; it must be above 0", (double)a->alpha);
    return q8_unary_infer(node, in, out, err);
}

static float mish_element(const q8_node *node, float x)
{
    (void)node;
    return q8_activate(&(q8_activation){.type = Q8_ACT_MISH}, x);
}

static float hardswish_element(const q8_node *node, float x)
{
    const struct hardswish_attr *a = node->attr;
    const float params[] = {a->alpha, a->beta};
    return q8_activate(&(q8_activation){Q8_ACT_HSWISH, {2, params}}, x);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, f->node->op == &q8_op_mish ? mish_element : hardswish_element);
    return Q8_OK;
}

static bool mish_as_activation(const q8_node *node, q8_arena *arena, q8_activation *act)
{
    (void)node;
    return q8_make_activation(arena, act, Q8_ACT_MISH, NULL, 0);
}

static bool hardswish_as_activation(const q8_node *node, q8_arena *arena, q8_activation *act)
{
    const struct hardswish_attr *a = node->attr;
    const float params[] = {a->alpha, a->beta};
    return q8_make_activation(arena, act, Q8_ACT_HSWISH, params, 2);
}

const q8_op q8_op_mish = {
    .type = "Mish",
    .caffe_types = (const char *const[]){"Mish", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .from_caffe = mish_from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .as_activation = mish_as_activation,
};

const q8_op q8_op_hardswish = {
    .type = "HardSwish",
    .caffe_types = (const char *const[]){"HardSwish", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(struct hardswish_attr),
    .fields = hardswish_fields,
    .n_fields = sizeof(hardswish_fields) / sizeof(hardswish_fields[0]),
    .from_caffe = hardswish_from_caffe,
    .infer = hardswish_infer,
    .forward = forward,
    .as_activation = hardswish_as_activation,
    .limits = "x * ReLU6(x + 3) / 6, as in MobileNet v3.",
};
