/** Writing files so that a reader sees all of them or none. */
#ifndef Q8_BASE_REPLACE_H
#define Q8_BASE_REPLACE_H

#include "base/err.h"

/**
 * Replaces files as one step: each is written beside its target under a temporary name, and only
 * when all are complete, flushed to disk and checked do the renames happen. Until
 * q8_replace_commit() succeeds nothing that stood there is touched; q8_replace_close() removes what
 * was not committed.
 */
typedef struct q8_replace q8_replace;

q8_code q8_replace_open(q8_replace **r, q8_err *err);
/** Writes one file whole under a temporary name in the target's folder and flushes it. */
q8_code q8_replace_add(q8_replace *r, const char *path, const void *data, size_t size, q8_err *err);
/** The temporary name of file `index`, to read back what was written. Owned by `r`. */
const char *q8_replace_temp_path(const q8_replace *r, size_t index);
/** Reads back what was written for file `index`: an error unless it is these bytes. */
q8_code q8_replace_check(const q8_replace *r, size_t index, const void *data, size_t size,
                         q8_err *err);
/**
 * Renames all. If a rename fails, those done before are put back. Others that replace files in the
 * same folders wait (where the file system has locks). While any but the first file changes its
 * name, the first one's is gone: see q8_file_read_pair().
 */
q8_code q8_replace_commit(q8_replace *r, q8_err *err);
void q8_replace_close(q8_replace **r);
/** All of these for one file. */
q8_code q8_file_replace(const char *path, const void *data, size_t size, q8_err *err);

#endif
