/** Shared by the tests of pictures: the test data and the hash it is described by. */
#ifndef Q8_TEST_PICTURE_H
#define Q8_TEST_PICTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A file of tests/data/pictures; found beside this source, from wherever the test is run. */
static inline const char *data_path(const char *name)
{
    static char path[4096];
    const char *slash = strrchr(__FILE__, '/');
    const int length = slash ? (int)(slash - __FILE__) : 1;
    const int n = snprintf(path, sizeof(path), "%.*s/../data/pictures/%s", length,
                           slash ? __FILE__ : ".", name);
    assert_in_range(n, 1, sizeof(path) - 1);
    return path;
}

/** FNV-1a, 64 bits. */
static inline uint64_t fnv(const unsigned char *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

/** xorshift32: the same numbers everywhere. */
static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
