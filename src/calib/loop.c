#include "calib/loop.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/team.h"
#include "base/thread.h"

/* What a member of the team did. Behind it come its failures: the first bytes of a failure, up to
 * `text`, and its strings. */
struct share {
    uint64_t used, failures;
    uint64_t complete; /* it has not been stopped */
};

struct failure {
    uint64_t index;
    int32_t code, fatal;
    const char *text, *file, *layer;
};

/* The same of all members. */
struct outcome {
    size_t used, n;
    bool complete;
    struct failure *failure; /* in list order; strings are in `bytes` */
    q8_buf bytes;
};

/* One thread's own. */
struct worker {
    q8_run *run;
    q8_sample_room room;
    size_t *sample; /* of its batch */
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
    double pause_at;    /* when no thread is to begin another batch; infinite: never */
    size_t mine;        /* samples that this member of the team does */
    atomic_size_t next; /* of these */
    atomic_size_t end;  /* no sample from here on is wanted any more */
    pthread_mutex_t progress;
    size_t done;
};

int q8_loop_workers(const q8_samples *samples, const q8_env *env)
{
    const int threads = q8_thread_count(env);
    const size_t n = q8_team_share(env, q8_samples_count(samples));
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

static char *add_string(char **to, const char *text)
{
    char *at = *to;
    *to = stpcpy(at, text) + 1;
    return at;
}

q8_code q8_loop_state_add(q8_loop_state *state, const q8_unread *unread, q8_err *err)
{
    /* Grows at every power of two. */
    if ((state->n_unread & (state->n_unread - 1)) == 0) {
        const size_t capacity = state->n_unread ? state->n_unread * 2 : 1;
        q8_unread *bigger = realloc(state->unread, capacity * sizeof(*bigger));
        if (!bigger)
            return q8_fail_nomem(err);
        state->unread = bigger;
    }
    char *text = malloc(strlen(unread->text) + strlen(unread->file) + strlen(unread->layer) + 3);
    if (!text)
        return q8_fail_nomem(err);
    q8_unread *copy = &state->unread[state->n_unread++];
    *copy = *unread;
    copy->text = add_string(&text, unread->text);
    copy->file = add_string(&text, unread->file);
    copy->layer = add_string(&text, unread->layer);
    return Q8_OK;
}

void q8_loop_state_free(q8_loop_state *state)
{
    for (size_t i = 0; i < state->n_unread; i++)
        free((char *)(uintptr_t)state->unread[i].text);
    free(state->unread);
    *state = (q8_loop_state){0};
}

/* One sample, as picture `at` of the batch. */
static q8_code read_sample(const struct job *job, struct worker *w, size_t index, int at,
                           q8_err *err)
{
    const q8_samples *samples = job->loop->samples;
    q8_code code = Q8_OK;
    for (int i = 0; i < q8_samples_inputs(samples) && !code; i++)
        code = q8_samples_read(samples, index, i, q8_run_input(w->run, i, at), &w->room, err);
    return code;
}

/* A sample that cannot be read is left out; anything else ends the loop there. */
static q8_code note_failure(struct job *job, struct worker *w, size_t index, q8_err *why,
                            q8_err *err)
{
    const q8_unread unread = {.index = index,
                              .code = why->code,
                              .fatal = job->loop->strict || !q8_sample_unreadable(why->code),
                              .text = why->text,
                              .file = why->file,
                              .layer = why->layer};
    if (unread.fatal) {
        end_at(job, index);
        q8_team_stop(job->env, index);
    }
    return q8_loop_state_add(&w->seen, &unread, err);
}

/* Runs the worker's batch, which has been read. */
static q8_code run_batch(const struct job *job, struct worker *w, int n, q8_err *err)
{
    const q8_loop *loop = job->loop;
    if (n > 0 && loop->begin)
        loop->begin(w->user, w->sample, n);
    q8_code code = n > 0 ? q8_run_forward(w->run, n, loop->observe, w->user, err) : Q8_OK;
    for (int i = 0; i < n && loop->done && !code; i++)
        code = loop->done(w->user, w->sample[i], err);
    return code;
}

static void show_progress(struct job *job, size_t samples)
{
    if (!job->env || !job->env->progress)
        return;
    pthread_mutex_lock(&job->progress);
    /* The others of a team are taken to be as fast. */
    job->done += samples;
    const size_t done = job->done * (size_t)q8_team_size(job->env), n = job->n_samples;
    job->env->progress(job->env->user, job->loop->stage, done < n ? done : n, n);
    pthread_mutex_unlock(&job->progress);
}

/* The sample that is this member's `turn`-th. */
static size_t sample_of(const struct job *job, size_t turn)
{
    return (size_t)q8_team_rank(job->env) + turn * (size_t)q8_team_size(job->env);
}

/* Turns a thread takes at once: as many as the batch has room for, unless others would get none. */
static size_t turns_at_once(const struct job *job)
{
    const size_t room = (size_t)q8_exec_batch(job->loop->exec);
    const size_t workers = (size_t)job->loop->n_workers,
                 share = (job->mine + workers - 1) / workers;
    return share < room && share > 0 ? share : room;
}

static q8_code do_batch(struct job *job, struct worker *w, size_t first, q8_err *err)
{
    const size_t room = turns_at_once(job), left = job->mine - first;
    const size_t taken = left < room ? left : room;
    q8_err why = {0};
    int n = 0;
    for (size_t turn = first; turn < first + taken; turn++) {
        const size_t index = sample_of(job, turn);
        why = (q8_err){0};
        if (index >= atomic_load(&job->end))
            break;
        if (read_sample(job, w, index, n, &why) == Q8_OK)
            w->sample[n++] = index;
        else if (note_failure(job, w, index, &why, err))
            return err->code;
    }
    w->seen.used += (size_t)n;
    why = (q8_err){0};
    if (run_batch(job, w, n, &why))
        return note_failure(job, w, w->sample[0], &why, err);
    show_progress(job, taken);
    return Q8_OK;
}

/* Turns are taken one after the other and those taken are done, so when all threads have ended
 * without an error what is done are those up to `next`. */
static q8_code work(void *user, int index, q8_err *err)
{
    struct job *job = user;
    struct worker *w = &job->worker[index];
    const size_t at_once = turns_at_once(job);
    q8_code code = q8_run_open(&w->run, job->loop->exec, err);
    if (!code && !(w->sample = calloc(at_once, sizeof(*w->sample))))
        code = q8_fail_nomem(err);
    while (!code && !q8_cancelled(job->env)) {
        end_at(job, q8_team_stopped(job->env));
        const size_t turn = atomic_fetch_add(&job->next, at_once);
        if (turn >= job->mine || sample_of(job, turn) >= atomic_load(&job->end))
            break;
        code = do_batch(job, w, turn, err);
        if (q8_now() >= job->pause_at)
            break;
    }
    if (code) { /* the others need not go on */
        end_at(job, 0);
        q8_team_stop(job->env, 0);
    }
    free(w->sample);
    q8_sample_room_free(&w->room);
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
    for (size_t i = 0; i < seen->n_unread && !code; i++)
        code = q8_loop_state_add(all, &seen->unread[i], err);
    q8_loop_state_free(seen);
    return code;
}

static q8_code take_all(struct job *job, q8_err *err)
{
    q8_loop_state *state = job->state;
    q8_code code = Q8_OK;
    for (int i = 0; i < job->loop->n_workers; i++) {
        const q8_code taken = take_seen(state, &job->worker[i].seen, err);
        code = code ? code : taken;
    }
    if (state->n_unread > 0)
        qsort(state->unread, state->n_unread, sizeof(*state->unread), by_index);
    const size_t next = atomic_load(&job->next);
    state->next = next < job->mine ? next : job->mine;
    return code;
}

/* Nothing has shortened the list. */
static bool is_complete(const struct job *job)
{
    return atomic_load(&job->end) >= job->n_samples;
}

/* The samples from where the loop stands up to a pause, or to the end. */
static q8_code run_stretch(struct job *job, q8_err *err)
{
    const q8_loop *loop = job->loop;
    job->pause_at = loop->pause ? q8_now() + loop->pause_seconds : (double)INFINITY;
    atomic_store(&job->next, job->state->next);
    q8_code code = q8_parallel(loop->n_workers, work, job, err);
    const q8_code taken = take_all(job, err);
    code = code ? code : taken;
    if (!code && loop->pause && is_complete(job))
        code = loop->pause(loop->pause_user, job->state, err);
    if (!code && q8_cancelled(job->env) && job->state->next < job->mine) {
        q8_team_stop(job->env, 0);
        code = q8_fail(err, Q8_EINTR, NULL, NULL, "interrupted");
    }
    return code;
}

static q8_code run_all(struct job *job, q8_err *err)
{
    q8_code code = Q8_OK;
    while (!code && job->state->next < job->mine && is_complete(job))
        code = run_stretch(job, err);
    return code;
}

/* --- what has become of it -------------------------------------------------------------------- */

static void pack_string(q8_buf *bytes, const char *text)
{
    q8_buf_add(bytes, text, strlen(text) + 1);
}

static void pack_share(const struct job *job, q8_buf *bytes)
{
    const q8_loop_state *state = job->state;
    const struct share share = {
        .used = state->used, .failures = state->n_unread, .complete = is_complete(job)};
    q8_buf_add(bytes, &share, sizeof(share));
    for (size_t i = 0; i < state->n_unread; i++) {
        const q8_unread *u = &state->unread[i];
        const struct failure f = {.index = u->index, .code = (int32_t)u->code, .fatal = u->fatal};
        q8_buf_add(bytes, &f, offsetof(struct failure, text));
        pack_string(bytes, u->text);
        pack_string(bytes, u->file);
        pack_string(bytes, u->layer);
    }
}

static const char *next_string(const unsigned char **at)
{
    const char *text = (const char *)*at;
    *at += strlen(text) + 1;
    return text;
}

static int failure_by_index(const void *a, const void *b)
{
    const struct failure *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* One member's. @return behind its last failure */
static const unsigned char *unpack_share(struct outcome *o, const unsigned char *at)
{
    struct share share;
    memcpy(&share, at, sizeof(share));
    at += sizeof(share);
    o->used += share.used;
    o->complete = o->complete && share.complete;
    for (uint64_t i = 0; i < share.failures; i++) {
        struct failure *f = &o->failure[o->n++];
        memcpy(f, at, offsetof(struct failure, text));
        at += offsetof(struct failure, text);
        f->text = next_string(&at);
        f->file = next_string(&at);
        f->layer = next_string(&at);
    }
    return at;
}

static q8_code unpack(struct outcome *o, q8_err *err)
{
    /* No failure takes fewer bytes. */
    o->failure = malloc((o->bytes.size / offsetof(struct failure, text) + 1) * sizeof(*o->failure));
    if (!o->failure)
        return q8_fail_nomem(err);
    o->complete = true;
    for (const unsigned char *at = o->bytes.data; at < o->bytes.data + o->bytes.size;)
        at = unpack_share(o, at);
    qsort(o->failure, o->n, sizeof(*o->failure), failure_by_index);
    return Q8_OK;
}

static q8_code report(const struct job *job, const struct outcome *o, q8_err *err)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct failure *f = &o->failure[i];
        const q8_loc loc = {.file = f->file[0] ? f->file : NULL};
        if (f->fatal)
            return q8_fail(err, (q8_code)f->code, &loc, f->layer[0] ? f->layer : NULL, "%s",
                           f->text);
        q8_warn(job->env, &loc, NULL, "skipped: %s", f->text);
    }
    if (!o->complete)
        return q8_fail(err, Q8_EINTR, NULL, NULL, "interrupted");
    if (o->used == 0)
        return q8_fail(err, Q8_EFORMAT, NULL, NULL, "none of the %zu samples can be used",
                       job->n_samples);
    return Q8_OK;
}

