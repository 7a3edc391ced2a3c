#include "base/hash.h"

#include <string.h>

/* One to one in `hash` for every `x`, and in `x` for every `hash`: multiplying by an odd number and
 * adding in the upper half can both be undone. */
static inline uint64_t mix(uint64_t hash, uint64_t x)
{
    hash = (hash ^ x) * 0x9e3779b97f4a7c15u; /* 2^64 / the golden ratio */
    return hash ^ hash >> 32;
}

uint64_t q8_hash_uint(uint64_t hash, uint64_t x)
{
    return mix(mix(hash, x), 1);
}

uint64_t q8_hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t x;
    hash = q8_hash_uint(hash, size);
    for (; size >= sizeof(x); size -= sizeof(x), bytes += sizeof(x)) {
        memcpy(&x, bytes, sizeof(x));
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        hash = mix(hash, x);
    }
    x = 0;
    for (size_t i = 0; i < size; i++)
        x |= (uint64_t)bytes[i] << (8 * i);
    return mix(mix(hash, x), 2);
}

uint64_t q8_hash_text(uint64_t hash, const char *text)
{
    return q8_hash(hash, text, strlen(text));
}
