/** Cholesky factors, in blocks. */
#ifndef Q8_QUANT_FACTOR_H
#define Q8_QUANT_FACTOR_H

#include <stdbool.h>

#include "base/err.h"

/** Rows of a factor that are worked on at once. */
enum { Q8_FACTOR_BLOCK = 64 };

/**
 * Makes the upper triangular U with U^T U = a + damping I, its diagonal above 0. `a` is n x n and
 * symmetric, rows `stride` apart, as in `u`, which is not set below the diagonal's blocks.
 * @param exists false where there is no such U; `u` is then undefined
 */
q8_code q8_factorise(float *u, const float *a, int n, int stride, float damping, bool *exists,
                     q8_err *err);

/** Solves U^T Y = B in place: `y` is B, n rows of `columns` floats, y_stride apart. */
q8_code q8_factor_solve(const float *u, int n, int stride, float *y, int columns, int y_stride,
                        q8_err *err);

#endif
