#include <math.h>

#include "ops/affine.h"
#include "ops/batchnorm_caffe.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"BatchNorm", "BN", NULL};

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_batchnorm_attr, channels, 0, 0),
    Q8_FIELD_FLOAT(q8_batchnorm_attr, eps, 1, 0),
};

static size_t channel_count(const void *attr)
{
    const q8_batchnorm_attr *a = attr;
    return a->channels > 0 ? (size_t)a->channels : 0;
}

static const q8_weight_spec weights[Q8_BN_N_WEIGHTS] = {
    [Q8_BN_SLOPE] = {"slope", false, channel_count},
    [Q8_BN_MEAN] = {"mean", false, channel_count},
    [Q8_BN_VARIANCE] = {"variance", false, channel_count},
    [Q8_BN_BIAS] = {"bias", false, channel_count},
};

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
    double root = sqrt(w[Q8_BN_VARIANCE].data[channel] + attr->eps);
    if (root == 0)
        root = 0.0001;
    *a = w[Q8_BN_SLOPE].data[channel] / root;
    *b = w[Q8_BN_BIAS].data[channel] - *a * w[Q8_BN_MEAN].data[channel];
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
    .n_weights = Q8_BN_N_WEIGHTS,
    .from_caffe = q8_batchnorm_from_caffe,
    .infer = infer,
    .forward = forward,
    .as_affine = as_affine,
    .limits = "One input. The statistics stored in the model are used even with "
              "`use_global_stats: false`, with a warning. NVIDIA's five blobs (a scale and a bias "
              "behind the statistics) are read. `BN` with two blobs (SegNet) needs `bn_mode: "
              "INFERENCE`; with four (PSPNet) they are slope, bias, mean, variance. Refused: a "
              "variance that is not positive with eps added.",
};
