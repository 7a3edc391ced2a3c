/** Second moments of what a layer's outputs are sums of, from a sample of its output positions. */
#ifndef Q8_QUANT_MOMENTS_H
#define Q8_QUANT_MOMENTS_H

#include "base/err.h"

/** The columns of a sample matrix are padded with zeros to a multiple of this. */
enum { Q8_MOMENTS_PAD = 32 };

/** Rows of a sample matrix begin this many floats apart. */
int q8_moments_stride(int n);

/**
 * out = a^T b / rows, for a and b of `rows` x `n` floats, `out` n x n, all with rows
 * q8_moments_stride(n) apart and their padding 0. The result does not depend on
 * `env`: threads and members of a team share the work. An exchange of these.
 */
q8_code q8_moments(const float *a, const float *b, int rows, int n, float *out, const q8_env *env,
                   q8_err *err);

#endif
