#include <math.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"Sigmoid", NULL};

static q8_code from_caffe(q8_caffe_import *im)
{
    return q8_im_node(im, &q8_op_sigmoid) ? Q8_OK : q8_im_failed(im);
}

static float element(const q8_node *node, float x)
{
    (void)node;
    return (float)(1 / (1 + exp(-(double)x)));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

static bool as_activation(const q8_node *node, q8_arena *arena, q8_activation *act)
{
    (void)node;
    return q8_make_activation(arena, act, Q8_ACT_SIGMOID, NULL, 0);
}

const q8_op q8_op_sigmoid = {
    .type = "Sigmoid",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .as_activation = as_activation,
};
