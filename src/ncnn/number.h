/** Numbers as ncnn's .param reader understands them, whatever the locale. */
#ifndef Q8_NCNN_NUMBER_H
#define Q8_NCNN_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/** ncnn reads a value into a buffer of this size, the 0 byte included, and stumbles over the rest.
 */
enum { Q8_NCNN_VALUE_SIZE = 16 };

/** A decimal int and nothing else. False: not one, or out of range. */
bool q8_ncnn_parse_int(const char *text, size_t size, int *value);

/** True when ncnn takes a value for a float: it has a point or an exponent. */
bool q8_ncnn_is_float(const char *text, size_t size);

/**
 * The float that ncnn's own parser makes of a text, to the bit.
 * @return false where it is not a number, not finite, longer than ncnn reads, or has more digits
 * than ncnn's 32-bit counters hold (it would silently read another number)
 */
bool q8_ncnn_parse_float(const char *text, size_t size, float *value);

/** The shortest text that q8_ncnn_parse_float() reads back as `value`, which must be finite. */
void q8_ncnn_format_float(float value, char text[Q8_NCNN_VALUE_SIZE]);

#endif
