/** The layers that scale and shift each channel: BatchNorm, Scale, Bias. */
#ifndef Q8_OPS_AFFINE_H
#define Q8_OPS_AFFINE_H

#include "ops/op.h"

/** Weights: 0 slope, 1 mean, 2 variance, 3 bias. */
typedef struct q8_batchnorm_attr {
    int channels;
    float eps;
} q8_batchnorm_attr;

/** Weights: 0 scale, 1 bias. */
typedef struct q8_scale_attr {
    int scale_data_size;
    int bias_term;
} q8_scale_attr;

/** Weight 0: bias. */
typedef struct q8_bias_attr {
    int bias_data_size;
} q8_bias_attr;

/** The factors of one channel: y = a * x + b. */
typedef void (*q8_affine_fn)(const q8_node *node, int channel, double *a, double *b);

/** For op->forward: applies the factors to every channel (dim[0]). */
void q8_affine_forward(const q8_forward *f, q8_affine_fn factors);

/** For op->as_affine. False when a factor is not finite, so that it is not folded away unseen. */
bool q8_affine_fill(const q8_node *node, int channels, q8_affine_fn factors, float *a, float *b);

/** For op->infer: the output is like the input, whose dim[0] must be `channels`. */
q8_code q8_affine_infer(const q8_node *node, int channels, const q8_shape *in, q8_shape *out,
                        q8_err *err);

#endif
