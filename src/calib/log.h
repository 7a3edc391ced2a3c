/** A logarithm that is the same on every processor. */
#ifndef Q8_CALIB_LOG_H
#define Q8_CALIB_LOG_H

#include <stdint.h>
#include <string.h>

/**
 * Of a normal number above 0, to 1e-15: x = m * 2^e with m near 1, s = (m - 1) / (m + 1), log m = 2
 * (s + s^3/3 + s^5/5 + …). The C library's differs in the last bit from one processor to the next,
 * and the choice between two thresholds must not; also, loops of this become vector code.
 */
static inline double q8_log(double x)
{
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcd;
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    const uint64_t e = (((bits + ((uint64_t)1 << 62)) - sqrt_half) >> 52) - ((uint64_t)1 << 10);
    const uint64_t m_bits = bits - (e << 52);
    /* The exponent as a double: in the lowest bits of 1.5 * 2^52, which is then taken off. */
    const uint64_t e_bits = e + 0x4338000000000000;
    double m, exponent;
    memcpy(&m, &m_bits, sizeof(m));
    memcpy(&exponent, &e_bits, sizeof(exponent));
    exponent -= 6755399441055744.0;
    const double s = (m - 1) / (m + 1), z = s * s;
    const double high = 1.0 / 11 + z * (1.0 / 13 + z * (1.0 / 15 + z * (1.0 / 17)));
    const double sum = 1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9 + z * high))));
    return exponent * 0.6931471805599453 + 2 * s * sum;
}

#endif
