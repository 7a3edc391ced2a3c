#include "ops/caffe_read.h"

/* Far more than any real layer has, and far from where sums of ints overflow. */
enum { LARGEST = 1 << 24 };

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

q8_code q8_read_uint(q8_caffe_import *im, const void *message, const char *field, uint32_t value,
                     int least, int *result)
{
    if (value < (uint32_t)least)
        return q8_im_fail(im, Q8_EMODEL, message, field, "%s is %u; it must be at least %d", field,
                          (unsigned)value, least);
    if (value > LARGEST)
        return q8_im_fail(im, Q8_EMODEL, message, field, "%s is %u; it must be at most %d", field,
                          (unsigned)value, LARGEST);
    *result = (int)value;
    return Q8_OK;
}
