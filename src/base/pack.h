/** Numbers and texts as bytes, little-endian: appended to a buffer, and taken from one that may be
 * damaged. */
#ifndef Q8_BASE_PACK_H
#define Q8_BASE_PACK_H

#include <stdint.h>

#include "base/buf.h"

/** @param size of the number, 1 to 8 bytes */
void q8_pack_uint(q8_buf *to, uint64_t x, int size);
void q8_pack_float(q8_buf *to, float x);
/** Its length in 4 bytes, then the text with the 0 at its end. */
void q8_pack_text(q8_buf *to, const char *text);

/** What is still to be read. Once something was not there all further reads give 0. */
typedef struct q8_unpacker {
    const unsigned char *at;
    size_t left;
    bool failed;
} q8_unpacker;

uint64_t q8_unpack_uint(q8_unpacker *from, int size);
float q8_unpack_float(q8_unpacker *from);
/** Where it lies in the bytes; "" once something failed. */
const char *q8_unpack_text(q8_unpacker *from);
/** The next `size` bytes as they are; NULL once something failed. */
const void *q8_unpack_bytes(q8_unpacker *from, size_t size);

#endif
