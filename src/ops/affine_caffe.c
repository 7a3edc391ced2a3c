#include "ops/affine_caffe.h"

#include "ops/caffe_read.h"

static q8_code read_dims(q8_caffe_import *im, const void *message, int axis, int num_axes,
                         q8_affine_place *place)
{
    const q8_shape *x = &im->in_shape[0];
    int from = 0;
    q8_code code = q8_im_axis(im, message, "axis", axis, &from);
    if (code)
        return code;
    const int n = num_axes == -1 ? x->rank - from : num_axes;
    if (n < 0 || n > x->rank - from)
        return q8_im_fail(im, Q8_EMODEL, message, "num_axes",
                          "num_axes %d from axis %d on: the input has %d axes", num_axes, axis,
                          x->rank + 1);
    place->shape = q8_operand_shape(x, from, n);
    const bool per_channel = from == 0 && q8_shape_spatial(&place->shape) == 1;
    place->kind = per_channel ? Q8_PLACE_CHANNEL : Q8_PLACE_DIMS;
    return Q8_OK;
}

q8_code q8_read_affine_place(q8_caffe_import *im, const void *message, int axis, int num_axes,
                             q8_affine_place *place)
{
    if (im->n_in == 2) {
        place->kind = Q8_PLACE_BOTTOM;
        q8_code code =
            q8_read_bottom_operand(im, 1, message, axis, &im->in_shape[0], &place->operand);
        place->shape = place->operand.shape;
        return code;
    }
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    place->kind = Q8_PLACE_SHARED; /* Caffe ignores the axis then */
    return num_axes == 0 ? Q8_OK : read_dims(im, message, axis, num_axes, place);
}

q8_code q8_read_channel_weight(q8_caffe_import *im, q8_node *node, int slot, int index,
                               const q8_affine_place *place)
{
    const int channels = im->in_shape[0].dim[0];
    if (place->kind != Q8_PLACE_SHARED)
        return q8_im_weight(im, node, slot, index, &channels, 1);
    float *value, *all = q8_arena_array(im->arena, (size_t)channels, sizeof(*all));
    if (!all)
        return q8_fail_nomem(im->err);
    const int one = 1;
    q8_code code = q8_im_blob(im, index, &one, 1, &value);
    if (code)
        return code;
    for (int c = 0; c < channels; c++)
        all[c] = *value;
    q8_im_set_weight(node, slot, all, (size_t)channels);
    return Q8_OK;
}
