/** Whole files: read at once, written so that a reader sees all of it or none. */
#ifndef Q8_BASE_FILE_H
#define Q8_BASE_FILE_H

#include <sys/types.h>

#include "base/err.h"

/** A file's bytes, mapped or read; `data[size]` is always readable and 0. */
typedef struct q8_bytes {
    unsigned char *data;
    size_t size;
} q8_bytes;

/** Reads a regular file (or a pipe) of at most `limit` bytes into memory from malloc(). */
q8_code q8_file_read(q8_bytes *bytes, const char *path, size_t limit, q8_err *err);
/**
 * Reads two files that q8_replace_commit() may be replacing, `first` being what was added first, so
 * that both are of one commit. If it never finds them so, or one is not there for some time, that
 * is an error; what was read is freed by then.
 */
q8_code q8_file_read_pair(q8_bytes *first, const char *first_path, size_t first_limit,
                          q8_bytes *second, const char *second_path, size_t second_limit,
                          q8_err *err);
void q8_bytes_free(q8_bytes *bytes);

/** open() for reading. @return -1 with errno */
int q8_file_open(const char *path);
/** Reads `size` bytes from place `at`, fewer only where the file ends.
 *  @return how many, -1 with errno */
ssize_t q8_file_read_at(int fd, void *data, size_t size, size_t at);
/** A file's first bytes, at most `size`; none of a pipe's, which whoever reads it then would miss.
 *  @return how many, -1 with errno */
ssize_t q8_file_start(const char *path, void *data, size_t size);

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
