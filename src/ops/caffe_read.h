/** Checks that the from_caffe() of several layers share. */
#ifndef Q8_OPS_CAFFE_READ_H
#define Q8_OPS_CAFFE_READ_H

#include "ops/caffe_import.h"

/** Fails unless the layer has exactly one bottom, so that in_shape[0] may be looked at. */
q8_code q8_read_one_bottom(q8_caffe_import *im);

/** Fails unless a Caffe axis means dim[0], i.e. it is 1 or the same counted from the end. */
q8_code q8_read_channel_axis(q8_caffe_import *im, const void *message, const char *field,
                             int caffe_axis);

/** A uint32 field as an int that is at least `least` and small enough to compute with. */
q8_code q8_read_uint(q8_caffe_import *im, const void *message, const char *field, uint32_t value,
                     int least, int *result);

/** A number of a window: a padding, or a kernel, stride or dilation, which is at least 1. */
q8_code q8_read_window(q8_caffe_import *im, const void *message, const char *field, uint32_t value,
                       bool is_pad, int *result);

#endif
