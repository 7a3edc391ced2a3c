#include "ops/conv.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"ConvolutionDepthWise", "ConvolutionDepthwise",
                                          "DepthwiseConvolution", NULL};

/* 1: a weight scale per group, 2: a single one; 100 more: the output is int8 too. */
static void set_int8(q8_node *node)
{
    q8_conv_attr *a = node->attr;
    const int term = node->quant->n_weight_scales == (size_t)a->group ? 1 : 2;
    a->int8_scale_term = node->quant->top_scale > 0 ? 100 + term : term;
}

const q8_op q8_op_convolutiondepthwise = {
    .type = "ConvolutionDepthWise",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_conv_attr),
    .fields = q8_conv_fields,
    .n_fields = Q8_CONV_N_FIELDS,
    .weights = q8_conv_weights,
    .n_weights = Q8_CONV_N_WEIGHTS,
    .from_caffe = q8_conv_from_caffe_depthwise,
    .infer = q8_conv_infer,
    .forward = q8_conv_forward,
    .linear = q8_conv_linear,
    .window = q8_conv_window,
    .window_sums = q8_conv_window_sums,
    .activation = q8_conv_activation,
    .set_bias = q8_conv_set_bias,
    .set_int8 = set_int8,
    .needs_rank3 = true,
    .limits =
        "Any convolution with groups. Of the Caffe types, `num_output` and `group` default to "
        "the number of input channels. In int8 files, groups of 8, 16, ... outputs are one "
        "Convolution each between a Slice and a Concat, since ncnn on x86 miscomputes them "
        "together; groups of little work stay float. For the rest see Convolution.",
};
