/** What the error estimate wants to know of a layer's weights, found once. */
#ifndef Q8_QUANT_WEIGHT_PARTS_H
#define Q8_QUANT_WEIGHT_PARTS_H

#include "quant/channel_classes.h"

/** Of one output's weights, for each of its inputs, over the kernel's taps. */
typedef struct q8_weight_row {
    const float *largest, *total; /**< the largest |w|, the sum of |w| */
    const float *sum, *power;     /**< the sum of w, of w^2 */
} q8_weight_row;

/** By node; a layer of one tap has no table, its weights say it all. */
typedef struct q8_weight_parts {
    const float *weights;
    float *table; /**< largest, total, sum and power one behind the other */
    size_t inputs, outputs;
} q8_weight_parts;

/** Those of all ::Q8_ROLE_LINEAR nodes. @param arena keeps the result */
q8_code q8_weight_parts_make(q8_weight_parts **parts, const q8_graph *graph,
                             const q8_channel_classes *classes, int threads, q8_arena *arena,
                             q8_err *err);

/** Floats that q8_weight_row_of() may need room for. */
static inline size_t q8_weight_row_room(const q8_weight_parts *parts)
{
    return 2 * parts->inputs;
}

/** Inputs `first` to `first + n - 1` of an output. @param room where they are worked out if there
 * is no table */
q8_weight_row q8_weight_row_of(const q8_weight_parts *parts, size_t output, size_t first, size_t n,
                               float *room);

#endif
