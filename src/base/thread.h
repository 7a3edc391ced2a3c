/** Work shared by a few threads. */
#ifndef Q8_BASE_THREAD_H
#define Q8_BASE_THREAD_H

#include "base/err.h"

/** Cores this process may run on (its affinity mask), at least 1. */
int q8_core_count(void);
/** As many threads as `env` asks for, which may be NULL: one per core unless it says how many. */
int q8_thread_count(const q8_env *env);

/** One thread's share: `worker` counts from 0. Errors go to `err`, which is this worker's own. */
typedef q8_code (*q8_worker_fn)(void *user, int worker, q8_err *err);

/**
 * Runs `fn` once on each of `threads` threads (the caller's is worker 0) and waits for all. Workers
 * must not wait for each other: where a thread cannot be made, its share runs on the caller's
 * afterwards.
 * @return the first error by worker number, with its message in `err`
 */
q8_code q8_parallel(int threads, q8_worker_fn fn, void *user, q8_err *err);

/** One of many pieces of work. */
typedef q8_code (*q8_item_fn)(void *user, int item, q8_err *err);

/** Runs `fn` for items 0 to n - 1, each taken by the thread that is free next, until one fails. */
q8_code q8_parallel_each(int threads, int n, q8_item_fn fn, void *user, q8_err *err);

#endif
