/* Exp, base ^ (shift + scale * x), and Log, log(shift + scale * x) to a base. */
#include <math.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_log_attr, base, 0, -1),
    Q8_FIELD_FLOAT(q8_log_attr, scale, 1, 1),
    Q8_FIELD_FLOAT(q8_log_attr, shift, 2, 0),
};

/* `message` is where the numbers were written, NULL: nowhere. */
static q8_code add_node(q8_caffe_import *im, const q8_op *op, const void *message,
                        const q8_log_attr *attr)
{
    const float base = attr->base;
    const bool is_log = op == &q8_op_log;
    if (base != -1 && !(base > 0 && isfinite(base) && !(is_log && base == 1)))
        return q8_im_fail(im, Q8_EMODEL, message, "base_",
                          "base is %g; it must be above 0%s, or "
                          "-1 for e",
                          (double)base, is_log ? " and not 1" : "");
    q8_node *node = q8_im_node(im, op);
    if (!node)
        return q8_im_failed(im);
    *(q8_log_attr *)node->attr = *attr;
    return Q8_OK;
}

static q8_code exp_from_caffe(q8_caffe_import *im)
{
    static const Caffe__ExpParameter defaults = CAFFE__EXP_PARAMETER__INIT;
    const Caffe__ExpParameter *p = im->param->exp_param ? im->param->exp_param : &defaults;
    return add_node(im, &q8_op_exp, p, &(q8_log_attr){p->base_, p->scale, p->shift});
}

static q8_code log_from_caffe(q8_caffe_import *im)
{
    static const Caffe__LogParameter defaults = CAFFE__LOG_PARAMETER__INIT;
    const Caffe__LogParameter *p = im->param->log_param ? im->param->log_param : &defaults;
    return add_node(im, &q8_op_log, p, &(q8_log_attr){p->base_, p->scale, p->shift});
}

static float exp_element(const q8_node *node, float x)
{
    const q8_log_attr *a = node->attr;
    const double exponent = (double)a->scale * x + a->shift;
    return (float)(a->base == -1 ? exp(exponent) : pow(a->base, exponent));
}

static float log_element(const q8_node *node, float x)
{
    const q8_log_attr *a = node->attr;
    const double y = log((double)a->scale * x + a->shift);
    return (float)(a->base == -1 ? y : y / log(a->base));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, f->node->op == &q8_op_log ? log_element : exp_element);
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
    .from_caffe = exp_from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .limits = "`base` above 0, or -1 for e.",
};

const q8_op q8_op_log = {
    .type = "Log",
    .caffe_types = (const char *const[]){"Log", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_log_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = log_from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .limits = "`base` above 0 and not 1, or -1 for e. Nothing checks that what the logarithm is "
              "taken of is positive.",
};
