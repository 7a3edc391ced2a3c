/**
 * A Caffe network as messages of today's form: V1 `layers` and `input:` headers are turned into
 * `layer` and Input layers, layers not meant for TEST are gone, and weights are found by name.
 */
#ifndef Q8_CAFFE_NET_H
#define Q8_CAFFE_NET_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"

enum { Q8_CAFFE_MAX_DIMS = 8 };

/** One weight blob of the caffemodel, converted to fp32. */
typedef struct q8_caffe_blob {
    int n_dim;
    long long dim[Q8_CAFFE_MAX_DIMS]; /**< `shape`, or legacy num, channels, height, width */
    const float *data;
    size_t count;
} q8_caffe_blob;

typedef struct q8_caffe_layer {
    const struct Caffe__LayerParameter *param;
    const char *name;          /**< never NULL; "" if the file gave none */
    const char *type;          /**< today's string form */
    q8_loc loc;                /**< of the layer's opening */
    const q8_caffe_blob *blob; /**< from the caffemodel; NULL when it has no such layer */
    int n_blobs;
} q8_caffe_layer;

typedef struct q8_caffe_net q8_caffe_net;
struct q8_caffe_net {
    const char *name; /**< of the network, "" if none */
    const char *proto_path, *model_path;
    q8_caffe_layer *layer;
    int n_layers;
    void *places; /**< private: where each field stood */
};

/**
 * Reads both files. Unknown fields are warned about once each and skipped.
 * @param model_path NULL: no weights (every layer has blob == NULL)
 * @param arena owns all that `*net` points to
 */
q8_code q8_caffe_read(q8_caffe_net **net, const char *proto_path, const char *model_path,
                      q8_arena *arena, const q8_env *env, q8_err *err);

/** The same from memory; `proto_path` is only for messages. */
q8_code q8_caffe_parse(q8_caffe_net **net, const char *proto_path, const char *text, size_t size,
                       q8_arena *arena, const q8_env *env, q8_err *err);

/**
 * Where a field was written: `message` is any message of the net, `field` a name of its schema,
 * `index` an element of a repeated field (0 otherwise). Falls back to the field's first element,
 * then to the message's own opening, and to an unknown place (file only) when none of them was
 * written. An Input layer made of an `input:` header has the places of the header.
 */
q8_loc q8_caffe_loc(const q8_caffe_net *net, const void *message, const char *field, int index);

#endif
