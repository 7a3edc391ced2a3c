/** Where a layer's weights come from: its own blobs, or those of a layer it shares them with. */
#ifndef Q8_IMPORT_WEIGHTS_H
#define Q8_IMPORT_WEIGHTS_H

#include "ops/caffe_import.h"

/** What was handed out for one layer. */
typedef struct q8_import_given {
    q8_caffe_blob *blob; /**< as far as asked for; unset ones have no data */
    int n_blobs;
    const q8_caffe_layer *user; /**< the first layer of this layer's name that has weights */
} q8_import_given;

typedef struct q8_import_weights {
    const q8_caffe_net *net;
    const q8_weight_source *source; /**< NULL: the net's own blobs */
    q8_arena *arena;
    q8_import_given *given; /**< by layer */
} q8_import_weights;

/** @param source NULL: the net's own blobs */
q8_code q8_import_weights_open(q8_import_weights *weights, const q8_caffe_net *net,
                               const q8_weight_source *source, q8_arena *arena, q8_err *err);

/** A q8_weight_source's get(); `user` is the q8_import_weights. */
q8_code q8_import_weights_get(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                              int n_dim, const float **data, q8_err *err);

#endif
