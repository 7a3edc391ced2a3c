/* x * sigmoid(x); Caffe's x * sigmoid(beta * x) becomes several layers. */
#include <math.h>

#include "ops/branch.h"
#include "ops/caffe_read.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

static q8_code with_beta(q8_caffe_import *im, float beta)
{
    q8_node *scaled = q8_im_branch(im, &q8_op_power, "beta", 1, im->in);
    if (!scaled)
        return q8_im_failed(im);
    ((q8_power_attr *)scaled->attr)->scale = beta;
    const q8_node *sigmoid = q8_im_branch(im, &q8_op_sigmoid, "sigmoid", 1, scaled->out);
    if (!sigmoid)
        return q8_im_failed(im);
    q8_node *product = q8_im_node_of(im, &q8_op_eltwise, 2, (int[]){im->in[0], sigmoid->out[0]});
    if (!product)
        return q8_im_failed(im);
    ((q8_eltwise_attr *)product->attr)->type = Q8_ELTWISE_PROD;
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__SwishParameter *p = im->param->swish_param;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (p && p->beta != 1)
        return with_beta(im, p->beta);
    return q8_im_node(im, &q8_op_swish) ? Q8_OK : q8_im_failed(im);
}

static float element(const q8_node *node, float x)
{
    (void)node;
    return (float)(x / (1 + exp(-(double)x)));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_unary_forward(f, element);
    return Q8_OK;
}

const q8_op q8_op_swish = {
    .type = "Swish",
    .caffe_types = (const char *const[]){"Swish", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .limits = "A `beta` other than 1 becomes Power, Sigmoid and Eltwise.",
};
