/** What the fuzz targets share. Each target is one file with the entry point of libFuzzer. */
#ifndef Q8_TESTS_FUZZ_H
#define Q8_TESTS_FUZZ_H

#include "base/arena.h"
#include "base/err.h"
#include "graph/graph.h"

/* libFuzzer's side. LLVMFuzzerCustomMutator() is optional and not there in replays. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/** An environment whose warnings are formatted and thrown away. */
extern const q8_env fuzz_env;

/**
 * Aborts when a call broke what every call promises: the error is filled if and only if the call
 * failed, it says something, and it is not ::Q8_EINTERNAL.
 */
void fuzz_check(q8_code code, const q8_err *err);

/** Aborts with the error's text: for calls that cannot fail, whatever the input was. */
void fuzz_must(q8_code code, const q8_err *err, const char *what);

/** An arena, or the end of the program. */
q8_arena *fuzz_arena(void);

/** The bytes as a file: its path, good until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);

/** Reads ncnn files that are as given, writes what was read and reads it again. */
void fuzz_ncnn(const void *param, size_t param_size, const void *bin, size_t bin_size);

/** Writes the graph as ncnn files in memory, which may fail; what was written must read back the
 * same. */
q8_code fuzz_write_and_read(const q8_graph *graph, q8_err *err);

#endif
