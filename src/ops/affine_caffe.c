#include "ops/affine_caffe.h"

#include "ops/caffe_read.h"

q8_code q8_read_per_channel(q8_caffe_import *im, const void *message, int axis, int num_axes,
                            bool *shared)
{
    q8_code code = q8_read_one_bottom(im);
    *shared = num_axes == 0; /* Caffe ignores the axis then */
    if (code || *shared)
        return code;
    code = q8_read_channel_axis(im, message, "axis", axis);
    if (code)
        return code;
    const bool rest_is_1 = q8_shape_spatial(&im->in_shape[0]) == 1;
    if (num_axes != 1 && !(num_axes == -1 && rest_is_1))
        return q8_im_fail(
            im, Q8_EUNSUPPORTED, message, "num_axes",
            "num_axes %d is not supported, only one value per channel (1) or a single "
            "value (0)",
            num_axes);
    return Q8_OK;
}

q8_code q8_read_channel_weight(q8_caffe_import *im, q8_node *node, int slot, int index, bool shared)
{
    const int channels = im->in_shape[0].dim[0];
    if (!shared)
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
