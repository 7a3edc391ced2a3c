#include "base/sums.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/simd.h"

/* Sums side by side, which become vector code. */
enum { LANES = 16 };

static double sum_lanes(double *lane)
{
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            lane[k] += lane[k + width];
    return lane[0];
}

/* As integers, of which loops become vector code. */
Q8_SIMD_CLONES
static uint32_t largest_bits(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    return most;
}

float q8_absmax(const float *x, size_t n)
{
    const uint32_t bits = largest_bits(x, n);
    float absmax;
    memcpy(&absmax, &bits, sizeof(absmax));
    return absmax;
}

Q8_SIMD_CLONES
static void add_to_lanes(double *restrict lane, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (double)x[i + k];
}

double q8_sum(const float *x, size_t n)
{
    double lane[LANES] = {0};
    const size_t whole = n - n % LANES;
    add_to_lanes(lane, x, whole);
    for (size_t i = whole; i < n; i++)
        lane[i - whole] += (double)x[i];
    return sum_lanes(lane);
}

Q8_SIMD_CLONES
static void add_sizes_to_lanes(double *restrict lane, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (double)fabsf(x[i + k]);
}

double q8_sum_abs(const float *x, size_t n)
{
    double lane[LANES] = {0};
    const size_t whole = n - n % LANES;
    add_sizes_to_lanes(lane, x, whole);
    for (size_t i = whole; i < n; i++)
        lane[i - whole] += (double)fabsf(x[i]);
    return sum_lanes(lane);
}

Q8_SIMD_CLONES
static void add_products_to_lanes(double *restrict lane, const double *a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += a[i + k] * (double)x[i + k];
}

double q8_dot(const double *a, const float *x, size_t n)
{
    double lane[LANES] = {0};
    const size_t whole = n - n % LANES;
    add_products_to_lanes(lane, a, x, whole);
    for (size_t i = whole; i < n; i++)
        lane[i - whole] += a[i] * (double)x[i];
    return sum_lanes(lane);
}
