/* Constant padding of height and width, which Pooling needs where ncnn's own cannot do what Caffe
 * does. */
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_padding_attr, top, 0, 0),         Q8_FIELD_INT(q8_padding_attr, bottom, 1, 0),
    Q8_FIELD_INT(q8_padding_attr, left, 2, 0),        Q8_FIELD_INT(q8_padding_attr, right, 3, 0),
    Q8_FIELD_INT(q8_padding_attr, type, 4, 0),        Q8_FIELD_FLOAT(q8_padding_attr, value, 5, 0),
    Q8_FIELD_INT(q8_padding_attr, per_channel, 6, 0), Q8_FIELD_INT(q8_padding_attr, front, 7, 0),
    Q8_FIELD_INT(q8_padding_attr, behind, 8, 0),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_padding_attr *a = node->attr;
    static const char *const side[] = {"top", "bottom", "left", "right"};
    const int pad[] = {a->top, a->bottom, a->left, a->right};
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (a->type || a->per_channel || a->front || a->behind)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "only padding of height and width by one value is supported");
    for (int i = 0; i < 4 && !code; i++)
        code = q8_node_pad(node, side[i], pad[i], err);
    if (code)
        return code;
    if (in->dim[1] > Q8_MAX_EXTENT || in->dim[2] > Q8_MAX_EXTENT)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "an input of %dx%d; " Q8_LIMIT,
                       in->dim[1], in->dim[2], Q8_LIMIT_OF(Q8_MAX_EXTENT));
    out[0] = (q8_shape){
        3, {in->dim[0], in->dim[1] + a->top + a->bottom, in->dim[2] + a->left + a->right}};
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_padding_attr *a = f->node->attr;
    const int in_h = f->in_shape[0].dim[1], in_w = f->in_shape[0].dim[2];
    const float *in = f->in[0];
    float *out = f->out[0];
    for (int c = 0; c < f->out_shape[0].dim[0]; c++)
        for (int y = 0; y < f->out_shape[0].dim[1]; y++)
            for (int x = 0; x < f->out_shape[0].dim[2]; x++) {
                const bool inside =
                    y >= a->top && y < a->top + in_h && x >= a->left && x < a->left + in_w;
                *out++ = inside ? *in++ : a->value;
            }
    return Q8_OK;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    const q8_padding_attr *a = node->attr;
    (void)in;
    return a->value == 0 ? Q8_CHANNELS_LINEAR : Q8_CHANNELS_FIXED;
}

const q8_op q8_op_padding = {
    .type = "Padding",
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_padding_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .is_identity = q8_same_shape,
    .needs_rank3 = true,
    .limits = "Made of average pooling whose windows reach past the padding.",
};
