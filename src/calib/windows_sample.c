/* The pass over some pictures that takes windows. */
#include <stdlib.h>

#include "base/memory.h"
#include "base/thread.h"
#include "calib/loop.h"
#include "calib/windows.h"

/* One thread's own. */
struct worker {
    q8_windows_capture *capture;
    size_t sample; /* at hand */
};

struct job {
    q8_samples *samples;
    q8_exec *exec;
    q8_windows_capture *capture;
    struct worker *worker;
    void **user; /* by worker, for the loop */
    int n_workers;
};

static void begin(void *user, const size_t *sample, int n)
{
    (void)n; /* batches are of 1 */
    ((struct worker *)user)->sample = *sample;
}

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    const struct worker *w = user;
    return q8_windows_observe(w->capture, w->sample, tensor, view, err);
}

static q8_code open_job(struct job *job, const q8_windows_of *what, const q8_env *env, q8_err *err)
{
    q8_code code =
        q8_samples_open(&job->samples, what->graph, what->opts, what->transform, NULL, err);
    if (code)
        return code;
    q8_samples_thin_out(job->samples, Q8_WINDOWS_PICTURES);
    const q8_exec_opts exec = {.backend = what->backend,
                               .gpu = what->gpu,
                               .batch = 1,
                               .wanted = what->wanted,
                               .threads = q8_thread_count(env)};
    code = q8_exec_open(&job->exec, what->graph, &exec, err);
    if (code)
        return code;
    const size_t shared = q8_exec_weight_bytes(what->graph) + Q8_WINDOWS_MEMORY;
    job->n_workers =
        q8_memory_threads(env, shared, q8_exec_run_bytes(job->exec) + Q8_MEMORY_PICTURE,
                          q8_loop_workers(job->samples, env));
    if (job->n_workers == 0)
        return Q8_OK;
    job->worker = calloc((size_t)job->n_workers, sizeof(*job->worker));
    job->user = calloc((size_t)job->n_workers, sizeof(*job->user));
    if (!job->worker || !job->user)
        return q8_fail_nomem(err);
    code = q8_windows_open(&job->capture, what->graph, what->wanted, q8_samples_count(job->samples),
                           err);
    for (int i = 0; i < job->n_workers; i++) {
        job->worker[i].capture = job->capture;
        job->user[i] = &job->worker[i];
    }
    return code;
}

static void close_job(struct job *job)
{
    free(job->worker);
    free(job->user);
    q8_windows_close(&job->capture);
    q8_exec_close(&job->exec);
    q8_samples_close(&job->samples);
}

q8_code q8_windows_sample(q8_windows *windows, const q8_windows_of *what, const q8_env *env,
                          q8_err *err)
{
    q8_env alone = env ? *env : (q8_env){0};
    struct job job = {0};
    q8_err why = {0};
    size_t used, skipped;
    *windows = (q8_windows){0};
    alone.team = NULL;
    q8_code code = open_job(&job, what, &alone, err);
    const q8_loop loop = {
        .samples = job.samples,
        .exec = job.exec,
        .stage = "sample",
        .strict = what->opts->strict,
        .worker = job.user,
        .n_workers = job.n_workers,
        .begin = begin,
        .observe = observe,
    };
    if (!code && job.n_workers == 0) {
        q8_note(env, NULL, NULL, "choices are estimated from statistics, for want of memory");
    } else if (!code) {
        code = q8_loop_run(&loop, &alone, &used, &skipped, &why);
        if (!code)
            q8_windows_take(job.capture, windows);
        else if (q8_sample_unreadable(code) && !what->opts->strict)
            code = Q8_OK;
        else
            *err = why;
    }
    close_job(&job);
    return code;
}
