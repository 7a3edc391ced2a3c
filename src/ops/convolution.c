#include "ops/conv.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"Convolution", NULL};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    q8_code code = q8_conv_check_no_group(node, err);
    return code ? code : q8_conv_infer(node, in, out, err);
}

static void set_int8(q8_node *node)
{
    q8_conv_attr *a = node->attr;
    a->int8_scale_term = node->quant->top_scale > 0 ? 102 : 2;
}

const q8_op q8_op_convolution = {
    .type = "Convolution",
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
    .from_caffe = q8_conv_from_caffe,
    .infer = infer,
    .forward = q8_conv_forward,
    .linear = q8_conv_linear,
    .window = q8_conv_window,
    .window_sums = q8_conv_window_sums,
    .activation = q8_conv_activation,
    .set_bias = q8_conv_set_bias,
    .set_int8 = set_int8,
    /* ncnn takes {c} only for 1x1 kernels, with a complaint on stderr, and in int8 not at all. */
    .needs_rank3 = true,
    .limits =
        "Two-dimensional: an input of channels x height x width and `axis: 1`. With more than "
        "one group it becomes a ConvolutionDepthWise. Refused: three or more kernel sizes, "
        "groups that do not divide the channels, a kernel that does not fit the padded input, "
        "padding of more than 1024. "
        "`force_nd_im2col` is ignored.",
};
