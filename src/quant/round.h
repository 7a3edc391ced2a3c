/** Error-compensating rounding of weights. */
#ifndef Q8_QUANT_ROUND_H
#define Q8_QUANT_ROUND_H

#include <stdbool.h>

/** What the weights of one output are rounded against; n x n matrices with rows `stride` apart. */
typedef struct q8_rounding {
    int n, stride;
    const float *own;    /**< G: moments of the int8 network's inputs */
    const float *cross;  /**< C^T: of the float network's inputs with those */
    const float *factor; /**< from q8_factorise(); NULL: start from nearest rounding */
    float damping;       /**< d: weight of the squared distance to the float weights */
    int weight_limit;    /**< of |q_i| */
    long long sum_limit; /**< of sum |q_i| */
} q8_rounding;

/** Makes L of L L^T = G + damping I, its lower triangle. False: there is none. */
bool q8_factorise(float *l, const float *own, int n, int stride, float damping);

/**
 * Chooses integers q near w * scale with a small mean squared error of the output,
 *
 *     E |sum_i q_i / scale * xq_i - w_i * x_i|^2 + d |q / scale - w|^2
 *         = |L^T (q / scale - w*)|^2 + const,   w* = (G + d I)^-1 (C w + d w),
 *
 * first from the last weight to the first, each making up for the ones before it (L. Babai's
 * nearest plane, 1986; for weights E. Frantar et al., "GPTQ", ICLR 2023, where the inputs of both
 * networks are taken to be the same); then by coordinate descent: each q_i in turn goes where the
 * error is least with the others held, until none moves.
 * @param work room for 2 * stride floats
 */
void q8_round_compensated(const q8_rounding *r, const float *w, float scale, signed char *q,
                          float *work);

#endif
