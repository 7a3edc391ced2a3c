#include "ops/affine.h"
#include "ops/affine_caffe.h"
#include "ops/rows.h"

static const char *const caffe_types[] = {"Scale", NULL};

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_scale_attr, scale_data_size, 0, 0),
    Q8_FIELD_INT(q8_scale_attr, bias_term, 1, 0),
};

static size_t scale_count(const void *attr)
{
    const q8_scale_attr *a = attr;
    return a->scale_data_size > 0 ? (size_t)a->scale_data_size : 0;
}

static size_t bias_count(const void *attr)
{
    const q8_scale_attr *a = attr;
    return a->bias_term ? scale_count(attr) : 0;
}

static const q8_weight_spec weights[] = {
    {"scale", false, scale_count},
    {"bias", false, bias_count},
};

/* Factors that are a tensor; the bias, of the same shape, is a blob in any case. */
static q8_code scale_by_tensor(q8_caffe_import *im, const q8_affine_place *place, bool bias_term)
{
    q8_operand factor = place->operand, bias;
    int tensor = im->in[0];
    const bool is_blob = place->kind == Q8_PLACE_DIMS;
    q8_code code = is_blob ? q8_read_blob_operand(im, 0, "factors", &place->shape, &factor) : Q8_OK;
    if (!code)
        code = q8_add_binary(im, bias_term ? "scaled" : NULL, Q8_BINARY_MUL, tensor, factor.tensor,
                             &tensor);
    if (code || !bias_term)
        return code;
    code = q8_read_blob_operand(im, is_blob ? 1 : 0, "bias", &place->shape, &bias);
    return code ? code : q8_add_binary(im, NULL, Q8_BINARY_ADD, tensor, bias.tensor, &tensor);
}

static q8_code from_caffe(q8_caffe_import *im)
{
    static const Caffe__ScaleParameter defaults = CAFFE__SCALE_PARAMETER__INIT;
    const Caffe__ScaleParameter *written = im->param->scale_param;
    const Caffe__ScaleParameter *p = written ? written : &defaults;
    q8_affine_place place;
    q8_code code = q8_read_affine_place(im, written, p->axis, p->num_axes, &place);
    if (code)
        return code;
    if (place.kind == Q8_PLACE_BOTTOM || place.kind == Q8_PLACE_DIMS)
        return scale_by_tensor(im, &place, p->bias_term);
    q8_node *node = q8_im_node(im, &q8_op_scale);
    if (!node)
        return q8_im_failed(im);
    q8_scale_attr *a = node->attr;
    a->scale_data_size = im->in_shape[0].dim[0];
    a->bias_term = p->bias_term ? 1 : 0;
    code = q8_read_channel_weight(im, node, 0, 0, &place);
    if (!code && a->bias_term)
        code = q8_read_channel_weight(im, node, 1, 1, &place);
    return code;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_scale_attr *a = node->attr;
    if (a->scale_data_size == -233)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "factors that come from another layer are not supported");
    return q8_affine_infer(node, a->scale_data_size, in, out, err);
}

static void factors(const q8_node *node, int channel, double *a, double *b)
{
    const q8_scale_attr *attr = node->attr;
    *a = node->weight[0].data[channel];
    *b = attr->bias_term ? node->weight[1].data[channel] : 0;
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

static void set_bias(q8_node *node)
{
    q8_scale_attr *a = node->attr;
    a->bias_term = 1;
}

const q8_op q8_op_scale = {
    .type = "Scale",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_scale_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .as_affine = as_affine,
    .set_bias = set_bias,
    .limits = "One or two inputs. A factor per channel or a single one is a Scale; any other "
              "`axis` and `num_axes`, and a second input, become BinaryOps. A second input of one "
              "number per channel may be N x C or N x C x 1 x 1.",
};
