/** Sums and maxima of many floats, as fast as memory; the same on every processor. */
#ifndef Q8_BASE_SUMS_H
#define Q8_BASE_SUMS_H

#include <stddef.h>

/** The largest |x|; NaN where one is NaN, infinite where one is infinite; 0 of none. */
float q8_absmax(const float *x, size_t n);
/** The sum of x, in double. */
double q8_sum(const float *x, size_t n);
/** The sum of |x|, in double. */
double q8_sum_abs(const float *x, size_t n);
/** The sum of a[i] * x[i], in double. */
double q8_dot(const double *a, const float *x, size_t n);

#endif
