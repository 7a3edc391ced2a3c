/** Second moments of what a layer's outputs are sums of, from a sample of its output positions. */
#ifndef Q8_QUANT_MOMENTS_H
#define Q8_QUANT_MOMENTS_H

#include "base/err.h"

/** The columns of a sample matrix are padded with zeros to a multiple of this. */
enum { Q8_MOMENTS_PAD = 32 };

/** Rows of a sample matrix and of its moments begin this many floats apart. */
int q8_moments_stride(int n);

/**
 * own = coded^T coded / rows and cross = exact^T coded / rows, of two sample matrices of `rows` x
 * `n` floats; all with rows q8_moments_stride(n) apart. `own` is symmetric to the bit. Their
 * padding is not set. The result does not depend on `threads`.
 */
q8_code q8_moments(const float *exact, const float *coded, int rows, int n, float *own,
                   float *cross, int threads, q8_err *err);

#endif
