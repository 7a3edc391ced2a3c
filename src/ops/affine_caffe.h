/** What reading a Caffe Scale and a Caffe Bias have in common. */
#ifndef Q8_OPS_AFFINE_CAFFE_H
#define Q8_OPS_AFFINE_CAFFE_H

#include "ops/caffe_import.h"

/**
 * Fails unless the values of ScaleParameter or BiasParameter `message` are one per channel, or a
 * single one (num_axes 0): then `*shared` is true.
 */
q8_code q8_read_per_channel(q8_caffe_import *im, const void *message, int axis, int num_axes,
                            bool *shared);

/** Blob `index`, of one value per channel or of a single one, as weight `slot`. */
q8_code q8_read_channel_weight(q8_caffe_import *im, q8_node *node, int slot, int index,
                               bool shared);

#endif
