/** Caffe layers of two tensors of different shapes: both operands of a BinaryOp, and the node. */
#ifndef Q8_OPS_BROADCAST_CAFFE_H
#define Q8_OPS_BROADCAST_CAFFE_H

#include "ops/binaryop.h"
#include "ops/branch.h"

/** A tensor that BinaryOp spreads over another one of the same rank as `shape`. */
typedef struct q8_operand {
    int tensor;
    q8_shape shape; /**< its own dims where they lie in the other's, 1 elsewhere */
} q8_operand;

/**
 * Bottom `index` as an operand for `x`, as Caffe's Scale and Bias place it: its dims equal those of
 * `x` from `axis` on. A vector of one number per channel may have dims of 1 behind it.
 */
q8_code q8_read_bottom_operand(q8_caffe_import *im, int index, const void *message, int axis,
                               const q8_shape *x, q8_operand *operand);

/** Blob `index` of this shape as an operand, held by a constant named "<layer>_<suffix>". */
q8_code q8_read_blob_operand(q8_caffe_import *im, int index, const char *suffix,
                             const q8_shape *shape, q8_operand *operand);

/** A constant named "<layer>_<suffix>"; `data` is from the arena. `*out` is its tensor. */
q8_code q8_add_constant(q8_caffe_import *im, const char *suffix, const q8_shape *shape,
                        const float *data, int *out);

/** A Reshape named "<layer>_<suffix>". `*out` is its output. */
q8_code q8_add_reshape(q8_caffe_import *im, const char *suffix, int tensor, const q8_shape *shape,
                       int *out);

/** The dims [from, from + n) of `x`, with 1 elsewhere. */
q8_shape q8_operand_shape(const q8_shape *x, int from, int n);

/**
 * A BinaryOp of tensors `a` and `b`: the layer's last node if `suffix` is NULL, otherwise one named
 * "<layer>_<suffix>". `*out` is its output.
 */
q8_code q8_add_binary(q8_caffe_import *im, const char *suffix, q8_binary_type type, int a, int b,
                      int *out);

#endif
