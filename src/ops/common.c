#include "ops/common.h"

#include <string.h>

q8_code q8_node_axis(const q8_node *node, const q8_shape *shape, int axis, int *index, q8_err *err)
{
    const int positive = axis < 0 ? axis + shape->rank : axis;
    if (positive < 0 || positive >= shape->rank)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "axis %d is out of range: the input has %d dimensions", axis, shape->rank);
    *index = positive;
    return Q8_OK;
}

q8_code q8_node_rank(const q8_node *node, int index, const q8_shape *shape, int rank, q8_err *err)
{
    char text[64];
    if (shape->rank == rank)
        return Q8_OK;
    return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                   "input %d has the shape %s, but %s needs %d dimensions", index,
                   q8_shape_text(shape, text), node->op->type, rank);
}

q8_code q8_node_pad(const q8_node *node, const char *side, int pad, q8_err *err)
{
    if (pad < 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s pad is %d; it must be at least 0", side, pad);
    if (pad > Q8_MAX_PADDING)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%s pad is %d; " Q8_LIMIT, side, pad,
                       Q8_LIMIT_OF(Q8_MAX_PADDING));
    return Q8_OK;
}

void q8_axis_split(const q8_shape *shape, int axis, size_t *outer, size_t *inner)
{
    *outer = *inner = 1;
    for (int i = 0; i < axis; i++)
        *outer *= (size_t)shape->dim[i];
    for (int i = axis + 1; i < shape->rank; i++)
        *inner *= (size_t)shape->dim[i];
}

bool q8_same_shape(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)node;
    return q8_shape_equal(&in[0], &out[0]);
}

q8_channel_rule q8_channels_move(const q8_node *node, const q8_shape *in)
{
    (void)node;
    (void)in;
    return Q8_CHANNELS_MOVE;
}

q8_channel_rule q8_channels_each(const q8_node *node, const q8_shape *in)
{
    (void)node;
    (void)in;
    return Q8_CHANNELS_EACH;
}

q8_code q8_copy_forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    memcpy(f->out[0], f->in[0], q8_shape_count(&f->in_shape[0]) * sizeof(float));
    return Q8_OK;
}
