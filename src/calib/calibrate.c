#include "calib/calibrate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "calib/samples.h"

/* A sample that could not be read. */
struct failure {
    size_t index;
    q8_code code;
    char *file, *text; /* `file` points into `text`'s memory */
};

/* One thread's own. */
struct worker {
    q8_run *run;
    q8_stats **stats; /* by tensor id */
    struct failure *failure;
    size_t n_failures, used;
};

/* What the threads share. */
struct job {
    const q8_graph *graph;
    const bool *wanted;
    bool strict;
    const q8_env *env;
    q8_samples *samples;
    size_t n_samples;
    q8_exec *exec;
    struct worker *worker;
    int n_workers;
    atomic_size_t next; /* sample */
    atomic_size_t end;  /* no sample from here on is wanted any more */
    pthread_mutex_t progress;
    size_t done;
};

static void free_stats(q8_stats **stats, int n)
{
    for (int t = 0; stats && t < n; t++)
        if (stats[t]) {
            q8_stats_free(stats[t]);
            free(stats[t]);
        }
    free(stats);
}

static q8_code new_stats(q8_stats ***stats, const q8_graph *graph, const bool *wanted, q8_err *err)
{
    *stats = calloc((size_t)graph->n_tensors + 1, sizeof(**stats));
    if (!*stats)
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++) {
        if (!wanted[t])
            continue;
        (*stats)[t] = calloc(1, sizeof(***stats));
        if (!(*stats)[t])
            return q8_fail_nomem(err);
        const q8_code code = q8_stats_init((*stats)[t], graph->tensor[t].shape.dim[0], err);
        if (code)
            return code;
    }
    return Q8_OK;
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

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    (void)err;
    struct worker *w = user;
    q8_stats_add(w->stats[tensor], view);
    return Q8_OK;
}

/* The fault is the file's, not ours or the machine's. */
static bool is_unreadable(q8_code code)
{
    return code == Q8_EIO || code == Q8_EFORMAT || code == Q8_EUNSUPPORTED;
}

static q8_code read_sample(const struct job *job, struct worker *w, size_t index, q8_err *err)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < q8_samples_inputs(job->samples) && !code; i++)
        code = q8_samples_read(job->samples, index, i, q8_run_input(w->run, i, 0), err);
    return code;
}

static q8_code do_sample(struct job *job, struct worker *w, size_t index, q8_err *err)
{
    q8_err why = {0};
    const q8_code code = read_sample(job, w, index, &why);
    if (is_unreadable(code)) {
        if (job->strict)
            end_at(job, index);
        return remember(w, index, &why, err);
    }
    if (code) {
        *err = why;
        return code;
    }
    w->used++;
    return q8_run_forward(w->run, 1, observe, w, err);
}

static void show_progress(struct job *job)
{
    if (!job->env || !job->env->progress)
        return;
    pthread_mutex_lock(&job->progress);
    job->done++;
    job->env->progress(job->env->user, "calibrate", job->done, job->n_samples);
    pthread_mutex_unlock(&job->progress);
}

static q8_code work(void *user, int index, q8_err *err)
{
    struct job *job = user;
    struct worker *w = &job->worker[index];
    q8_code code = new_stats(&w->stats, job->graph, job->wanted, err);
    if (!code)
        code = q8_run_open(&w->run, job->exec, err);
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
    for (int i = 0; i < job->n_workers; i++)
        *n += job->worker[i].n_failures;
    *all = calloc(*n + 1, sizeof(**all));
    if (!*all)
        return q8_fail_nomem(err);
    size_t at = 0;
    for (int i = 0; i < job->n_workers; i++)
        for (size_t k = 0; k < job->worker[i].n_failures; k++)
            (*all)[at++] = job->worker[i].failure[k];
    qsort(*all, *n, sizeof(**all), by_index);
    return Q8_OK;
}

static q8_code report_failures(const struct job *job, q8_calibration *cal, q8_err *err)
{
    struct failure *all = NULL;
    q8_code code = gather_failures(job, &all, &cal->skipped, err);
    if (code)
        return code;
    for (size_t i = 0; i < cal->skipped && !code; i++) {
        const q8_loc loc = {.file = all[i].file};
        if (job->strict)
            code = q8_fail(err, all[i].code, &loc, NULL, "%s", all[i].text);
        else
            q8_warn(job->env, &loc, NULL, "skipped: %s", all[i].text);
    }
    free(all);
    if (!code && cal->used == 0)
        code = q8_fail(err, Q8_EFORMAT, NULL, NULL, "none of the %zu samples can be used",
                       job->n_samples);
    return code;
}

