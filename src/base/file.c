#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/pages.h"

enum { PIPE_CHUNK = 64 * 1024 };

static q8_code too_large(const char *path, size_t limit, q8_err *err)
{
    const q8_loc loc = {.file = path};
    return q8_fail(err, Q8_EIO, &loc, NULL,
                   "larger than the %zu bytes that are read at most, a limit in src/base/limits.h",
                   limit);
}

/* Reads to the end of the file. `bytes` has room for `capacity` bytes and grows when a file does,
 * or when it (a pipe, something in /proc) did not tell its size. */
static q8_code read_all(int fd, q8_bytes *bytes, size_t capacity, const char *path, size_t limit,
                        q8_err *err)
{
    for (;;) {
        if (bytes->size + 1 >= capacity) {
            if (capacity > SIZE_MAX / 2)
                return q8_fail_nomem(err);
            unsigned char *bigger = realloc(bytes->data, capacity * 2);
            if (!bigger)
                return q8_fail_nomem(err);
            bytes->data = bigger;
            capacity *= 2;
        }
        const ssize_t n = read(fd, bytes->data + bytes->size, capacity - bytes->size - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return q8_fail_errno(err, path, "read");
        if (n == 0)
            return Q8_OK;
        bytes->size += (size_t)n;
        if (bytes->size > limit)
            return too_large(path, limit, err);
    }
}

int q8_file_open(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

ssize_t q8_file_read_at(int fd, void *data, size_t size, size_t at)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t n = pread(fd, (char *)data + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t q8_file_start(const char *path, void *data, size_t size)
{
    const int fd = q8_file_open(path, O_RDONLY, 0);
    if (fd < 0)
        return -1;
    const ssize_t n = q8_file_read_at(fd, data, size, 0);
    const int why = errno;
    close(fd);
    errno = why;
    return n < 0 && why == ESPIPE ? 0 : n;
}

q8_code q8_file_read(q8_bytes *bytes, const char *path, size_t limit, q8_err *err)
{
    *bytes = (q8_bytes){0};
    q8_code code;
    struct stat st;
    const int fd = q8_file_open(path, O_RDONLY, 0);
    if (fd < 0)
        return q8_fail_errno(err, path, "open");
    if (fstat(fd, &st) != 0) {
        code = q8_fail_errno(err, path, "read");
        goto end;
    }
    const bool regular = S_ISREG(st.st_mode);
    if (regular && (uintmax_t)st.st_size > limit) {
        code = too_large(path, limit, err);
        goto end;
    }
    /* One byte for the 0, one so that the end is seen without growing. */
    const size_t capacity = (regular ? (size_t)st.st_size : PIPE_CHUNK) + 2;
    bytes->data = q8_large_pages(malloc(capacity), capacity);
    if (!bytes->data) {
        code = q8_fail_nomem(err);
        goto end;
    }
    code = read_all(fd, bytes, capacity, path, limit, err);
end:
    close(fd);
    if (code)
        q8_bytes_free(bytes);
    else
        bytes->data[bytes->size] = 0;
    return code;
}

/* A name that has gone and come back, as in a replacing that failed, has left another time. */
static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* @param again set where the first file was missing or has been replaced meanwhile */
static q8_code try_pair(q8_bytes *first, const char *first_path, size_t first_limit,
                        q8_bytes *second, const char *second_path, size_t second_limit, bool *again,
                        q8_err *err)
{
    struct stat before, after;
    *first = *second = (q8_bytes){0};
    /* Open all the time, so that its number is not given to another file. */
    const int fd = q8_file_open(first_path, O_RDONLY, 0);
    *again = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return q8_fail_errno(err, first_path, "open");
    q8_code code = fstat(fd, &before) == 0 ? Q8_OK : q8_fail_errno(err, first_path, "read");
    if (!code)
        code = q8_file_read(first, first_path, first_limit, err);
    if (!code)
        code = q8_file_read(second, second_path, second_limit, err);
    *again = stat(first_path, &after) != 0 || !same_file(&before, &after);
    close(fd);
    return code;
}

q8_code q8_file_read_pair(q8_bytes *first, const char *first_path, size_t first_limit,
                          q8_bytes *second, const char *second_path, size_t second_limit,
                          q8_err *err)
{
    enum { TRIES = 100, MILLISECOND = 1000000 };
    for (int i = 0; i < TRIES; i++) {
        bool again;
        q8_err why = {0};
        const q8_code code = try_pair(first, first_path, first_limit, second, second_path,
                                      second_limit, &again, &why);
        if (!code && !again)
            return Q8_OK;
        q8_bytes_free(first);
        q8_bytes_free(second);
        if (code && (!again || i + 1 == TRIES)) {
            *err = why;
            return code;
        }
        nanosleep(&(struct timespec){.tv_nsec = MILLISECOND}, NULL);
    }
    const q8_loc loc = {.file = first_path};
    return q8_fail(err, Q8_EIO, &loc, NULL, "is replaced again and again while it is read");
}

void q8_bytes_free(q8_bytes *bytes)
{
    free(bytes->data);
    *bytes = (q8_bytes){0};
}
