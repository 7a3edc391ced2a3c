#include <math.h>

#include "ops/caffe_import.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/unary.h"

static q8_code from_caffe(q8_caffe_import *im)
{
    return q8_im_node(im, &q8_op_absval) ? Q8_OK : q8_im_failed(im);
}

static float element(const q8_node *node, float x)
{
    (void)node;
    return fabsf(x);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

const q8_op q8_op_absval = {
    .type = "AbsVal",
    .caffe_types = (const char *const[]){"AbsVal", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .channels = q8_channels_each,
};
