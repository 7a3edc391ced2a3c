/** Interp's attributes, shared by the layer and what reads it from Caffe. */
#ifndef Q8_OPS_INTERP_H
#define Q8_OPS_INTERP_H

#include "ops/op.h"

enum { Q8_INTERP_NEAREST = 1, Q8_INTERP_BILINEAR = 2 };

typedef struct q8_interp_attr {
    int type; /**< one of the above */
    float scale_h, scale_w;
    int out_h, out_w;  /**< instead of the scales, unless one is 0 */
    int by_input;      /**< the size is a second input's: refused by infer() */
    int align_corners; /**< first and last pixels stay where they are */
} q8_interp_attr;

/** Along one axis, output i is (1 - part) * in[from] + part * in[from + 1]. */
typedef struct q8_interp_tap {
    int from;
    float part;
} q8_interp_tap;

/** @param axis 1: rows, 2: columns */
q8_interp_tap q8_interp_tap_of(const q8_interp_attr *a, const q8_shape *in, const q8_shape *out,
                               int axis, int i);

/** Reads DeepLab's Interp and the YOLO forks' Upsample. */
q8_code q8_interp_from_caffe(struct q8_caffe_import *im);

#endif
