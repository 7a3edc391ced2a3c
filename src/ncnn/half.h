/** IEEE 754 half precision. */
#ifndef Q8_NCNN_HALF_H
#define Q8_NCNN_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Rounds to nearest, ties to even; too large becomes infinite. */
uint16_t q8_half_from_float(float value);
float q8_half_to_float(uint16_t half);

/** True when every value stays finite as a half. */
bool q8_half_fits(const float *value, size_t count);

#endif
