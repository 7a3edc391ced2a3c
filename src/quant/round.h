/** Error-compensating rounding of weights. */
#ifndef Q8_QUANT_ROUND_H
#define Q8_QUANT_ROUND_H

/** What the weights of one output are rounded against; n x n matrices with rows `stride` apart. */
typedef struct q8_rounding {
    int n, stride;
    const float *own;   /**< G: moments of the int8 network's inputs */
    const float *cross; /**< C: of those with the float network's */
    float damping;      /**< weight of the squared distance to the float weights */
} q8_rounding;

/**
 * Chooses integers q near w * scale with a small mean squared error of the output,
 *
 *     E |sum_i q_i / scale * xq_i - w_i * x_i|^2 = (q/s)^T G (q/s) - 2 (q/s)^T C w + const,
 *
 * from nearest rounding on by coordinate descent: each q_i in turn goes where the error is least
 * with the others held, until none moves (compare M. Nagel et al., "Up or Down? Adaptive Rounding
 * for Post-Training Quantization", ICML 2020, section 3; there the inputs of both networks are
 * taken to be the same).
 * @param limit of sum |q_i|
 * @param work room for `stride` floats
 */
void q8_round_compensated(const q8_rounding *r, const float *w, float scale, long long limit,
                          signed char *q, float *work);

#endif
