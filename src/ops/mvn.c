/* Mean and variance of the picture at hand, over each channel or over all, are removed. */
#include <math.h>

#include "ops/broadcast_caffe.h"
#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_mvn_attr, normalize_variance, 0, 0),
    Q8_FIELD_INT(q8_mvn_attr, across_channels, 1, 0),
    Q8_FIELD_FLOAT(q8_mvn_attr, eps, 2, 0.0001F),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    static const Caffe__MVNParameter none = CAFFE__MVNPARAMETER__INIT;
    const Caffe__MVNParameter *p = im->param->mvn_param ? im->param->mvn_param : &none;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    const q8_shape *in = &im->in_shape[0];
    int tensor = im->in[0];
    if (in->rank < 3) { /* Caffe makes four axes of them, with 1 where there is none */
        const q8_shape shape = {3, {in->dim[0], in->rank > 1 ? in->dim[1] : 1, 1}};
        code = q8_add_reshape(im, "rank3", tensor, &shape, &tensor);
        if (code)
            return code;
    }
    q8_node *node = q8_im_node_of(im, &q8_op_mvn, 1, &tensor);
    if (!node)
        return q8_im_failed(im);
    *(q8_mvn_attr *)node->attr = (q8_mvn_attr){
        .normalize_variance = p->normalize_variance,
        .across_channels = p->across_channels,
        .eps = p->eps,
    };
    return Q8_OK;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    *out = *in;
    return q8_node_rank(node, 0, in, 3, err);
}

static void normalise(const q8_mvn_attr *a, const float *x, float *y, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i];
    const double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    const double deviation = sqrt(squares / (double)count) + a->eps;
    for (size_t i = 0; i < count; i++)
        y[i] = (float)((x[i] - mean) / (a->normalize_variance ? deviation : 1));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_mvn_attr *a = f->node->attr;
    const size_t count = q8_shape_count(&f->in_shape[0]);
    const size_t part = a->across_channels ? count : q8_shape_spatial(&f->in_shape[0]);
    for (size_t i = 0; i < count; i += part)
        normalise(a, f->in[0] + i, f->out[0] + i, part);
    return Q8_OK;
}

const q8_op q8_op_mvn = {
    .type = "MVN",
    .caffe_types = (const char *const[]){"MVN", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_mvn_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits = "A vector or a matrix is given Caffe's further axes of 1 by a Reshape.",
};
