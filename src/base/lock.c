#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct folder {
    int fd;
    dev_t device;
    ino_t inode;
};

static int by_identity(const void *a, const void *b)
{
    const struct folder *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

static bool open_folder(struct folder *folder, const char *path)
{
    struct stat st;
    folder->fd = q8_file_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (folder->fd >= 0 && fstat(folder->fd, &st) == 0) {
        folder->device = st.st_dev;
        folder->inode = st.st_ino;
        return true;
    }
    if (folder->fd >= 0)
        close(folder->fd);
    return false;
}

static bool lock_one(int fd)
{
    int rc;
    do
        rc = flock(fd, LOCK_EX);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

void q8_lock_folders(q8_lock *lock, const char *const *folder, int n)
{
    struct folder open[Q8_LOCK_MAX];
    int n_open = 0;
    lock->n = 0;
    for (int i = 0; i < n && i < Q8_LOCK_MAX; i++)
        n_open += open_folder(&open[n_open], folder[i]);
    qsort(open, (size_t)n_open, sizeof(*open), by_identity);
    for (int i = 0; i < n_open; i++) {
        const bool again = i > 0 && by_identity(&open[i - 1], &open[i]) == 0;
        if (!again && lock_one(open[i].fd))
            lock->fd[lock->n++] = open[i].fd;
        else
            close(open[i].fd);
    }
}

void q8_unlock(q8_lock *lock)
{
    for (int i = 0; i < lock->n; i++)
        close(lock->fd[i]); /* which releases it */
    lock->n = 0;
}
