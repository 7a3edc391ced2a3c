#include <math.h>

#include "ops/affine.h"
#include "ops/caffe_read.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"BatchNorm", NULL};

enum { SLOPE, MEAN, VARIANCE, BIAS, N_WEIGHTS };

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_batchnorm_attr, channels, 0, 0),
    Q8_FIELD_FLOAT(q8_batchnorm_attr, eps, 1, 0),
};

static size_t channel_count(const void *attr)
{
    const q8_batchnorm_attr *a = attr;
    return a->channels > 0 ? (size_t)a->channels : 0;
}

static const q8_weight_spec weights[N_WEIGHTS] = {
    [SLOPE] = {"slope", false, channel_count},
    [MEAN] = {"mean", false, channel_count},
    [VARIANCE] = {"variance", false, channel_count},
    [BIAS] = {"bias", false, channel_count},
};

static q8_code read_blob(q8_caffe_import *im, int index, int count, float **data)
{
    return q8_im_blob(im, index, &count, 1, data);
}

static q8_code set_constant(q8_caffe_import *im, q8_node *node, int slot, float value)
{
    const size_t channels = (size_t)im->in_shape[0].dim[0];
    float *data = q8_arena_array(im->arena, channels, sizeof(*data));
    if (!data)
        return q8_fail_nomem(im->err);
    for (size_t c = 0; c < channels; c++)
        data[c] = value;
    q8_im_set_weight(node, slot, data, channels);
    return Q8_OK;
}

static q8_code read_weights(q8_caffe_import *im, q8_node *node)
{
    const int channels = im->in_shape[0].dim[0];
    float *mean, *variance, *factor;
    if (im->layer->n_blobs > 3)
        return q8_im_fail(
            im, Q8_EUNSUPPORTED, NULL, NULL,
            "%d blobs: a BatchNorm with a scale and a bias of its own is not supported",
            im->layer->n_blobs);
    q8_code code = read_blob(im, 0, channels, &mean);
    if (!code)
        code = read_blob(im, 1, channels, &variance);
    if (!code)
        code = read_blob(im, 2, 1, &factor);
    if (code)
        return code;
    const float scale = *factor == 0 ? 0 : 1 / *factor; /* in float, as Caffe does it */
    for (int c = 0; c < channels; c++) {
        mean[c] *= scale;
        variance[c] *= scale;
    }
    q8_im_set_weight(node, MEAN, mean, (size_t)channels);
    q8_im_set_weight(node, VARIANCE, variance, (size_t)channels);
    code = set_constant(im, node, SLOPE, 1);
    return code ? code : set_constant(im, node, BIAS, 0);
}

static q8_code check_variance(q8_caffe_import *im, const q8_node *node)
{
    const q8_batchnorm_attr *a = node->attr;
    for (int c = 0; c < a->channels; c++) {
        const float variance = node->weight[VARIANCE].data[c];
        if (!(variance + a->eps > 0))
            return q8_im_fail(im, Q8_EMODEL, NULL, NULL,
                              "the variance of channel %d is %g, which with eps %g has no root", c,
                              (double)variance, (double)a->eps);
    }
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    static const Caffe__BatchNormParameter defaults = CAFFE__BATCH_NORM_PARAMETER__INIT;
    const Caffe__BatchNormParameter *written = im->param->batch_norm_param;
    const Caffe__BatchNormParameter *p = written ? written : &defaults;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (p->has_use_global_stats && !p->use_global_stats)
        q8_im_warn(im, written, "use_global_stats",
                   "use_global_stats is false: Caffe would use the statistics of each batch, "
                   "ncnn uses the stored ones");
    q8_node *node = q8_im_node(im, &q8_op_batchnorm);
    if (!node)
        return q8_im_failed(im);
    q8_batchnorm_attr *a = node->attr;
    a->channels = im->in_shape[0].dim[0];
    a->eps = p->eps;
    code = read_weights(im, node);
    return code ? code : check_variance(im, node);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_batchnorm_attr *a = node->attr;
    return q8_affine_infer(node, a->channels, in, out, err);
}

static void factors(const q8_node *node, int channel, double *a, double *b)
{
    const q8_batchnorm_attr *attr = node->attr;
    const q8_weight *w = node->weight;
    /* The sum in float and 0.0001 for a root of 0 are ncnn's. */
    double root = sqrt(w[VARIANCE].data[channel] + attr->eps);
    if (root == 0)
        root = 0.0001;
    *a = w[SLOPE].data[channel] / root;
    *b = w[BIAS].data[channel] - *a * w[MEAN].data[channel];
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    q8_affine_forward(f, factors);
    return Q8_OK;
}

static bool as_affine(const q8_node *node, int channels, float *a, float *b)
{
    return q8_affine_fill(node, channels, factors, a, b);
}

const q8_op q8_op_batchnorm = {
    .type = "BatchNorm",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_batchnorm_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = N_WEIGHTS,
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .as_affine = as_affine,
};
