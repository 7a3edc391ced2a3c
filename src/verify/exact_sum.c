#include "verify/exact_sum.h"

#include <math.h>
#include <stdint.h>

enum { BIN_BITS = 32, LOWEST = 1074, MANTISSA = 53 };

void q8_exact_sum_add(q8_exact_sum *sum, double x)
{
    int exponent;
    if (!isfinite(x)) {
        sum->not_finite = true;
        return;
    }
    /* x = mantissa * 2^exponent, both integers */
    const double fraction = frexp(x, &exponent);
    if (fraction == 0)
        return;
    exponent -= MANTISSA;
    int64_t mantissa = (int64_t)ldexp(fraction, MANTISSA);
    if (exponent < -LOWEST) { /* subnormal: its low bits are zeros */
        mantissa /= (int64_t)1 << (-LOWEST - exponent);
        exponent = -LOWEST;
    }
    const int place = exponent + LOWEST;
    sum->bin[place / BIN_BITS] += (__int128)mantissa * ((int64_t)1 << place % BIN_BITS);
}

void q8_exact_sum_merge(q8_exact_sum *into, const q8_exact_sum *from)
{
    for (int i = 0; i < Q8_EXACT_SUM_BINS; i++)
        into->bin[i] += from->bin[i];
    into->not_finite = into->not_finite || from->not_finite;
}

/* All bins but the last become 0 to 2^32 - 1. */
static void carry(q8_exact_sum *sum)
{
    for (int i = 0; i + 1 < Q8_EXACT_SUM_BINS; i++) {
        const __int128 over = sum->bin[i] >> BIN_BITS;
        sum->bin[i] -= over * ((int64_t)1 << BIN_BITS);
        sum->bin[i + 1] += over;
    }
}

double q8_exact_sum_value(const q8_exact_sum *sum)
{
    q8_exact_sum s = *sum;
    double value = 0;
    if (sum->not_finite)
        return NAN;
    carry(&s);
    const bool negative = s.bin[Q8_EXACT_SUM_BINS - 1] < 0;
    for (int i = 0; negative && i < Q8_EXACT_SUM_BINS; i++)
        s.bin[i] = -s.bin[i];
    carry(&s);
    for (int i = Q8_EXACT_SUM_BINS - 1; i >= 0; i--)
        value += ldexp((double)s.bin[i], i * BIN_BITS - LOWEST);
    return negative ? -value : value;
}
