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
 * q8_moments_stride(n) apart and their padding 0. The result does not depend on `threads`.
 */
q8_code q8_moments(const float *a, const float *b, int rows, int n, float *out, int threads,
                   q8_err *err);

#endif
