/* Local response normalisation, across channels or over a window of one channel. */
#include <math.h>

#include "ops/caffe_import.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_lrn_attr, region, 0, 0),  Q8_FIELD_INT(q8_lrn_attr, size, 1, 5),
    Q8_FIELD_FLOAT(q8_lrn_attr, alpha, 2, 1), Q8_FIELD_FLOAT(q8_lrn_attr, beta, 3, 0.75),
    Q8_FIELD_FLOAT(q8_lrn_attr, bias, 4, 1),
};

/* ncnn keeps the window's area in an int. */
enum { MAX_SIZE = 32767 };

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_lrn_attr *a = node->attr;
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (a->region != Q8_LRN_ACROSS_CHANNELS && a->region != Q8_LRN_WITHIN_CHANNEL)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "region %d", a->region);
    if (a->size < 1 || a->size > MAX_SIZE || a->size % 2 == 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "local_size is %d, but must be odd and at most %d", a->size, MAX_SIZE);
    out[0] = in[0];
    return Q8_OK;
}

struct range {
    int from, to;
};

/* `size` neighbours around i of those that exist. */
static struct range around(int i, int size, int n)
{
    const int half = size / 2;
    return (struct range){i > half ? i - half : 0, i < n - half ? i + half + 1 : n};
}

static double sum_squares(const q8_forward *f, struct range c, struct range y, struct range x)
{
    const int *dim = f->in_shape[0].dim;
    double sum = 0;
    for (int k = c.from; k < c.to; k++)
        for (int i = y.from; i < y.to; i++) {
            const float *row = f->in[0] + ((size_t)k * (size_t)dim[1] + (size_t)i) * (size_t)dim[2];
            for (int j = x.from; j < x.to; j++)
                sum += (double)row[j] * row[j];
        }
    return sum;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_lrn_attr *a = f->node->attr;
    const int *dim = f->in_shape[0].dim;
    const bool across = a->region == Q8_LRN_ACROSS_CHANNELS;
    const double scale = a->alpha / (across ? (double)a->size : (double)a->size * a->size);
    const float *in = f->in[0];
    float *out = f->out[0];
    for (int c = 0; c < dim[0]; c++)
        for (int y = 0; y < dim[1]; y++)
            for (int x = 0; x < dim[2]; x++) {
                const double sum = sum_squares(f, around(c, across ? a->size : 1, dim[0]),
                                               around(y, across ? 1 : a->size, dim[1]),
                                               around(x, across ? 1 : a->size, dim[2]));
                *out++ = (float)(*in++ * pow(a->bias + scale * sum, -(double)a->beta));
            }
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__LRNParameter none = CAFFE__LRNPARAMETER__INIT;
    const Caffe__LRNParameter *message = im->param->lrn_param, *p = message ? message : &none;
    if (p->local_size > MAX_SIZE || p->local_size % 2 == 0)
        return q8_im_fail(im, Q8_EMODEL, message, "local_size",
                          "local_size is %u, but must be odd and at most %d", p->local_size,
                          MAX_SIZE);
    const bool within = p->norm_region == CAFFE__LRNPARAMETER__NORM_REGION__WITHIN_CHANNEL;
    q8_node *node = q8_im_node(im, &q8_op_lrn);
    if (!node)
        return q8_im_failed(im);
    *(q8_lrn_attr *)node->attr = (q8_lrn_attr){
        .region = within ? Q8_LRN_WITHIN_CHANNEL : Q8_LRN_ACROSS_CHANNELS,
        .size = (int)p->local_size,
        .alpha = p->alpha,
        .beta = p->beta,
        .bias = within ? 1 : p->k, /* Caffe has a fixed 1 within channels */
    };
    return Q8_OK;
}

const q8_op q8_op_lrn = {
    .type = "LRN",
    .caffe_types = (const char *const[]){"LRN", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_lrn_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits =
        "An odd `local_size`. `WITHIN_CHANNEL` has k = 1 whatever the file says, as in Caffe.",
};
