#include "calib/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "calib/loop.h"

/* One thread's own. */
struct worker {
    q8_stats **stats; /* by tensor id */
    q8_windows_capture *windows;
    size_t sample; /* at hand */
};

/* What is open while the loop runs. */
struct job {
    const q8_graph *graph;
    q8_samples *samples;
    q8_exec *exec;
    struct worker *worker;
    void **user; /* by worker, for the loop */
    int n_workers;
    q8_windows_capture *windows;
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

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct worker *w = user;
    q8_stats_add(w->stats[tensor], view);
    return q8_windows_observe(w->windows, w->sample, tensor, view, err);
}

static void begin(void *user, size_t sample)
{
    ((struct worker *)user)->sample = sample;
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

static q8_code open_job(struct job *job, const q8_calibration_of *what, const q8_env *env,
                        q8_err *err)
{
    q8_code code =
        q8_samples_open(&job->samples, job->graph, what->opts, what->transform, env, err);
    if (code)
        return code;
    job->n_workers = q8_loop_workers(job->samples, env);
    job->worker = calloc((size_t)job->n_workers, sizeof(*job->worker));
    job->user = calloc((size_t)job->n_workers, sizeof(*job->user));
    if (!job->worker || !job->user)
        return q8_fail_nomem(err);
    code = q8_windows_open(&job->windows, job->graph, what->wanted, q8_samples_count(job->samples),
                           err);
    for (int i = 0; i < job->n_workers && !code; i++) {
        job->user[i] = &job->worker[i];
        job->worker[i].windows = job->windows;
        code = new_stats(&job->worker[i].stats, job->graph, what->wanted, err);
    }
    const q8_exec_opts exec = {.backend = what->backend, .batch = 1, .wanted = what->wanted};
    return code ? code : q8_exec_open(&job->exec, job->graph, &exec, err);
}

static void close_job(struct job *job)
{
    for (int i = 0; job->worker && i < job->n_workers; i++)
        free_stats(job->worker[i].stats, job->graph->n_tensors);
    free(job->worker);
    free(job->user);
    q8_windows_close(&job->windows);
    q8_exec_close(&job->exec);
    q8_samples_close(&job->samples);
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
    memset(cal, 0, sizeof(*cal));
    if (!any_wanted(what->graph, what->wanted)) {
        cal->n_tensors = what->graph->n_tensors;
        cal->stats = calloc((size_t)cal->n_tensors + 1, sizeof(*cal->stats));
        return cal->stats ? Q8_OK : q8_fail_nomem(err);
    }
    struct job job = {.graph = what->graph};
    q8_code code = open_job(&job, what, env, err);
    const q8_loop loop = {
        .samples = job.samples,
        .exec = job.exec,
        .stage = "calibrate",
        .strict = what->opts->strict,
        .worker = job.user,
        .n_workers = job.n_workers,
        .begin = begin,
        .observe = observe,
    };
    if (!code)
        code = q8_loop_run(&loop, env, &cal->used, &cal->skipped, err);
    if (!code)
        code = merge_workers(&job, cal, err);
    if (!code) {
        q8_windows_take(job.windows, &cal->windows);
        warn_not_finite(cal, what->graph, env);
    }
    close_job(&job);
    if (code)
        q8_calibration_free(cal);
    return code;
}

q8_code q8_calibration_copy(q8_calibration *to, const q8_calibration *from, q8_err *err)
{
    *to = (q8_calibration){.n_tensors = from->n_tensors, .used = from->used};
    to->skipped = from->skipped;
    to->stats = calloc((size_t)from->n_tensors + 1, sizeof(*to->stats));
    q8_code code = to->stats ? Q8_OK : q8_fail_nomem(err);
    for (int t = 0; t < from->n_tensors && !code; t++) {
        if (!from->stats || !from->stats[t])
            continue;
        to->stats[t] = calloc(1, sizeof(**to->stats));
        code = to->stats[t] ? q8_stats_copy(to->stats[t], from->stats[t], err) : q8_fail_nomem(err);
    }
    if (code)
        q8_calibration_free(to);
    return code;
}

void q8_calibration_free(q8_calibration *cal)
{
    free_stats(cal->stats, cal->n_tensors);
    q8_windows_free(&cal->windows);
    memset(cal, 0, sizeof(*cal));
}
