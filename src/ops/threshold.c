/* 1 above the threshold, 0 elsewhere */
#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const q8_field fields[] = {
    Q8_FIELD_FLOAT(q8_threshold_attr, threshold, 0, 0),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ThresholdParameter *p = im->param->threshold_param;
    q8_node *node = q8_im_node(im, &q8_op_threshold);
    if (!node)
        return q8_im_failed(im);
    q8_threshold_attr *a = node->attr;
    a->threshold = p ? p->threshold : 0;
    return Q8_OK;
}

static float element(const q8_node *node, float x)
{
    const q8_threshold_attr *a = node->attr;
    return x > a->threshold ? 1 : 0;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

const q8_op q8_op_threshold = {
    .type = "Threshold",
    .caffe_types = (const char *const[]){"Threshold", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_threshold_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
};
