#include <math.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_elu_attr, alpha, 0, 0.1F), /* ncnn's default; Caffe's is 1 */
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ELUParameter *p = im->param->elu_param;
    q8_node *node = q8_im_node(im, &q8_op_elu);
    if (!node)
        return q8_im_failed(im);
    q8_elu_attr *a = node->attr;
    a->alpha = p ? p->alpha : 1;
    return Q8_OK;
}

static float element(const q8_node *node, float x)
{
    const q8_elu_attr *a = node->attr;
    return x < 0 ? (float)(a->alpha * expm1(x)) : x;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

const q8_op q8_op_elu = {
    .type = "ELU",
    .caffe_types = (const char *const[]){"ELU", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_elu_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
};
