/** Reading files; base/replace.h writes them. */
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

/** open(), begun again where a signal interrupts it; no program that is run inherits the file.
 *  @return -1 with errno */
int q8_file_open(const char *path, int flags, mode_t mode);
/** Reads `size` bytes from place `at`, fewer only where the file ends.
 *  @return how many, -1 with errno */
ssize_t q8_file_read_at(int fd, void *data, size_t size, size_t at);
/** A file's first bytes, at most `size`; none of a pipe's, which whoever reads it then would miss.
 *  @return how many, -1 with errno */
ssize_t q8_file_start(const char *path, void *data, size_t size);

#endif
