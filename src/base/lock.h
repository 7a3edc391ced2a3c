/** Advisory locks on folders: who replaces several files in them waits for whoever does it now. */
#ifndef Q8_BASE_LOCK_H
#define Q8_BASE_LOCK_H

#include "base/err.h"

/** Folders that are locked at once, at most. */
enum { Q8_LOCK_MAX = 8 };

typedef struct q8_lock {
    int fd[Q8_LOCK_MAX];
    int n;
} q8_lock;

/**
 * flock()s folders, each once, in an order that is the same for all who lock them, so that nobody
 * waits in a circle. A folder that cannot be opened or locked (some network file systems) is left
 * out: then there is no protection there.
 * @param folder at most ::Q8_LOCK_MAX paths
 */
void q8_lock_folders(q8_lock *lock, const char *const *folder, int n);
void q8_unlock(q8_lock *lock);

#endif
