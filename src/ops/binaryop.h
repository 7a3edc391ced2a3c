/** Attributes of BinaryOp, and how two shapes meet in it. */
#ifndef Q8_OPS_BINARYOP_H
#define Q8_OPS_BINARYOP_H

#include "ops/op.h"

/** ncnn's key 0; it has more, which infer() refuses. */
typedef enum q8_binary_type {
    Q8_BINARY_ADD = 0,
    Q8_BINARY_SUB = 1,
    Q8_BINARY_MUL = 2,
    Q8_BINARY_DIV = 3,
    Q8_BINARY_MAX = 4,
    Q8_BINARY_MIN = 5,
    Q8_BINARY_POW = 6,
    Q8_BINARY_RSUB = 7, /**< b - a */
    Q8_BINARY_RDIV = 8, /**< b / a */
    Q8_BINARY_N_TYPES
} q8_binary_type;

typedef struct q8_binaryop_attr {
    int type;        /**< a ::q8_binary_type */
    int with_scalar; /**< the second operand is `b`, not an input */
    float b;
} q8_binaryop_attr;

/**
 * ncnn's broadcasting. The operand of lower rank gets dims of 1 behind its own, except that a
 * vector that does not fit the other's dim[0] lies along the last one. Then dims of 1 repeat.
 * Fails, without a message, where dims differ and neither is 1.
 */
bool q8_broadcast(const q8_shape *a, const q8_shape *b, q8_shape *out);

/** How far a step along each dim of `out` goes in an operand of this shape: 0 along a dim of 1. */
void q8_broadcast_steps(const q8_shape *shape, const q8_shape *out, size_t step[Q8_MAX_RANK]);

#endif
