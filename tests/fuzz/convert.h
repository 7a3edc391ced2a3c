/** What the target of whole conversions has beside its entry point. */
#ifndef Q8_TESTS_FUZZ_CONVERT_H
#define Q8_TESTS_FUZZ_CONVERT_H

#include <stddef.h>
#include <stdint.h>

/** How far inputs came, so that a test can tell whether the generator's are any good. */
typedef struct fuzz_convert_counts {
    unsigned runs, valid, int8, int8_layers;
} fuzz_convert_counts;

extern fuzz_convert_counts fuzz_converted;

/** Changes a network's text, or makes a new one: the same for the same seed. @return its size */
size_t fuzz_convert_generate(uint8_t *data, size_t size, size_t max_size, uint64_t seed);

#endif
