/** Pooling's attributes, which backends read too. */
#ifndef Q8_OPS_POOLING_H
#define Q8_OPS_POOLING_H

#include "ops/op.h"

typedef enum q8_pool_type { Q8_POOL_MAX = 0, Q8_POOL_AVE = 1 } q8_pool_type;

typedef enum q8_pool_mode {
    Q8_POOL_FULL = 0,  /**< as many further rows and columns as the last window needs */
    Q8_POOL_VALID = 1, /**< a last window that does not fit is left out */
} q8_pool_mode;

/** ncnn's keys, all of them; infer() refuses what is not one of the modes above. */
typedef struct q8_pooling_attr {
    int type; /**< a ::q8_pool_type */
    int kernel_w, kernel_h;
    int stride_w, stride_h;
    int pad_left, pad_right, pad_top, pad_bottom;
    int global_pooling;    /**< over the whole input; the keys above do not count then */
    int mode;              /**< a ::q8_pool_mode */
    int count_include_pad; /**< averages divide by the kernel's size, not by the real elements */
    int adaptive, out_w, out_h;
} q8_pooling_attr;

/** Reads Caffe's SPP, which becomes several Poolings. */
q8_code q8_spp_from_caffe(struct q8_caffe_import *im);

/** How one dimension is walked over; see q8_pooling_axes(). */
typedef struct q8_pool_axis {
    int in, kernel, stride;
    int before, after; /**< padding, with what ::Q8_POOL_FULL adds */
    int out;
} q8_pool_axis;

/**
 * The resolved windows of a pooling that infer() accepted, for inputs {c,h,w}: window i covers
 * elements [i*stride - before, i*stride - before + kernel) of which those inside [0, in) exist.
 * A global pooling has one window over all.
 */
void q8_pooling_axes(const q8_pooling_attr *a, const q8_shape *in, q8_pool_axis *h,
                     q8_pool_axis *w);

#endif
