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

/** Where the blob is, for messages. */
typedef struct q8_blob_name {
    const q8_loc *loc;
    const char *layer;
    int index;
} q8_blob_name;

/**
 * fp32 data is borrowed, everything else converted into the arena. Shape and data must agree, and
 * every number must be finite.
 */
q8_code q8_blob_convert(q8_caffe_blob *blob, const q8_blob_source *source, const q8_blob_name *name,
                        q8_arena *arena, q8_err *err);

#endif
