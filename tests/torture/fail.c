#include "fail.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum fail_mode armed;
static long fail_at;
static bool fail_on, tracing;
static atomic_long counted;
static const char *volatile failed = "";

void fail_arm(enum fail_mode mode, long at, bool on, bool trace)
{
    armed = mode;
    fail_at = at;
    fail_on = on;
    tracing = trace;
    atomic_store(&counted, 0);
}

long fail_count(void)
{
    return atomic_load(&counted);
}

const char *fail_name(void)
{
    return failed;
}

static void show_place(const char *name)
{
    void *frame[24];
    dprintf(STDERR_FILENO, "--- %s fails here:\n", name);
    backtrace_symbols_fd(frame, backtrace(frame, 24), STDERR_FILENO);
}

/* This call, which `mode` is about, is to fail. */
static bool fails(enum fail_mode mode, const char *name)
{
    if (armed != mode)
        return false;
    const long n = atomic_fetch_add(&counted, 1) + 1;
    if (n != fail_at && !(fail_on && fail_at > 0 && n > fail_at))
        return false;
    if (n == fail_at) {
        failed = name;
        if (tracing)
            show_place(name);
    }
    return true;
}

static bool fails_with(enum fail_mode mode, const char *name, int why)
{
    const bool yes = fails(mode, name);
    if (yes)
        errno = why;
    return yes;
}

/* A call about files that a signal may interrupt. */
static bool io_fails(const char *name, int why)
{
    return fails_with(FAIL_IO, name, why) || fails_with(FAIL_INTR, name, EINTR);
}

static size_t moved(size_t size, const char *name)
{
    return size > 1 && fails(FAIL_SHORT, name) ? size / 2 : size;
}

/* WRAP(type, name, (parameters), (arguments), fails, what a failure returns) */
#define WRAP(type, name, parameters, arguments, condition, result)                                 \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return (condition) ? (result) : __real_##name arguments;                                   \
    }
#define ALLOC(type, name, parameters, arguments, result)                                           \
    WRAP(type, name, parameters, arguments, fails_with(FAIL_ALLOC, #name, ENOMEM), result)
#define IO(type, name, parameters, arguments, result)                                              \
    WRAP(type, name, parameters, arguments, fails_with(FAIL_IO, #name, EIO), result)

ALLOC(void *, malloc, (size_t size), (size), NULL)
ALLOC(void *, calloc, (size_t n, size_t size), (n, size), NULL)
ALLOC(void *, realloc, (void *old, size_t size), (old, size), NULL)
ALLOC(void *, aligned_alloc, (size_t align, size_t size), (align, size), NULL)
ALLOC(char *, strdup, (const char *text), (text), NULL)
ALLOC(char *, strndup, (const char *text, size_t n), (text, n), NULL)
ALLOC(int, vasprintf, (char **text, const char *fmt, va_list args), (text, fmt, args), -1)
ALLOC(int, pthread_create,
      (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
      (thread, attr, fn, arg), EAGAIN)

int __wrap_asprintf(char **text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int __wrap_asprintf(char **text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = __wrap_vasprintf(text, fmt, args);
    va_end(args);
    return n;
}

IO(int, stat, (const char *path, struct stat *st), (path, st), -1)
IO(int, fstat, (int fd, struct stat *st), (fd, st), -1)
IO(int, lstat, (const char *path, struct stat *st), (path, st), -1)
IO(int, access, (const char *path, int mode), (path, mode), -1)
IO(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
IO(int, rename, (const char *from, const char *to), (from, to), -1)
IO(int, unlink, (const char *path), (path), -1)
IO(int, flock, (int fd, int how), (fd, how), -1)
IO(char *, realpath, (const char *path, char *to), (path, to), NULL)
IO(DIR *, opendir, (const char *path), (path), NULL)
IO(struct dirent *, readdir, (DIR * dir), (dir), NULL)
WRAP(int, fsync, (int fd), (fd), io_fails("fsync", EIO), -1)
WRAP(int, link, (const char *from, const char *to), (from, to),
     fails_with(FAIL_IO, "link", EIO) || fails_with(FAIL_LINK, "link", EPERM), -1)
WRAP(ssize_t, read, (int fd, void *to, size_t size), (fd, to, moved(size, "read")),
     io_fails("read", EIO), -1)
WRAP(ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, moved(size, "pread"), at),
     io_fails("pread", EIO), -1)
WRAP(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, moved(size, "write")),
     io_fails("write", ENOSPC), -1)

/* Closes in any case, as Linux does. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    const int rc = __real_close(fd);
    return io_fails("close", EIO) ? -1 : rc;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return io_fails("open", flags & O_CREAT ? ENOSPC : EIO) ? -1 : __real_open(path, flags, mode);
}
