/* generated N [FIRST]: so many networks of the generator through the whole conversion, without
 * libFuzzer. Fails when few of them get to the end: then they test nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "convert.h"
#include "fuzz.h"

enum { MAX_SIZE = 1 << 16 };

int main(int argc, char **argv)
{
    static uint8_t text[MAX_SIZE];
    const unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 100;
    const unsigned first = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    for (unsigned i = first; i < first + n; i++) {
        const size_t size = fuzz_convert_generate(text, 0, MAX_SIZE, i);
        fprintf(stderr, "network %u\n", i);
        if (argc > 3)
            printf("%.*s\n", (int)size, (const char *)text), fflush(stdout);
        LLVMFuzzerTestOneInput(text, size);
    }
    const fuzz_convert_counts *c = &fuzz_converted;
    printf("%u networks: %u valid, %u converted, with %u layers in int8\n", c->runs, c->valid,
           c->int8, c->int8_layers);
    return c->int8 * 2 < c->runs;
}
