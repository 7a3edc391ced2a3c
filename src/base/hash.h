/** A hash that tells files and networks apart. Not one that withstands forgery. */
#ifndef Q8_BASE_HASH_H
#define Q8_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/**
 * Goes on from `hash` (0 at first) with the bytes and their number, so that pieces do not run into
 * each other. A change of any single 8 bytes of a piece changes the result for certain.
 */
uint64_t q8_hash(uint64_t hash, const void *data, size_t size);
uint64_t q8_hash_text(uint64_t hash, const char *text);
uint64_t q8_hash_uint(uint64_t hash, uint64_t x);

#endif
