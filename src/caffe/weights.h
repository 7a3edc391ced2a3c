/** The caffemodel: which layers it has and their blobs. */
#ifndef Q8_CAFFE_WEIGHTS_H
#define Q8_CAFFE_WEIGHTS_H

#include "base/arena.h"
#include "base/err.h"
#include "weights.pb-c.h"

/** One layer that has a name, of any of the three generations. */
typedef struct q8_weights_layer {
    const char *name;
    Weights__Blob **blob;
    size_t n_blobs;
    size_t position;  /**< in the file */
    bool is_repeated; /**< the file has more layers of that name with blobs; this is the first */
} q8_weights_layer;

typedef struct q8_weights {
    q8_weights_layer *layer; /**< by name */
    size_t n_layers;
} q8_weights;

/**
 * Reads a caffemodel. Besides the file itself, while it is read, this takes at most four times its
 * size plus 64 MiB of memory (usually once its size), or refuses it.
 * @param path for messages, borrowed by them
 */
q8_code q8_weights_read(q8_weights *weights, const char *path, q8_arena *arena, q8_err *err);

/** The same from memory, which may be freed afterwards. */
q8_code q8_weights_parse(q8_weights *weights, const char *path, const unsigned char *data,
                         size_t size, q8_arena *arena, q8_err *err);

/** @return NULL when there is no layer of that name */
const q8_weights_layer *q8_weights_find(const q8_weights *weights, const char *name);

#endif
