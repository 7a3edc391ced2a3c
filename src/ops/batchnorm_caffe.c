#include "ops/batchnorm_caffe.h"

#include <math.h>
#include <string.h>

#include "ops/affine.h"
#include "ops/caffe_read.h"
#include "ops/rows.h"

static q8_code read_blob(q8_caffe_import *im, int index, int count, float **data)
{
    return q8_im_blob(im, index, &count, 1, data);
}

/* Blob `index`, one value per channel, as weight `slot`. */
static q8_code read_weight(q8_caffe_import *im, q8_node *node, int slot, int index)
{
    const int channels = im->in_shape[0].dim[0];
    return q8_im_weight(im, node, slot, index, &channels, 1);
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

static q8_code check_variance(q8_caffe_import *im, const q8_node *node)
{
    const q8_batchnorm_attr *a = node->attr;
    for (int c = 0; c < a->channels; c++) {
        const float variance = node->weight[Q8_BN_VARIANCE].data[c];
        if (!(variance + a->eps > 0))
            return q8_im_fail(im, Q8_EMODEL, NULL, NULL,
                              "the variance of channel %d is %g, which with eps %g has no root", c,
                              (double)variance, (double)a->eps);
    }
    return Q8_OK;
}

static q8_node *new_batchnorm(q8_caffe_import *im, float eps)
{
    q8_node *node = q8_im_node(im, &q8_op_batchnorm);
    if (node)
        *(q8_batchnorm_attr *)node->attr =
            (q8_batchnorm_attr){.channels = im->in_shape[0].dim[0], .eps = eps};
    return node;
}

/* --- BatchNorm ------------------------------------------------------------------------------ */

/* Mean and variance are sums, to be divided by the third blob. */
static q8_code read_statistics(q8_caffe_import *im, q8_node *node)
{
    const int channels = im->in_shape[0].dim[0];
    float *mean, *variance, *factor;
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
        if (!isfinite(mean[c]) || !isfinite(variance[c]))
            return q8_im_fail(
                im, Q8_EMODEL, NULL, NULL,
                "mean and variance of channel %d, divided by the scale factor %g (its "
                "third blob), are %g and %g",
                c, (double)*factor, (double)mean[c], (double)variance[c]);
    }
    q8_im_set_weight(node, Q8_BN_MEAN, mean, (size_t)channels);
    q8_im_set_weight(node, Q8_BN_VARIANCE, variance, (size_t)channels);
    return Q8_OK;
}

/* NVIDIA's fork can put a Scale's two blobs behind the statistics. */
static q8_code read_batchnorm_weights(q8_caffe_import *im, q8_node *node, bool scale_bias)
{
    const int n_blobs = im->layer->n_blobs;
    if (n_blobs > 3 && n_blobs != 5)
        return q8_im_fail(im, Q8_EUNSUPPORTED, NULL, NULL,
                          "%d blobs: a BatchNorm has 3 (mean, variance, factor), or 5 with a scale "
                          "and a bias of its own",
                          n_blobs);
    const bool own = scale_bias || n_blobs == 5;
    q8_code code = read_statistics(im, node);
    if (!code)
        code = own ? read_weight(im, node, Q8_BN_SLOPE, 3) : set_constant(im, node, Q8_BN_SLOPE, 1);
    if (!code)
        code = own ? read_weight(im, node, Q8_BN_BIAS, 4) : set_constant(im, node, Q8_BN_BIAS, 0);
    return code;
}

static q8_code from_batchnorm(q8_caffe_import *im)
{
    static const Caffe__BatchNormParameter defaults = CAFFE__BATCH_NORM_PARAMETER__INIT;
    const Caffe__BatchNormParameter *written = im->param->batch_norm_param;
    const Caffe__BatchNormParameter *p = written ? written : &defaults;
    if (p->has_use_global_stats && !p->use_global_stats)
        q8_im_warn(im, written, "use_global_stats",
                   "use_global_stats is false: Caffe would use the statistics of each batch, "
                   "ncnn uses the stored ones");
    q8_node *node = new_batchnorm(im, p->eps);
    if (!node)
        return q8_im_failed(im);
    q8_code code = read_batchnorm_weights(im, node, p->scale_bias);
    return code ? code : check_variance(im, node);
}

/* --- BN ------------------------------------------------------------------------------------- */

/* SegNet's BN has 2 blobs, into which the statistics must have been folded. */
static q8_code from_segnet(q8_caffe_import *im, const Caffe__BNParameter *p)
{
    if (p->bn_mode != CAFFE__BNPARAMETER__BNMODE__INFERENCE)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param->bn_param, "bn_mode",
                          "this BN uses the statistics of each batch, which its 2 blobs do not "
                          "hold: compute them first (SegNet's compute_bn_statistics.py) and set "
                          "bn_mode: INFERENCE");
    q8_node *node = q8_im_node(im, &q8_op_scale);
    if (!node)
        return q8_im_failed(im);
    *(q8_scale_attr *)node->attr =
        (q8_scale_attr){.scale_data_size = im->in_shape[0].dim[0], .bias_term = 1};
    q8_code code = read_weight(im, node, 0, 0);
    return code ? code : read_weight(im, node, 1, 1);
}

/* PSPNet's BN has 4: slope, bias, mean, variance. */
static q8_code from_pspnet(q8_caffe_import *im, const Caffe__BNParameter *p)
{
    static const int slot[] = {Q8_BN_SLOPE, Q8_BN_BIAS, Q8_BN_MEAN, Q8_BN_VARIANCE};
    q8_node *node = new_batchnorm(im, p->eps);
    if (!node)
        return q8_im_failed(im);
    for (int i = 0; i < 4; i++) {
        q8_code code = read_weight(im, node, slot[i], i);
        if (code)
            return code;
    }
    return check_variance(im, node);
}

static q8_code from_bn(q8_caffe_import *im)
{
    static const Caffe__BNParameter defaults = CAFFE__BNPARAMETER__INIT;
    const Caffe__BNParameter *written = im->param->bn_param;
    const Caffe__BNParameter *p = written ? written : &defaults;
    const int n_blobs = im->layer->n_blobs;
    if (n_blobs != 0 && n_blobs != 2 && n_blobs != 4)
        return q8_im_fail(im, Q8_EUNSUPPORTED, NULL, NULL,
                          "%d blobs: a BN has 2 (SegNet: scale, shift) or 4 (PSPNet: slope, bias, "
                          "mean, variance)",
                          n_blobs);
    const bool says_segnet = p->has_bn_mode || p->scale_filler || p->shift_filler;
    const bool is_segnet = n_blobs ? n_blobs == 2 : says_segnet;
    return is_segnet ? from_segnet(im, p) : from_pspnet(im, p);
}

q8_code q8_batchnorm_from_caffe(q8_caffe_import *im)
{
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    return strcmp(im->layer->type, "BN") == 0 ? from_bn(im) : from_batchnorm(im);
}
