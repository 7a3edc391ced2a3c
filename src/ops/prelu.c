#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"PReLU", NULL};

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_prelu_attr, num_slope, 0, 0),
};

static size_t slope_count(const void *attr)
{
    const q8_prelu_attr *a = attr;
    return a->num_slope > 0 ? (size_t)a->num_slope : 0;
}

static const q8_weight_spec weights[] = {
    {"slope", false, slope_count},
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__PReLUParameter *p = im->param->prelu_param;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    q8_node *node = q8_im_node(im, &q8_op_prelu);
    if (!node)
        return q8_im_failed(im);
    q8_prelu_attr *a = node->attr;
    a->num_slope = p && p->channel_shared ? 1 : im->in_shape[0].dim[0];
    return q8_im_weight(im, node, 0, 0, &a->num_slope, 1);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_prelu_attr *a = node->attr;
    if (a->num_slope != 1 && a->num_slope != in[0].dim[0])
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d slopes for %d channels",
                       a->num_slope, in[0].dim[0]);
    return q8_unary_infer(node, in, out, err);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_prelu_attr *a = f->node->attr;
    const size_t plane = q8_shape_spatial(&f->in_shape[0]);
    const float *in = f->in[0];
    float *out = f->out[0];
    for (int c = 0; c < f->in_shape[0].dim[0]; c++) {
        const float slope = f->node->weight[0].data[a->num_slope > 1 ? c : 0];
        for (size_t i = 0; i < plane; i++, in++)
            *out++ = *in < 0 ? *in * slope : *in;
    }
    return Q8_OK;
}

/* With one slope it is a leaky ReLU. */
static bool as_activation(const q8_node *node, q8_arena *arena, q8_activation *act)
{
    const q8_prelu_attr *a = node->attr;
    return a->num_slope == 1 &&
           q8_make_activation(arena, act, Q8_ACT_LEAKY, node->weight[0].data, 1);
}

const q8_op q8_op_prelu = {
    .type = "PReLU",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_prelu_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_each,
    .as_activation = as_activation,
    .limits = "A slope per channel, or one for all of them (`channel_shared`).",
};
