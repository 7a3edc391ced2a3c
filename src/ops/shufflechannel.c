/* Interleaves groups of channels: a transposition of {group, channels / group}. */
#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_shufflechannel_attr, group, 0, 1),
    Q8_FIELD_INT(q8_shufflechannel_attr, reverse, 1, 0),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_shufflechannel_attr *a = node->attr;
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (a->group < 1 || in->dim[0] % a->group)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d channels cannot be cut into %d groups", in->dim[0], a->group);
    out[0] = in[0];
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_shufflechannel_attr *a = f->node->attr;
    const int channels = f->in_shape[0].dim[0];
    const int groups = a->reverse ? channels / a->group : a->group;
    const int per_group = channels / groups;
    const size_t plane = q8_shape_spatial(&f->in_shape[0]);
    for (int c = 0; c < channels; c++) {
        const size_t to = (size_t)(c % per_group) * (size_t)groups + (size_t)(c / per_group);
        memcpy(f->out[0] + to * plane, f->in[0] + (size_t)c * plane, plane * sizeof(float));
    }
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)out;
    const q8_shufflechannel_attr *a = node->attr;
    return a->group == 1 || a->group == in->dim[0];
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ShuffleChannelParameter none = CAFFE__SHUFFLE_CHANNEL_PARAMETER__INIT;
    const Caffe__ShuffleChannelParameter *message = im->param->shuffle_channel_param;
    const Caffe__ShuffleChannelParameter *p = message ? message : &none;
    q8_node *node = q8_im_node(im, &q8_op_shufflechannel);
    if (!node)
        return q8_im_failed(im);
    q8_shufflechannel_attr *a = node->attr;
    return q8_read_uint(im, message, "group", p->group, 1, &a->group);
}

const q8_op q8_op_shufflechannel = {
    .type = "ShuffleChannel",
    .caffe_types = (const char *const[]){"ShuffleChannel", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_shufflechannel_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits = "The groups must divide the channels.",
};
