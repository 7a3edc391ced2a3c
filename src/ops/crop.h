/** Crop's attributes, for other layers that are rewritten to one. */
#ifndef Q8_OPS_CROP_H
#define Q8_OPS_CROP_H

#include "ops/op.h"

/** An out_* of Q8_CROP_REST is what the offset and the end leave. */
enum { Q8_CROP_REST = -233 };

/** Keys of ncnn's Crop; those of three more ways to say the same are refused. */
typedef struct q8_crop_attr {
    int offset_w, offset_h, offset_c, offset_d;
    int out_w, out_h, out_c,
        out_d; /**< with one input: the rest, or a size that is cut at the end */
    int end_w, end_h, end_c, end_d; /**< with one input: left out at the end */
    q8_ints starts, ends, axes;
} q8_crop_attr;

#endif
