#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct worker {
    q8_worker_fn fn;
    void *user;
    int index;
    bool started;
    pthread_t thread;
    q8_code code;
    q8_err err;
};

int q8_core_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        const int count = CPU_COUNT(&set);
        return count > 0 ? count : 1;
    }
    /* More cores than a cpu_set_t holds. */
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < 1 << 16 ? (int)online : 1;
}

int q8_thread_count(const q8_env *env)
{
    return env && env->threads > 0 ? env->threads : q8_core_count();
}

static void *run(void *arg)
{
    struct worker *w = arg;
    w->code = w->fn(w->user, w->index, &w->err);
    return NULL;
}

q8_code q8_parallel(int threads, q8_worker_fn fn, void *user, q8_err *err)
{
    if (threads <= 1)
        return fn(user, 0, err);
    struct worker *workers = calloc((size_t)threads, sizeof(*workers));
    if (!workers)
        return q8_fail_nomem(err);
    for (int i = 0; i < threads; i++) {
        workers[i].fn = fn;
        workers[i].user = user;
        workers[i].index = i;
        workers[i].started =
            i > 0 && pthread_create(&workers[i].thread, NULL, run, &workers[i]) == 0;
    }
    /* Worker 0, and those the system has no thread for, run here one after another. */
    for (int i = 0; i < threads; i++)
        if (!workers[i].started)
            run(&workers[i]);
    for (int i = 0; i < threads; i++)
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);

    q8_code code = Q8_OK;
    for (int i = 0; i < threads && !code; i++) {
        code = workers[i].code;
        if (code && err && !err->code)
            *err = workers[i].err;
    }
    free(workers);
    return code;
}

struct items {
    q8_item_fn fn;
    void *user;
    int n;
    atomic_int next;
};

static q8_code run_items(void *user, int worker, q8_err *err)
{
    struct items *items = user;
    q8_code code = Q8_OK;
    (void)worker;
    for (int i; !code && (i = atomic_fetch_add(&items->next, 1)) < items->n;)
        code = items->fn(items->user, i, err);
    if (code)
        atomic_store(&items->next, items->n);
    return code;
}

q8_code q8_parallel_each(int threads, int n, q8_item_fn fn, void *user, q8_err *err)
{
    struct items items = {.fn = fn, .user = user, .n = n};
    return q8_parallel(threads < n ? threads : n, run_items, &items, err);
}
