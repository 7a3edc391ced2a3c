#include "ops/affine.h"
#include "ops/affine_caffe.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"Bias", NULL};

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_bias_attr, bias_data_size, 0, 0),
};

static size_t bias_count(const void *attr)
{
    const q8_bias_attr *a = attr;
    return a->bias_data_size > 0 ? (size_t)a->bias_data_size : 0;
}

static const q8_weight_spec weights[] = {
    {"bias", false, bias_count},
};

/* A Scale by 1 with this bias: ncnn's Bias takes a blob of rank 1 or 2 as one channel. */
static q8_code as_scale(q8_caffe_import *im, const q8_affine_place *place)
{
    const int channels = im->in_shape[0].dim[0];
    float *ones = q8_arena_array(im->arena, (size_t)channels, sizeof(*ones));
    q8_node *node = q8_im_node(im, &q8_op_scale);
    if (!node || !ones)
        return q8_im_failed(im);
    for (int c = 0; c < channels; c++)
        ones[c] = 1;
    q8_im_set_weight(node, 0, ones, (size_t)channels);
    *(q8_scale_attr *)node->attr = (q8_scale_attr){.scale_data_size = channels, .bias_term = 1};
    return q8_read_channel_weight(im, node, 1, 0, place);
}

static q8_code add_tensor(q8_caffe_import *im, const q8_affine_place *place)
{
    q8_operand bias = place->operand;
    int out;
    q8_code code = place->kind == Q8_PLACE_DIMS
                       ? q8_read_blob_operand(im, 0, "bias", &place->shape, &bias)
                       : Q8_OK;
    return code ? code : q8_add_binary(im, NULL, Q8_BINARY_ADD, im->in[0], bias.tensor, &out);
}

static q8_code from_caffe(q8_caffe_import *im)
{
    static const Caffe__BiasParameter defaults = CAFFE__BIAS_PARAMETER__INIT;
    const Caffe__BiasParameter *written = im->param->bias_param;
    const Caffe__BiasParameter *p = written ? written : &defaults;
    q8_affine_place place;
    q8_code code = q8_read_affine_place(im, written, p->axis, p->num_axes, &place);
    if (code)
        return code;
    if (place.kind == Q8_PLACE_BOTTOM || place.kind == Q8_PLACE_DIMS)
        return add_tensor(im, &place);
    if (im->in_shape[0].rank != 3)
        return as_scale(im, &place);
    q8_node *node = q8_im_node(im, &q8_op_bias);
    if (!node)
        return q8_im_failed(im);
    q8_bias_attr *a = node->attr;
    a->bias_data_size = im->in_shape[0].dim[0];
    return q8_read_channel_weight(im, node, 0, 0, &place);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_bias_attr *a = node->attr;
    char text[64];
    if (in[0].rank != 3)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "Bias needs an input of channels x height x width, not %s",
                       q8_shape_text(&in[0], text));
    return q8_affine_infer(node, a->bias_data_size, in, out, err);
}

static void factors(const q8_node *node, int channel, double *a, double *b)
{
    *a = 1;
    *b = node->weight[0].data[channel];
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

const q8_op q8_op_bias = {
    .type = "Bias",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_bias_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .as_affine = as_affine,
    .needs_rank3 = true,
    .limits = "One or two inputs. A value per channel or a single one is a Bias; any other `axis` "
              "and `num_axes`, and a second input, become a BinaryOp.",
};
