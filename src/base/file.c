#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/pages.h"

/* --- reading ---------------------------------------------------------------------------------- */

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

static int open_retry(const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int q8_file_open(const char *path)
{
    return open_retry(path, O_RDONLY, 0);
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
    const int fd = q8_file_open(path);
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
    const int fd = q8_file_open(path);
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
    const int fd = open_retry(first_path, O_RDONLY, 0);
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

/* --- replacing -------------------------------------------------------------------------------- */

/* One file on its way. The links of the target's path are resolved, so that a symbolic link stays
 * one and its target is replaced. */
struct item {
    char *path;   /* as the caller gave it, for messages */
    char *target; /* absolute, without links */
    char *temp;
    char *backup; /* a second name of what stood at the target, while a rename may still fail */
    bool renamed; /* the temporary name is the target's now */
};

struct q8_replace {
    struct item *item;
    size_t n;
};

q8_code q8_replace_open(q8_replace **r, q8_err *err)
{
    *r = calloc(1, sizeof(**r));
    return *r ? Q8_OK : q8_fail_nomem(err);
}

const char *q8_replace_temp_path(const q8_replace *r, size_t index)
{
    return index < r->n ? r->item[index].temp : NULL;
}

static q8_code refuse(const char *path, q8_err *err, const char *why)
{
    const q8_loc loc = {.file = path};
    return q8_fail(err, Q8_EIO, &loc, NULL, "%s", why);
}

/* The absolute path of a file that does not exist yet, in a folder that must. */
static q8_code resolve_new(const char *path, char **target, q8_err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        return refuse(path, err, "a symbolic link to a file that does not exist");
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name)
        return refuse(path, err, "a file name is missing");
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder)
        return q8_fail_nomem(err);
    char *real = realpath(folder, NULL);
    q8_code code = Q8_OK;
    if (!real) {
        code = q8_fail_errno(err, path, "create");
    } else if (asprintf(target, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name) < 0) {
        *target = NULL;
        code = q8_fail_nomem(err);
    }
    free(folder);
    free(real);
    return code;
}

/* A rename would replace a file that its owner made read-only, even one that root could write. */
static q8_code check_existing(const char *path, const struct stat *st, q8_err *err)
{
    if (S_ISDIR(st->st_mode))
        return refuse(path, err, "is a folder");
    if (!S_ISREG(st->st_mode))
        return refuse(path, err, "is not a regular file, and only those can be replaced");
    if (!(st->st_mode & 0222) || access(path, W_OK) != 0)
        return refuse(path, err, "is read-only");
    return Q8_OK;
}

static q8_code try_resolve(const char *path, char **target, int *mode, q8_err *err)
{
    struct stat st;
    *mode = -1;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? resolve_new(path, target, err)
                               : q8_fail_errno(err, path, "create");
    q8_code code = check_existing(path, &st, err);
    if (code)
        return code;
    *mode = (int)(st.st_mode & 0777);
    *target = realpath(path, NULL);
    return *target ? Q8_OK : q8_fail_errno(err, path, "replace");
}

/* Between two looks at it another run may move the file aside or put it back, so what is refused is
 * looked at again. @param mode permissions of the file that is there, -1 without one */
static q8_code resolve(const char *path, char **target, int *mode, q8_err *err)
{
    enum { TRIES = 10, MILLISECOND = 1000000 };
    for (int i = 1;; i++) {
        q8_err why = {0};
        const q8_code code = try_resolve(path, target, mode, &why);
        if (code && i == TRIES && err && !err->code)
            *err = why;
        if (!code || i == TRIES)
            return code;
        nanosleep(&(struct timespec){.tv_nsec = MILLISECOND}, NULL);
    }
}

/* A name beside the target that is most likely free: the caller tries until one is. */
static char *beside(const char *target)
{
    enum { KEEP = 200 }; /* bytes of the name: with ours around it, it stays below 255 */
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const char *name = strrchr(target, '/') + 1;
    struct timespec now;
    char random[7] = "", *path;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t x = ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) ^
                 (uint64_t)getpid() << 32 ^ (uintptr_t)&now;
    for (int i = 0; i < 6; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        random[i] = letters[(x >> 33) % (sizeof(letters) - 1)];
    }
    return asprintf(&path, "%.*s.%.*s.q8-%s", (int)(name - target), target, KEEP, name, random) < 0
               ? NULL
               : path;
}

enum { NAME_TRIES = 100 };

