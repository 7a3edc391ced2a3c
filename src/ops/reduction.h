/** Attributes of Reduction. */
#ifndef Q8_OPS_REDUCTION_H
#define Q8_OPS_REDUCTION_H

#include "ops/op.h"

/** ncnn's key 0; it has more, which infer() refuses. */
typedef enum q8_reduce_type {
    Q8_REDUCE_SUM = 0,
    Q8_REDUCE_ASUM = 1, /**< of absolute values */
    Q8_REDUCE_SUMSQ = 2,
    Q8_REDUCE_MEAN = 3,
    Q8_REDUCE_MAX = 4,
    Q8_REDUCE_MIN = 5,
    Q8_REDUCE_PROD = 6,
    Q8_REDUCE_N_TYPES
} q8_reduce_type;

typedef struct q8_reduction_attr {
    int type;       /**< a ::q8_reduce_type */
    int reduce_all; /**< over the whole tensor; `axes` does not count then */
    float coeff;    /**< the result is multiplied by it */
    q8_ints axes;   /**< indices into q8_shape.dim; negative ones count from the end */
    int keepdims;   /**< reduced dims become 1 instead of going away */
    int fixed_axes; /**< ncnn's key 5: the axes mean what they say; always 1 */
} q8_reduction_attr;

/** Which axes a Reduction of this input goes over. */
q8_code q8_reduction_axes(const q8_node *node, const q8_shape *in, bool reduced[Q8_MAX_RANK],
                          q8_err *err);

/** Attributes that reduce the axes [from, to), as numbered in q8_shape.dim; NULL list: no memory.
 */
q8_reduction_attr q8_reduction_of(q8_arena *arena, q8_reduce_type type, int from, int to,
                                  bool keepdims);

#endif
