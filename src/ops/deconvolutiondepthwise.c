#include "ops/conv.h"
#include "ops/rows.h"

/* No Caffe type of its own: a Deconvolution with groups becomes one. */
const q8_op q8_op_deconvolutiondepthwise = {
    .type = "DeconvolutionDepthWise",
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_conv_attr),
    .fields = q8_deconv_fields,
    .n_fields = Q8_DECONV_N_FIELDS,
    .weights = q8_conv_weights,
    .n_weights = Q8_CONV_N_WEIGHTS,
    .infer = q8_deconv_infer,
    .forward = q8_deconv_forward,
    .linear = q8_deconv_linear,
    .activation = q8_conv_activation,
    .set_bias = q8_conv_set_bias,
    .needs_rank3 = true,
    .macs = q8_deconv_macs,
    .limits = "A Caffe `Deconvolution` with groups becomes this.",
};
