#include "calib/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

/* A sample that could not be read. */
struct failure {
    size_t index;
    q8_code code;
    char *file, *text; /* `file` points into `text`'s memory */
};

/* One thread's own. */
struct worker {
    q8_run *run;
    void *user;
    struct failure *failure;
    size_t n_failures, used;
};

/* What the threads share. */
struct job {
    const q8_loop *loop;
    const q8_env *env;
    size_t n_samples;
    struct worker *worker;
    atomic_size_t next; /* sample */
    atomic_size_t end;  /* no sample from here on is wanted any more */
    pthread_mutex_t progress;
    size_t done;
};

int q8_loop_workers(const q8_samples *samples, const q8_env *env)
{
    const int threads = env && env->threads > 0 ? env->threads : q8_core_count();
    const size_t n = q8_samples_count(samples);
    return n < 1 ? 1 : (size_t)threads < n ? threads : (int)n;
}

/* Lowers the end of the list to `to`: all samples before it are still done, so the first failure
 * in list order is found whichever thread is faster. */
static void end_at(struct job *job, size_t to)
{
    size_t end = atomic_load(&job->end);
    while (to < end && !atomic_compare_exchange_weak(&job->end, &end, to))
        ;
}

static q8_code remember(struct worker *w, size_t index, const q8_err *why, q8_err *err)
{
    /* Grows at every power of two. */
    if ((w->n_failures & (w->n_failures - 1)) == 0) {
        const size_t capacity = w->n_failures ? w->n_failures * 2 : 1;
        struct failure *bigger = realloc(w->failure, capacity * sizeof(*bigger));
        if (!bigger)
            return q8_fail_nomem(err);
        w->failure = bigger;
    }
    const size_t size = strlen(why->text) + 1;
    char *text = malloc(size + strlen(why->file) + 1);
    if (!text)
        return q8_fail_nomem(err);
    memcpy(text, why->text, size);
    w->failure[w->n_failures++] = (struct failure){
        .index = index, .code = why->code, .file = strcpy(text + size, why->file), .text = text};
    return Q8_OK;
}

static q8_code read_sample(const struct job *job, struct worker *w, size_t index, q8_err *err)
{
    const q8_samples *samples = job->loop->samples;
    q8_code code = Q8_OK;
    for (int i = 0; i < q8_samples_inputs(samples) && !code; i++)
        code = q8_samples_read(samples, index, i, q8_run_input(w->run, i, 0), err);
    return code;
}

static q8_code do_sample(struct job *job, struct worker *w, size_t index, q8_err *err)
{
    q8_err why = {0};
    q8_code code = read_sample(job, w, index, &why);
    if (q8_sample_unreadable(code)) {
        if (job->loop->strict)
            end_at(job, index);
        return remember(w, index, &why, err);
    }
    if (code) {
        *err = why;
        return code;
    }
    w->used++;
    if (job->loop->begin)
        job->loop->begin(w->user, index);
    code = q8_run_forward(w->run, 1, job->loop->observe, w->user, err);
    return code || !job->loop->done ? code : job->loop->done(w->user, index, err);
}

static void show_progress(struct job *job)
{
    if (!job->env || !job->env->progress)
        return;
    pthread_mutex_lock(&job->progress);
    job->done++;
    job->env->progress(job->env->user, job->loop->stage, job->done, job->n_samples);
    pthread_mutex_unlock(&job->progress);
}

static q8_code work(void *user, int index, q8_err *err)
{
    struct job *job = user;
    struct worker *w = &job->worker[index];
    q8_code code = q8_run_open(&w->run, job->loop->exec, err);
    while (!code) {
        const size_t i = atomic_fetch_add(&job->next, 1);
        if (i >= atomic_load(&job->end))
            break;
        if (q8_cancelled(job->env))
            code = q8_fail(err, Q8_EINTR, NULL, NULL, "interrupted");
        else
            code = do_sample(job, w, i, err);
        if (!code)
            show_progress(job);
    }
    if (code)
        end_at(job, 0); /* the others need not go on */
    q8_run_close(&w->run);
    return code;
}

static int by_index(const void *a, const void *b)
{
    const struct failure *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Puts all workers' failures, in list order, into `*all` (entries borrowed). */
static q8_code gather_failures(const struct job *job, struct failure **all, size_t *n, q8_err *err)
{
    *n = 0;
    for (int i = 0; i < job->loop->n_workers; i++)
        *n += job->worker[i].n_failures;
    *all = calloc(*n + 1, sizeof(**all));
    if (!*all)
        return q8_fail_nomem(err);
    size_t at = 0;
    for (int i = 0; i < job->loop->n_workers; i++)
        for (size_t k = 0; k < job->worker[i].n_failures; k++)
            (*all)[at++] = job->worker[i].failure[k];
    qsort(*all, *n, sizeof(**all), by_index);
    return Q8_OK;
}

static q8_code report_failures(const struct job *job, size_t used, size_t *skipped, q8_err *err)
{
    struct failure *all = NULL;
    q8_code code = gather_failures(job, &all, skipped, err);
    if (code)
        return code;
    for (size_t i = 0; i < *skipped && !code; i++) {
        const q8_loc loc = {.file = all[i].file};
        if (job->loop->strict)
            code = q8_fail(err, all[i].code, &loc, NULL, "%s", all[i].text);
        else
            q8_warn(job->env, &loc, NULL, "skipped: %s", all[i].text);
    }
    free(all);
    if (!code && used == 0)
        code = q8_fail(err, Q8_EFORMAT, NULL, NULL, "none of the %zu samples can be used",
                       job->n_samples);
    return code;
}

static void free_workers(struct job *job)
{
    for (int i = 0; job->worker && i < job->loop->n_workers; i++) {
        for (size_t k = 0; k < job->worker[i].n_failures; k++)
            free(job->worker[i].failure[k].text);
        free(job->worker[i].failure);
    }
    free(job->worker);
}

q8_code q8_loop_run(const q8_loop *loop, const q8_env *env, size_t *used, size_t *skipped,
                    q8_err *err)
{
    struct job job = {.loop = loop, .env = env, .n_samples = q8_samples_count(loop->samples)};
    *used = *skipped = 0;
    atomic_init(&job.next, 0);
    atomic_init(&job.end, job.n_samples);
    job.worker = calloc((size_t)loop->n_workers, sizeof(*job.worker));
    if (!job.worker)
        return q8_fail_nomem(err);
    for (int i = 0; i < loop->n_workers; i++)
        job.worker[i].user = loop->worker[i];
    pthread_mutex_init(&job.progress, NULL);
    q8_code code = q8_parallel(loop->n_workers, work, &job, err);
    for (int i = 0; i < loop->n_workers; i++)
        *used += job.worker[i].used;
    if (!code)
        code = report_failures(&job, *used, skipped, err);
    pthread_mutex_destroy(&job.progress);
    free_workers(&job);
    return code;
}
