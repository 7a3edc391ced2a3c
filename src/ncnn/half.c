#include "ncnn/half.h"

#include <string.h>

enum {
    HALF_INF = 0x7c00,
    HALF_QUIET = 0x0200,
    SHIFT = 13,      /* a float has 13 mantissa bits more */
    BIAS_STEP = 112, /* and its exponent is 112 higher */
};

/* x / 2^shift, rounded to nearest, ties to even; 0 < shift < 32. */
static uint32_t round_shift(uint32_t x, int shift)
{
    const uint32_t half = UINT32_C(1) << (shift - 1), rest = x & (2 * half - 1);
    const uint32_t q = x >> shift;
    return q + (rest > half || (rest == half && (q & 1)));
}

uint16_t q8_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    const int exponent = (int)(magnitude >> 23) - BIAS_STEP; /* the half's */
    uint32_t half;
    if (magnitude > 0x7f800000) {
        half = HALF_INF | HALF_QUIET | (magnitude >> SHIFT & 0x3ff);
    } else if (exponent > 30) {
        half = HALF_INF;
    } else if (exponent > 0) {
        /* A carry out of the mantissa raises the exponent, up to infinity: as it should be. */
        half = round_shift(magnitude - ((uint32_t)BIAS_STEP << 23), SHIFT);
    } else if (exponent >= -10) {
        half = round_shift((magnitude & 0x7fffff) | 0x800000, SHIFT + 1 - exponent);
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

float q8_half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 0x1f;
    uint32_t mantissa = half & 0x3ff;
    uint32_t bits;
    if (exponent == 0x1f) {
        bits = 0x7f800000 | mantissa << SHIFT;
    } else if (exponent > 0) {
        bits = (exponent + BIAS_STEP) << 23 | mantissa << SHIFT;
    } else if (mantissa == 0) {
        bits = 0;
    } else {
        uint32_t e = BIAS_STEP + 1;
        for (; !(mantissa & 0x400); e--) /* a subnormal half is a normal float */
            mantissa <<= 1;
        bits = e << 23 | (mantissa & 0x3ff) << SHIFT;
    }
    bits |= sign;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

bool q8_half_fits(const float *value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((q8_half_from_float(value[i]) & HALF_INF) == HALF_INF)
            return false;
    return true;
}
