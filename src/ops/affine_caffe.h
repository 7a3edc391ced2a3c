/** What reading a Caffe Scale and a Caffe Bias have in common. */
#ifndef Q8_OPS_AFFINE_CAFFE_H
#define Q8_OPS_AFFINE_CAFFE_H

#include "ops/broadcast_caffe.h"

/** What the values of a Scale or Bias belong to. */
typedef struct q8_affine_place {
    enum {
        Q8_PLACE_SHARED,  /**< a single value for all elements */
        Q8_PLACE_CHANNEL, /**< one per channel */
        Q8_PLACE_DIMS,    /**< one per element of `shape` */
        Q8_PLACE_BOTTOM,  /**< they are bottom 1, at `operand` */
    } kind;
    q8_shape shape; /**< of the values, as in q8_operand */
    q8_operand operand;
} q8_affine_place;

/** `message` is the ScaleParameter or BiasParameter that says `axis` and `num_axes`. */
q8_code q8_read_affine_place(q8_caffe_import *im, const void *message, int axis, int num_axes,
                             q8_affine_place *place);

/** Blob `index`, one value per channel or a single one, as weight `slot`. */
q8_code q8_read_channel_weight(q8_caffe_import *im, q8_node *node, int slot, int index,
                               const q8_affine_place *place);

#endif
