/**
 * What an op's from_caffe() is given and may call: one Caffe layer, its weights, its input shapes,
 * and a graph to add nodes to.
 *
 * A from_caffe() typically is:
 *
 *     q8_node *n = q8_im_node(im, &q8_op_softmax);   // inputs and outputs already connected
 *     if (!n) return q8_im_failed(im);
 *     struct softmax *a = n->attr;
 *     return q8_im_axis(im, p, "axis", p->axis, &a->axis);
 *
 * A layer that needs several nodes calls q8_im_chain() for the further ones: each takes over the
 * last node's output and feeds the layer's top.
 */
#ifndef Q8_OPS_CAFFE_IMPORT_H
#define Q8_OPS_CAFFE_IMPORT_H

#include "caffe.pb-c.h"
#include "caffe/net.h"
#include "ops/op.h"

/** Where weights come from: a caffemodel, or (tests, benchmarks) a generator. */
typedef struct q8_weight_source {
    void *user;
    /** Blob `index` of `layer`, expected to have `n_dim` dims; `*data` from the arena or borrowed.
     */
    q8_code (*get)(void *user, const q8_caffe_layer *layer, int index, const int *dim, int n_dim,
                   const float **data, q8_err *err);
} q8_weight_source;

typedef struct q8_caffe_import {
    const q8_caffe_net *net;
    const q8_caffe_layer *layer;        /**< at hand */
    const Caffe__LayerParameter *param; /**< layer->param; sub-messages may be NULL */
    q8_graph *graph;
    q8_arena *arena;
    const q8_env *env;
    q8_err *err;
    const q8_weight_source *weights;
    int n_in, n_out;
    const int *in;                  /**< tensors of the layer's bottoms */
    const q8_shape *in_shape;       /**< their shapes, without the batch */
    int *out;                       /**< tensors of the layer's tops, already added */
    q8_node *last;                  /**< node made last for this layer */
    struct q8_sequences *sequences; /**< see ops/sequence.h; NULL: there are none */
} q8_caffe_import;

/** The code of the error in im->err, or ::Q8_ENOMEM if none was recorded: for `return`. */
q8_code q8_im_failed(q8_caffe_import *im);

/** Fails at a field of a message: its file:line:column, or the layer's where it was not written.
 *  `message` and `field` may be NULL: the layer itself. */
q8_code q8_im_fail(q8_caffe_import *im, q8_code code, const void *message, const char *field,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/** The same at element `index` of a repeated field. */
q8_code q8_im_fail_at(q8_caffe_import *im, q8_code code, const void *message, const char *field,
                      int index, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void q8_im_warn(q8_caffe_import *im, const void *message, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/** A node named after the layer, reading all bottoms and making all tops. NULL: see q8_im_failed().
 */
q8_node *q8_im_node(q8_caffe_import *im, const q8_op *op);

/** A further node (one input, one output) after im->last, named "<layer>_<suffix>". */
q8_node *q8_im_chain(q8_caffe_import *im, const q8_op *op, const char *suffix);

/** The node that makes a tensor; NULL: none does. */
const q8_node *q8_im_maker(const q8_caffe_import *im, int tensor);

/** A Caffe axis (0 is the batch, negative counts from the end) of bottom 0 as an index into
 *  q8_shape.dim. An axis out of range or the batch axis is an error at `field`. */
q8_code q8_im_axis(q8_caffe_import *im, const void *message, const char *field, int caffe_axis,
                   int *axis);

/** Blob `index` of the layer as weight `slot` of `node`. The blob must hold dim[0]*…*dim[n-1]
 *  values; dims of 1 may be missing or extra, as in legacy 4-dim blobs. */
q8_code q8_im_weight(q8_caffe_import *im, q8_node *node, int slot, int index, const int *dim,
                     int n_dim);

/** The same, into memory of the arena that the caller may change (reorder, divide). */
q8_code q8_im_blob(q8_caffe_import *im, int index, const int *dim, int n_dim, float **data);

/** Sets weight `slot` to arena data. */
void q8_im_set_weight(q8_node *node, int slot, const float *data, size_t count);

/** An int / float list in the arena; NULL `v`: out of memory, recorded. */
q8_ints q8_im_ints(q8_caffe_import *im, const int *v, int n);
q8_floats q8_im_floats(q8_caffe_import *im, const float *v, int n);

#endif
