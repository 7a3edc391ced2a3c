/* base ^ (shift + scale * x) */
#include <math.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_log_attr, base, 0, -1),
    Q8_FIELD_FLOAT(q8_log_attr, scale, 1, 1),
    Q8_FIELD_FLOAT(q8_log_attr, shift, 2, 0),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ExpParameter *p = im->param->exp_param;
    if (p && p->base_ != -1 && !(p->base_ > 0 && isfinite(p->base_)))
        return q8_im_fail(im, Q8_EMODEL, p, "base_", "base is %g; it must be above 0, or -1 for e",
                          (double)p->base_);
    q8_node *node = q8_im_node(im, &q8_op_exp);
    if (!node)
        return q8_im_failed(im);
    if (p)
        *(q8_log_attr *)node->attr =
            (q8_log_attr){.base = p->base_, .scale = p->scale, .shift = p->shift};
    return Q8_OK;
}

static float element(const q8_node *node, float x)
{
    const q8_log_attr *a = node->attr;
    const double exponent = (double)a->scale * x + a->shift;
    return (float)(a->base == -1 ? exp(exponent) : pow(a->base, exponent));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

const q8_op q8_op_exp = {
    .type = "Exp",
    .caffe_types = (const char *const[]){"Exp", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_log_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .limits = "`base` above 0, or -1 for e.",
};
