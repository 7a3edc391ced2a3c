#include "ops/conv.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"Deconvolution", NULL};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    q8_code code = q8_conv_check_no_group(node, err);
    return code ? code : q8_deconv_infer(node, in, out, err);
}

const q8_op q8_op_deconvolution = {
    .type = "Deconvolution",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_conv_attr),
    .fields = q8_deconv_fields,
    .n_fields = Q8_DECONV_N_FIELDS,
    .weights = q8_conv_weights,
    .n_weights = Q8_CONV_N_WEIGHTS,
    .from_caffe = q8_deconv_from_caffe,
    .infer = infer,
    .forward = q8_deconv_forward,
    .linear = q8_deconv_linear,
    .activation = q8_conv_activation,
    .set_bias = q8_conv_set_bias,
    .needs_rank3 = true,
    .macs = q8_deconv_macs,
    .limits = "As Convolution. With more than one group it becomes a DeconvolutionDepthWise.",
};