/* Not mkstemp(): it sets mode 0600, while open() does what the umask says. */
static q8_code create_temp(struct item *item, int *fd, q8_err *err)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        char *temp = beside(item->target);
        if (!temp)
            return q8_fail_nomem(err);
        *fd = open_retry(temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (*fd >= 0) {
            item->temp = temp;
            return Q8_OK;
        }
        free(temp);
        if (errno != EEXIST)
            break;
    }
    return q8_fail_errno(err, item->path, "create a temporary file beside it");
}

static bool write_all(int fd, const unsigned char *data, size_t size)
{
    while (size) {
        const size_t piece = size < (1u << 30) ? size : 1u << 30;
        const ssize_t n = write(fd, data, piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return false;
        }
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* Some file systems have nothing to flush and say so. */
static bool flush(int fd)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    return rc == 0 || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
}

static q8_code write_temp(struct item *item, int mode, const void *data, size_t size, q8_err *err)
{
    int fd = -1;
    q8_code code = create_temp(item, &fd, err);
    if (code)
        return code;
    if ((mode >= 0 && fchmod(fd, (mode_t)mode) != 0) || !write_all(fd, data, size) || !flush(fd))
        code = q8_fail_errno(err, item->path, "write");
    /* After EINTR the descriptor is closed, and the data was flushed above. */
    if (close(fd) != 0 && errno != EINTR)
        code = q8_fail_errno(err, item->path, "write");
    return code;
}

static void free_item(struct item *item)
{
    if (item->temp && !item->renamed)
        unlink(item->temp);
    free(item->path);
    free(item->target);
    free(item->temp);
    free(item->backup);
}

q8_code q8_replace_add(q8_replace *r, const char *path, const void *data, size_t size, q8_err *err)
{
    int mode = -1;
    struct item *items = realloc(r->item, (r->n + 1) * sizeof(*items));
    if (!items)
        return q8_fail_nomem(err);
    r->item = items;
    struct item *item = &items[r->n];
    *item = (struct item){.path = strdup(path)};
    q8_code code = item->path ? resolve(path, &item->target, &mode, err) : q8_fail_nomem(err);
    for (size_t i = 0; i < r->n && !code; i++)
        if (strcmp(items[i].target, item->target) == 0) {
            const q8_loc loc = {.file = path};
            code = q8_fail(err, Q8_EINVAL, &loc, NULL, "is the same file as '%s'", items[i].path);
        }
    if (!code)
        code = write_temp(item, mode, data, size, err);
    if (code)
        free_item(item);
    else
        r->n++;
    return code;
}

q8_code q8_replace_check(const q8_replace *r, size_t index, const void *data, size_t size,
                         q8_err *err)
{
    q8_bytes bytes;
    const q8_loc loc = {.file = r->item[index].path};
    q8_code code = q8_file_read(&bytes, r->item[index].temp, size, err);
    if (!code && (bytes.size != size || memcmp(bytes.data, data, size) != 0))
        code = q8_fail(err, Q8_EIO, &loc, NULL, "what was written does not read back the same");
    q8_bytes_free(&bytes);
    return code;
}

/* A hard link leaves the first name there all the time; where there are none (FAT, files of others)
 * the file is moved aside. @return 0 or an errno */
static int second_name(const char *target, const char *name)
{
    if (link(target, name) == 0)
        return 0;
    if (errno == EEXIST)
        return EEXIST;
    return rename(target, name) == 0 ? 0 : errno;
}

/* Gives what stands at the target a second name; nothing there: no backup. @return 0 or an errno */
static int back_up(struct item *item)
{
    struct stat st;
    if (lstat(item->target, &st) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISREG(st.st_mode)) /* it was, or was not there, when its new content was added */
        return S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    int why = EEXIST;
    for (int i = 0; i < NAME_TRIES && why == EEXIST; i++) {
        char *backup = beside(item->target);
        why = backup ? second_name(item->target, backup) : ENOMEM;
        if (why)
            free(backup);
        else
            item->backup = backup;
    }
    return why;
}

/* The first file's name goes while others change: what stood there is moved aside. @return 0 or an
 * errno */
static int move_aside(struct item *item)
{
    struct stat st;
    if (lstat(item->target, &st) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    char *aside = beside(item->target);
    if (!aside)
        return ENOMEM;
    if (rename(item->target, aside) != 0) {
        const int why = errno;
        free(aside);
        return why;
    }
    item->backup = aside;
    return 0;
}

/* Makes the target what it was before. False, with the backup left where it is, if that fails. */
static bool put_back(struct item *item)
{
    if (item->backup) {
        if (rename(item->backup, item->target) != 0)
            return false;
        /* Between two names of one file rename() does nothing and leaves both. */
        unlink(item->backup);
    } else if (item->renamed) {
        unlink(item->target);
    }
    return true;
}

static char *folder_of(const struct item *item)
{
    return strndup(item->target, (size_t)(strrchr(item->target, '/') - item->target) + 1);
}

/* A new name is on disk only once its folder is. Best effort: the files are whole either way. */
static void flush_folder(const struct item *item)
{
    char *folder = folder_of(item);
    const int fd = folder ? open_retry(folder, O_RDONLY | O_DIRECTORY, 0) : -1;
    if (fd >= 0) {
        flush(fd);
        close(fd);
    }
    free(folder);
}

/* Puts all files back after a failure at `item`, whose errno is `why`; the first file last. */
static q8_code roll_back(q8_replace *r, const struct item *item, int why, q8_err *err)
{
    const struct item *lost = NULL;
    for (size_t i = r->n; i-- > 0;)
        if (!put_back(&r->item[i]))
            lost = &r->item[i];
    const q8_loc loc = {.file = item->path};
    if (lost)
        return q8_fail(err, Q8_EIO, &loc, NULL, "cannot replace: %s; what was '%s' is now '%s'",
                       strerror(why), lost->path, lost->backup);
    return q8_fail(err, Q8_EIO, &loc, NULL, "cannot replace: %s", strerror(why));
}

/* @return 0 or an errno */
static int put_in_place(struct item *item)
{
    if (rename(item->temp, item->target) != 0)
        return errno;
    item->renamed = true;
    return 0;
}

/*
 * Several renames are not one step. So that nobody takes files of two runs for those of one, the
 * name of the first file is gone while the others change: what it names, as long as it names the
 * same, belongs to what stands beside it. See docs/reliability.md.
 */
static q8_code rename_all(q8_replace *r, q8_err *err)
{
    int why = 0;
    size_t at = 0;
    for (size_t i = 1; i < r->n && !why; i++)
        why = back_up(&r->item[at = i]);
    if (!why && r->n > 1)
        why = move_aside(&r->item[at = 0]);
    for (size_t i = 1; i < r->n && !why; i++)
        why = put_in_place(&r->item[at = i]);
    if (!why && r->n > 0)
        why = put_in_place(&r->item[at = 0]);
    return why ? roll_back(r, &r->item[at], why, err) : Q8_OK;
}

/* Nobody else replaces files in these folders until q8_unlock(). */
static q8_code lock_all(const q8_replace *r, q8_lock *lock, q8_err *err)
{
    char *folder[Q8_LOCK_MAX] = {NULL};
    int n = 0;
    bool failed = false;
    for (size_t i = 0; i < r->n && n < Q8_LOCK_MAX && !failed; i++) {
        folder[n] = folder_of(&r->item[i]);
        failed = !folder[n];
        n += !failed;
    }
    if (!failed)
        q8_lock_folders(lock, (const char *const *)folder, n);
    for (int i = 0; i < n; i++)
        free(folder[i]);
    return failed ? q8_fail_nomem(err) : Q8_OK;
}

q8_code q8_replace_commit(q8_replace *r, q8_err *err)
{
    q8_lock lock = {.n = 0};
    q8_code code = lock_all(r, &lock, err);
    if (!code)
        code = rename_all(r, err);
    for (size_t i = 0; i < r->n && !code; i++) {
        struct item *item = &r->item[i];
        if (item->backup)
            unlink(item->backup);
        flush_folder(item);
    }
    q8_unlock(&lock);
    return code;
}

void q8_replace_close(q8_replace **r)
{
    if (!*r)
        return;
    for (size_t i = 0; i < (*r)->n; i++)
        free_item(&(*r)->item[i]);
    free((*r)->item);
    free(*r);
    *r = NULL;
}

q8_code q8_file_replace(const char *path, const void *data, size_t size, q8_err *err)
{
    q8_replace *replace;
    q8_code code = q8_replace_open(&replace, err);
    if (!code)
        code = q8_replace_add(replace, path, data, size, err);
    if (!code)
        code = q8_replace_commit(replace, err);
    q8_replace_close(&replace);
    return code;
}
