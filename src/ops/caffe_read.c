#include "ops/caffe_read.h"

q8_code q8_read_one_bottom(q8_caffe_import *im)
{
    if (im->n_in != 1)
        return q8_im_fail(im, im->n_in == 0 ? Q8_EMODEL : Q8_EUNSUPPORTED, im->param, "bottom",
                          "%s with %d bottoms is not supported, only with one", im->layer->type,
                          im->n_in);
    return Q8_OK;
}

q8_code q8_read_channel_axis(q8_caffe_import *im, const void *message, const char *field,
                             int caffe_axis)
{
    int axis = 0;
    q8_code code = q8_im_axis(im, message, field, caffe_axis, &axis);
    if (!code && axis != 0)
        code = q8_im_fail(im, Q8_EUNSUPPORTED, message, field,
                          "%s over axis %d is not supported, only over axis 1 (the channels)",
                          im->layer->type, caffe_axis);
    return code;
}

static q8_code read_number(q8_caffe_import *im, const void *message, const char *field,
                           uint32_t value, int least, long long most, const char *limit,
                           int *result)
{
    if (value < (uint32_t)least)
        return q8_im_fail(im, Q8_EMODEL, message, field, "%s is %u; it must be at least %d", field,
                          (unsigned)value, least);
    if (value > most)
        return q8_im_fail(im, Q8_EMODEL, message, field, "%s is %u; " Q8_LIMIT, field,
                          (unsigned)value, most, limit);
    *result = (int)value;
    return Q8_OK;
}

q8_code q8_read_uint(q8_caffe_import *im, const void *message, const char *field, uint32_t value,
                     int least, int *result)
{
    return read_number(im, message, field, value, least, Q8_LIMIT_OF(Q8_MAX_EXTENT), result);
}

q8_code q8_read_window(q8_caffe_import *im, const void *message, const char *field, uint32_t value,
                       bool is_pad, int *result)
{
    if (is_pad)
        return read_number(im, message, field, value, 0, Q8_LIMIT_OF(Q8_MAX_PADDING), result);
    return q8_read_uint(im, message, field, value, 1, result);
}
