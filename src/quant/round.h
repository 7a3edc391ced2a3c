/** Error-compensating rounding of weights. */
#ifndef Q8_QUANT_ROUND_H
#define Q8_QUANT_ROUND_H

#include <stddef.h>

#include "base/err.h"

/** Outputs that are rounded at once, at most. */
enum { Q8_ROUND_OUTPUTS = 64 };

/** What weights are rounded against; n x n matrices with rows `stride` apart, a multiple of 16. */
typedef struct q8_rounding {
    int n, stride;
    const float *own;    /**< G: moments of the int8 network's inputs */
    const float *cross;  /**< C^T: of the float network's inputs with those */
    const float *factor; /**< U of U^T U = G + damping I, see q8_factorise(); NULL: start from
                              nearest rounding */
    float damping;       /**< d: weight of the squared distance to the float weights */
    int weight_limit;    /**< of |q_i|; no w * scale may be further than that from 0 */
    long long sum_limit; /**< of an output's sum |q_i| */
} q8_rounding;

/** Outputs with their weights, n in a row. */
typedef struct q8_round_outputs {
    int count; /**< at most Q8_ROUND_OUTPUTS */
    const float *w;
    signed char *q;
    size_t stride;      /**< from one output's first weight to the next one's, in `w` and in `q` */
    const float *scale; /**< by output: q / scale stands for w */
} q8_round_outputs;

/** Floats of memory that q8_round_compensated() needs. */
size_t q8_round_room(int stride);

/**
 * Chooses integers q near w * scale with a small mean squared error of the output,
 *
 *     E |sum_i q_i / scale * xq_i - w_i * x_i|^2 + d |q / scale - w|^2
 *         = |U q / scale - y|^2 + const,   U^T y = C w + d w,
 *
 * first from the last weight to the first, each making up for the ones before it (L. Babai's
 * nearest plane, 1986; for weights E. Frantar et al., "GPTQ", ICLR 2023, where the inputs of both
 * networks are taken to be the same); then by coordinate descent: each q_i in turn goes where the
 * error is least with the others held, until none moves. That is a local minimum: for about one
 * output in 400 it is above nearest rounding's error (tests/unit/test_properties.c).
 * @param room aligned to 64 bytes
 */
q8_code q8_round_compensated(const q8_rounding *r, const q8_round_outputs *o, float *room,
                             q8_err *err);

#endif
