/** Weight blobs as they are stored, in any of their forms, to fp32. */
#ifndef Q8_CAFFE_BLOB_H
#define Q8_CAFFE_BLOB_H

#include "caffe/net.h"

/** What the messages of a caffemodel and of a prototxt have in common. All borrowed. */
typedef struct q8_blob_source {
    bool has_shape, has_legacy;
    const int64_t *dim; /**< of the shape */
    size_t n_dim;
    int legacy[4]; /**< num, channels, height, width */
    const float *data;
    size_t n_data;
    const double *double_data;
    size_t n_double_data;
    const unsigned char *raw; /**< NVIDIA's fork: numbers as bytes, NULL when there are none */
    size_t raw_size;
    int raw_type;
} q8_blob_source;

/** Designated initialisers of a q8_blob_source from any of the schemas' blob messages. */
#define Q8_BLOB_SOURCE(b)                                                                          \
    .has_shape = (b)->shape != NULL,                                                               \
    .has_legacy = (b)->has_num || (b)->has_channels || (b)->has_height || (b)->has_width,          \
    .dim = (b)->shape ? (b)->shape->dim : NULL, .n_dim = (b)->shape ? (b)->shape->n_dim : 0,       \
    .legacy = {(b)->num, (b)->channels, (b)->height, (b)->width}, .data = (b)->data,               \
    .n_data = (b)->n_data, .double_data = (b)->double_data, .n_double_data = (b)->n_double_data

/** Where the blob is, for messages. */
typedef struct q8_blob_name {
    const q8_loc *loc; /**< of the layer, or of a file that has one blob only */
    const char *layer;
    int index;
    const char *file; /**< it is in, where that is another than the layer's; NULL: it is not */
} q8_blob_name;

/**
 * fp32 data is borrowed, everything else converted into the arena. Shape and data must agree, and
 * every number must be finite.
 */
q8_code q8_blob_convert(q8_caffe_blob *blob, const q8_blob_source *source, const q8_blob_name *name,
                        q8_arena *arena, q8_err *err);

#endif