/* @param code how this member's share has ended */
static q8_code finish(struct job *job, q8_code code, size_t *used, size_t *skipped, q8_err *err)
{
    struct outcome o = {0};
    pack_share(job, &o.bytes);
    code = q8_team_gather(job->env, code, &o.bytes, err);
    if (!code)
        code = unpack(&o, err);
    if (!code) {
        *used = o.used;
        *skipped = o.n;
        code = q8_team_end(job->env, report(job, &o, err));
    }
    free(o.failure);
    q8_buf_free(&o.bytes);
    return code;
}

static uint64_t hash_samples(const q8_samples *samples)
{
    uint64_t hash = 0;
    char path[Q8_MAX_PATH];
    for (size_t i = 0; i < q8_samples_count(samples); i++)
        hash = q8_hash_text(hash, q8_samples_path(samples, i, path));
    return hash;
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
    job.mine = q8_team_share(env, job.n_samples);
    atomic_init(&job.next, 0);
    atomic_init(&job.end, SIZE_MAX);
    job.worker = calloc((size_t)loop->n_workers, sizeof(*job.worker));
    if (!job.worker)
        return q8_fail_nomem(err);
    for (int i = 0; i < loop->n_workers; i++)
        job.worker[i].user = loop->worker[i];
    pthread_mutex_init(&job.progress, NULL);
    q8_code code = q8_team_check_same(env, hash_samples(loop->samples), "pictures", err);
    if (!code)
        code = finish(&job, run_all(&job, err), used, skipped, err);
    pthread_mutex_destroy(&job.progress);
    free(job.worker);
    q8_loop_state_free(&own);
    return code;
}
