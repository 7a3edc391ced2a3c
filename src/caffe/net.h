/**
 * A Caffe network as messages of today's form, as it is used and not as it is trained: V0 and V1
 * `layers` and `input:` headers are turned into `layer` and Input layers, layers not meant for TEST
 * are gone, layers that read data are Inputs, losses are gone or became what they contain, and
 * weights are found by name.
 */
#ifndef Q8_CAFFE_NET_H
#define Q8_CAFFE_NET_H

#include <stdbool.h>

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

/** Where a layer's weights are if not its own: another layer's, by a name they share. */
typedef struct q8_caffe_share {
    const struct q8_caffe_layer *owner; /**< NULL: not shared, or it is the first of that name */
    int index;                          /**< among the owner's blobs */
    bool is_permissive;                 /**< only the number of elements must agree */
    const char *name;
} q8_caffe_share;

typedef struct q8_caffe_layer {
    const struct Caffe__LayerParameter *param;
    const char *name;          /**< never NULL; "" if the file gave none */
    const char *type;          /**< today's string form */
    q8_loc loc;                /**< of the layer's opening */
    const q8_caffe_blob *blob; /**< from the caffemodel; NULL when it has no such layer */
    int n_blobs;               /**< one with no dims and no data is the owner's, see `share` */
    const q8_caffe_share *share;
    int n_shares;                           /**< `param` of it, by blob */
    const struct q8_caffe_layer *namesake;  /**< the first layer before it of that name, or NULL */
    struct Caffe__BlobShape *guessed_shape; /**< of an Input, where its channels are a guess */
} q8_caffe_layer;

/** A layer that the file has and the network in use has not. */
typedef struct q8_caffe_left_out {
    const struct Caffe__LayerParameter *param;
    const char *name;
    q8_loc loc;
} q8_caffe_left_out;

/**
 * What the prototxt says is done to a picture before the network sees it, by the first layer that
 * reads pictures: cropped, minus the mean, times the scale. Zeroed but for `scale` when not found.
 */
typedef struct q8_caffe_transform {
    bool found;                      /**< some of the fields below was written */
    float scale;                     /**< 1 when not written */
    const float *mean;               /**< mean_value, `n_mean` of them: one, or one per channel */
    int n_mean;                      /**< 0 when not written */
    const char *mean_file;           /**< as written (a .binaryproto), NULL when not */
    int crop_size;                   /**< 0 when not written */
    int resize_width, resize_height; /**< what pictures are resized to before the crop; 0 unknown */
    const char *input;               /**< the input (Caffe blob name) that it is about */
    q8_loc loc;                      /**< of transform_param, or of the older fields */
} q8_caffe_transform;

typedef struct q8_caffe_net q8_caffe_net;
struct q8_caffe_net {
    const char *name; /**< of the network, "" if none */
    const char *proto_path, *model_path;
    q8_caffe_layer *layer;
    int n_layers;
    const char **unwanted; /**< blobs that are no outputs though nothing reads them */
    int n_unwanted;
    q8_caffe_left_out *left_out; /**< by the rules of their phase, not by being dropped */
    int n_left_out;
    q8_caffe_transform transform;
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
