#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"

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
        *fd = q8_file_open(temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
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
    const int fd = folder ? q8_file_open(folder, O_RDONLY | O_DIRECTORY, 0) : -1;
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
