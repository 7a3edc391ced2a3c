/**
 * What the four convolution kinds share: Convolution, ConvolutionDepthWise (any convolution with
 * groups, as in ncnn), Deconvolution and DeconvolutionDepthWise.
 */
#ifndef Q8_OPS_CONV_H
#define Q8_OPS_CONV_H

#include "ops/op.h"

/** Attributes of all four kinds. What a kind does not have stays at its default. */
typedef struct q8_conv_attr {
    int num_output;
    int kernel_w, kernel_h;
    int dilation_w, dilation_h;
    int stride_w, stride_h;
    int pad_left, pad_right, pad_top, pad_bottom; /**< a deconvolution cuts them off its output */
    int bias_term;
    int weight_data_size;
    int group;           /**< 1 for the two kinds without groups */
    int int8_scale_term; /**< convolutions only */
    q8_activation activation;
    float pad_value; /**< convolutions only; in quantised units when the node has `quant` */
    int output_pad_right, output_pad_bottom; /**< deconvolutions only */
    int output_w, output_h;                  /**< deconvolutions only: refused by infer unless 0 */
    int dynamic_weight;                      /**< weights from a second input: refused by infer */
} q8_conv_attr;

/* Members of the rows. */

enum { Q8_CONV_N_FIELDS = 19, Q8_DECONV_N_FIELDS = 21, Q8_CONV_N_WEIGHTS = 2 };

extern const q8_field q8_conv_fields[Q8_CONV_N_FIELDS];
extern const q8_field q8_deconv_fields[Q8_DECONV_N_FIELDS];
extern const q8_weight_spec q8_conv_weights[Q8_CONV_N_WEIGHTS];

q8_code q8_conv_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err);
q8_code q8_conv_forward(const q8_forward *f, q8_err *err);

/** Of one output element (y, x): the sum over `channels` of the input, which are one group's. */
typedef double (*q8_conv_sum)(const q8_conv_attr *attr, const q8_shape *shape, const float *in,
                              int channels, const float *weight, int y, int x);

/** An op's forward() that adds biases to these sums and applies the activation. */
q8_code q8_conv_forward_by(const q8_forward *f, q8_conv_sum sum);
bool q8_conv_linear(const q8_node *node, const q8_shape *in, q8_linear *view);
void q8_conv_window(const q8_node *node, const q8_shape *in, const float *x, size_t at, int group,
                    float *row);
void q8_conv_window_sums(const q8_node *node, const q8_shape *in, const float *x, double *sum);

q8_code q8_deconv_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err);
q8_code q8_deconv_forward(const q8_forward *f, q8_err *err);
bool q8_deconv_linear(const q8_node *node, const q8_shape *in, q8_linear *view);

/** For op->macs: every weight once per input position. */
long long q8_deconv_macs(const q8_node *node, const q8_shape *in, const q8_shape *out);

q8_activation *q8_conv_activation(q8_node *node);
void q8_conv_set_bias(q8_node *node);

/** For the two kinds that ignore ncnn's group key: fails when it is set all the same. */
q8_code q8_conv_check_no_group(const q8_node *node, q8_err *err);

/** Reads a Caffe convolution of either kind; the node's type depends on the group. */
q8_code q8_conv_from_caffe(struct q8_caffe_import *im);
/** The same where the group defaults to the channels, and num_output too. */
q8_code q8_conv_from_caffe_depthwise(struct q8_caffe_import *im);
q8_code q8_deconv_from_caffe(struct q8_caffe_import *im);

/**
 * Weights that `attr` needs for an input of `channels`: num_output * channels / group * kernel.
 * Group and channels must be positive. -1 when that is no size of a tensor.
 */
long long q8_conv_weight_count(const q8_conv_attr *attr, int channels);

/* Shared by conv.c and deconv.c. */

/** Checks all that does not depend on the kind: attributes, and that one input of rank 3 fits. */
q8_code q8_conv_check(const q8_node *node, const q8_shape *in, q8_err *err);

/** Pixels from the first to the last tap, inclusive. */
static inline long long q8_conv_extent(int kernel, int dilation)
{
    return (long long)dilation * (kernel - 1) + 1;
}

#endif