/* Worker 0's statistics become those of all. */
static q8_code merge_workers(struct job *job, q8_calibration *cal, q8_err *err)
{
    cal->n_tensors = job->graph->n_tensors;
    cal->stats = job->worker[0].stats;
    job->worker[0].stats = NULL;
    for (int t = 0; t < cal->n_tensors; t++) {
        if (!cal->stats[t])
            continue;
        for (int i = 1; i < job->n_workers; i++)
            q8_stats_merge(cal->stats[t], job->worker[i].stats[t]);
        if (cal->stats[t]->count == 0)
            return q8_fail(err, Q8_EINTERNAL, NULL, NULL, "tensor '%s' was not observed",
                           job->graph->tensor[t].name);
    }
    return Q8_OK;
}

static const q8_node *producer_of(const q8_graph *graph, int tensor)
{
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out; k++)
            if (graph->node[i]->out[k] == tensor)
                return graph->node[i];
    return NULL;
}

static void warn_not_finite(const q8_calibration *cal, const q8_graph *graph, const q8_env *env)
{
    for (int t = 0; t < cal->n_tensors; t++) {
        if (!cal->stats[t] || !cal->stats[t]->hist.not_finite)
            continue;
        const q8_node *node = producer_of(graph, t);
        q8_warn(env, node ? &node->loc : NULL, node ? node->name : NULL,
                "%llu of %llu values of '%s' are NaN or infinite; they were left out",
                (unsigned long long)cal->stats[t]->hist.not_finite,
                (unsigned long long)cal->stats[t]->count, graph->tensor[t].name);
    }
}

static q8_code open_job(struct job *job, const q8_calibration_of *what, q8_err *err)
{
    q8_code code =
        q8_samples_open(&job->samples, job->graph, what->opts, what->transform, job->env, err);
    if (code)
        return code;
    job->n_samples = q8_samples_count(job->samples);
    atomic_init(&job->next, 0);
    atomic_init(&job->end, job->n_samples);
    const int threads = job->env && job->env->threads > 0 ? job->env->threads : q8_core_count();
    job->n_workers = (size_t)threads < job->n_samples ? threads : (int)job->n_samples;
    job->worker = calloc((size_t)job->n_workers, sizeof(*job->worker));
    if (!job->worker)
        return q8_fail_nomem(err);
    const q8_exec_opts exec = {.backend = what->backend, .batch = 1, .wanted = job->wanted};
    return q8_exec_open(&job->exec, job->graph, &exec, err);
}

static void close_job(struct job *job)
{
    for (int i = 0; job->worker && i < job->n_workers; i++) {
        struct worker *w = &job->worker[i];
        free_stats(w->stats, job->graph->n_tensors);
        for (size_t k = 0; k < w->n_failures; k++)
            free(w->failure[k].text);
        free(w->failure);
    }
    free(job->worker);
    q8_exec_close(&job->exec);
    q8_samples_close(&job->samples);
    pthread_mutex_destroy(&job->progress);
}

static bool any_wanted(const q8_graph *graph, const bool *wanted)
{
    for (int t = 0; t < graph->n_tensors; t++)
        if (wanted[t])
            return true;
    return false;
}

q8_code q8_calibration_run(q8_calibration *cal, const q8_calibration_of *what, const q8_env *env,
                           q8_err *err)
{
    const q8_graph *graph = what->graph;
    memset(cal, 0, sizeof(*cal));
    if (!any_wanted(graph, what->wanted))
        return Q8_OK;
    struct job job = {
        .graph = graph, .wanted = what->wanted, .strict = what->opts->strict, .env = env};
    pthread_mutex_init(&job.progress, NULL);
    q8_code code = open_job(&job, what, err);
    if (!code)
        code = q8_parallel(job.n_workers, work, &job, err);
    if (code)
        goto done;
    for (int i = 0; i < job.n_workers; i++)
        cal->used += job.worker[i].used;
    code = report_failures(&job, cal, err);
    if (!code)
        code = merge_workers(&job, cal, err);
    if (!code)
        warn_not_finite(cal, graph, env);
done:
    close_job(&job);
    if (code)
        q8_calibration_free(cal);
    return code;
}

void q8_calibration_free(q8_calibration *cal)
{
    free_stats(cal->stats, cal->n_tensors);
    memset(cal, 0, sizeof(*cal));
}
