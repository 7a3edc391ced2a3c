/** Well-formed UTF-8, in text of any bytes. */
#ifndef Q8_BASE_UTF8_H
#define Q8_BASE_UTF8_H

#include <stddef.h>

/** Length of the well-formed sequence (RFC 3629) that 0-terminated text begins with, 0 when there
 * is none. */
size_t q8_utf8_length(const char *text);

#endif
