#include "calib/loop.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"

/* One thread's own. */
struct worker {
    q8_run *run;
    void *user;
    q8_loop_state seen; /* `next` is not used */
};

/* What the threads share. */
struct job {
    const q8_loop *loop;
    const q8_env *env;
    size_t n_samples;
    q8_loop_state *state;
    struct worker *worker;
    double pause_at;    /* when no thread is to begin another sample; infinite: never */
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

q8_code q8_loop_state_add(q8_loop_state *state, size_t index, q8_code code, const char *text,
                          const char *file, q8_err *err)
{
    /* Grows at every power of two. */
    if ((state->n_unread & (state->n_unread - 1)) == 0) {
        const size_t capacity = state->n_unread ? state->n_unread * 2 : 1;
        q8_unread *bigger = realloc(state->unread, capacity * sizeof(*bigger));
        if (!bigger)
            return q8_fail_nomem(err);
        state->unread = bigger;
    }
    const size_t size = strlen(text) + 1;
    char *copy = malloc(size + strlen(file) + 1);
    if (!copy)
        return q8_fail_nomem(err);
    memcpy(copy, text, size);
    state->unread[state->n_unread++] =
        (q8_unread){.index = index, .code = code, .text = copy, .file = strcpy(copy + size, file)};
    return Q8_OK;
}

void q8_loop_state_free(q8_loop_state *state)
{
    for (size_t i = 0; i < state->n_unread; i++)
        free(state->unread[i].text);
    free(state->unread);
    *state = (q8_loop_state){0};
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
        return q8_loop_state_add(&w->seen, index, code, why.text, why.file, err);
    }
    if (code) {
        *err = why;
        return code;
    }
    w->seen.used++;
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

/* Samples are taken one after the other and those taken are done, so when all threads have ended
 * without an error what is done is the list up to `next`. */
static q8_code work(void *user, int index, q8_err *err)
{
    struct job *job = user;
    struct worker *w = &job->worker[index];
    q8_code code = q8_run_open(&w->run, job->loop->exec, err);
    while (!code && !q8_cancelled(job->env)) {
        const size_t i = atomic_fetch_add(&job->next, 1);
        if (i >= atomic_load(&job->end))
            break;
        code = do_sample(job, w, i, err);
        if (!code)
            show_progress(job);
        if (q8_now() >= job->pause_at)
            break;
    }
    if (code)
        end_at(job, 0); /* the others need not go on */
    q8_run_close(&w->run);
    return code;
}

static int by_index(const void *a, const void *b)
{
    const q8_unread *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Moves what a worker has seen to what all have; the order is made later. */
static q8_code take_seen(q8_loop_state *all, q8_loop_state *seen, q8_err *err)
{
    q8_code code = Q8_OK;
    all->used += seen->used;
    for (size_t i = 0; i < seen->n_unread && !code; i++) {
        const q8_unread *u = &seen->unread[i];
        code = q8_loop_state_add(all, u->index, u->code, u->text, u->file, err);
    }
    q8_loop_state_free(seen);
    return code;
}

/* The samples from where the loop stands up to a pause, or to the end. */
static q8_code run_stretch(struct job *job, q8_err *err)
{
    const q8_loop *loop = job->loop;
    q8_loop_state *state = job->state;
    job->pause_at = loop->pause ? q8_now() + loop->pause_seconds : (double)INFINITY;
    atomic_store(&job->next, state->next);
    q8_code code = q8_parallel(loop->n_workers, work, job, err);
    for (int i = 0; i < loop->n_workers; i++) {
        const q8_code taken = take_seen(state, &job->worker[i].seen, err);
        code = code ? code : taken;
    }
    if (code)
        return code;
    const size_t next = atomic_load(&job->next), end = atomic_load(&job->end);
    state->next = next < end ? next : end;
    if (state->n_unread > 0)
        qsort(state->unread, state->n_unread, sizeof(*state->unread), by_index);
    const bool is_refused = loop->strict && state->n_unread > 0;
    if (loop->pause && !is_refused)
        code = loop->pause(loop->pause_user, state, err);
    if (!code && q8_cancelled(job->env) && state->next < end)
        code = q8_fail(err, Q8_EINTR, NULL, NULL, "interrupted");
    return code;
}

static q8_code report_unread(const struct job *job, q8_err *err)
{
    const q8_loop_state *state = job->state;
    q8_code code = Q8_OK;
    for (size_t i = 0; i < state->n_unread && !code; i++) {
        const q8_unread *u = &state->unread[i];
        const q8_loc loc = {.file = u->file};
        if (job->loop->strict)
            code = q8_fail(err, u->code, &loc, NULL, "%s", u->text);
        else
            q8_warn(job->env, &loc, NULL, "skipped: %s", u->text);
    }
    if (!code && state->used == 0)
        code = q8_fail(err, Q8_EFORMAT, NULL, NULL, "none of the %zu samples can be used",
                       job->n_samples);
    return code;
}

q8_code q8_loop_run(const q8_loop *loop, const q8_env *env, size_t *used, size_t *skipped,
                    q8_err *err)
{
    q8_loop_state own = {0};
    struct job job = {.loop = loop,
                      .env = env,
                      .n_samples = q8_samples_count(loop->samples),
                      .state = loop->state ? loop->state : &own};
    *used = *skipped = 0;
    job.done = job.state->next;
    atomic_init(&job.next, 0);
    atomic_init(&job.end, job.n_samples);
    job.worker = calloc((size_t)loop->n_workers, sizeof(*job.worker));
    if (!job.worker)
        return q8_fail_nomem(err);
    for (int i = 0; i < loop->n_workers; i++)
        job.worker[i].user = loop->worker[i];
    pthread_mutex_init(&job.progress, NULL);
    q8_code code = Q8_OK;
    while (!code && job.state->next < atomic_load(&job.end))
        code = run_stretch(&job, err);
    *used = job.state->used;
    *skipped = job.state->n_unread;
    if (!code)
        code = report_unread(&job, err);
    pthread_mutex_destroy(&job.progress);
    free(job.worker);
    q8_loop_state_free(&own);
    return code;
}
