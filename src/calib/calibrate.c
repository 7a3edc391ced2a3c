#include "calib/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/team.h"
#include "base/thread.h"
#include "calib/checkpoint.h"
#include "calib/packed.h"
#include "calib/stats_gpu.h"
#include "ops/op.h"

/* One thread's own. */
struct worker {
    q8_stats **stats;        /* by tensor id */
    q8_channel_queue *queue; /* likewise; NULL: channels' bins are not wanted */
    q8_stats_waiting *waiting;
};

/* What is open while the loop runs. */
struct job {
    const q8_graph *graph;
    q8_samples *samples;
    q8_exec *exec;
    q8_exec **kept; /* where `exec` is to be left; NULL: nowhere */
    struct worker *worker;
    void **user; /* by worker, for the loop */
    int n_workers;
    q8_checkpoint *checkpoint; /* NULL: none */
    q8_loop_state state;
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

static q8_code open_worker(struct worker *w, const q8_calibration_of *what, q8_err *err)
{
    const bool has_bins = !what->opts->no_channel_histograms;
    const size_t n = (size_t)what->graph->n_tensors + 1;
    w->queue = has_bins ? calloc(n, sizeof(*w->queue)) : NULL;
    w->waiting = calloc(n, sizeof(*w->waiting));
    if (!w->waiting || (has_bins && !w->queue))
        return q8_fail_nomem(err);
    return new_stats(&w->stats, what->graph, what->wanted, err);
}

static void close_worker(struct worker *w, const q8_graph *graph)
{
    for (int t = 0; w->queue && t < graph->n_tensors; t++)
        q8_channel_queue_close(&w->queue[t]);
    for (int t = 0; w->waiting && t < graph->n_tensors; t++)
        q8_stats_waiting_close(&w->waiting[t]);
    free(w->queue);
    free(w->waiting);
    free_stats(w->stats, graph->n_tensors);
}

static q8_code flush_worker(const struct worker *w, const q8_graph *graph, q8_err *err)
{
    q8_code code = Q8_OK;
    for (int t = 0; t < graph->n_tensors && !code; t++)
        if (w->stats[t]) {
            if (w->queue)
                q8_channel_queue_flush(&w->queue[t], w->stats[t]->channel_bins);
            code = q8_stats_collect(w->stats[t], &w->waiting[t], err);
        }
    return code;
}

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct worker *w = user;
    if (view->gpu)
        return q8_stats_add_on_gpu(w->stats[tensor], &w->waiting[tensor], w->queue != NULL, view,
                                   err);
    return q8_stats_queue(w->stats[tensor], w->queue ? &w->queue[tensor] : NULL, view, err);
}

/* Worker 0's statistics become those of all, and the others' those of nothing. */
static q8_code gather_workers(struct job *job, q8_err *err)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < job->n_workers && !code; i++)
        code = flush_worker(&job->worker[i], job->graph, err);
    for (int i = 1; i < job->n_workers; i++)
        for (int t = 0; t < job->graph->n_tensors && !code; t++) {
            q8_stats *from = job->worker[i].stats[t];
            if (!from)
                continue;
            q8_stats_merge(job->worker[0].stats[t], from);
            const int channels = from->channels;
            q8_stats_free(from);
            code = q8_stats_init(from, channels, err);
        }
    return code;
}

/* --- checkpoints ------------------------------------------------------------------------------ */

/* What the loop does while it pauses. */
static q8_code write_checkpoint(void *user, const q8_loop_state *state, q8_err *err)
{
    struct job *job = user;
    const q8_code code = gather_workers(job, err);
    const q8_calibration cal = {.n_tensors = job->graph->n_tensors,
                                .stats = job->worker[0].stats,
                                .used = state->used,
                                .skipped = state->n_unread};
    return code ? code : q8_checkpoint_write(job->checkpoint, &cal, state, err);
}

/* Worker 0 gets what is in the checkpoint, if there is one. */
static q8_code open_checkpoint(struct job *job, bool strict, const q8_env *env, q8_err *err)
{
    q8_calibration cal;
    const q8_code code =
        q8_checkpoint_open(job->checkpoint, job->samples, strict, &cal, &job->state, env, err);
    if (!code && cal.stats) {
        free_stats(job->worker[0].stats, job->graph->n_tensors);
        job->worker[0].stats = cal.stats;
    }
    return code;
}

/* --- those of a team -------------------------------------------------------------------------- */

struct shared {
    q8_calibration *cal;
    const q8_graph *graph;
};

static void pack(void *user, q8_buf *bytes)
{
    const struct shared *s = user;
    q8_calibration_pack(s->cal, bytes);
}

static q8_code merge_packed(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    const struct shared *s = user;
    q8_calibration other = {0};
    q8_code code = q8_calibration_unpack(&other, data, size, s->graph, err);
    if (!code)
        code = q8_calibration_merge(s->cal, &other, err);
    q8_calibration_free(&other);
    return code;
}

static q8_code replace(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    const struct shared *s = user;
    q8_calibration_free(s->cal);
    return q8_calibration_unpack(s->cal, data, size, s->graph, err);
}

static const q8_node *producer_of(const q8_graph *graph, int tensor)
{
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out; k++)
            if (graph->node[i]->out[k] == tensor)
                return graph->node[i];
    return NULL;
}

/* Scales are chosen from finite values, and there must be some. */
static q8_code check_observed(const q8_stats *stats, const q8_graph *graph, int tensor, q8_err *err)
{
    const char *name = graph->tensor[tensor].name;
    if (stats->count == 0)
        return q8_fail(err, Q8_EINTERNAL, NULL, NULL, "tensor '%s' was not observed", name);
    if (stats->hist.not_finite < stats->count)
        return Q8_OK;
    const q8_node *node = producer_of(graph, tensor);
    return q8_fail(err, Q8_EMODEL, node ? &node->loc : NULL, node ? node->name : NULL,
                   "all %llu values of '%s' are NaN or infinite: look for weights, inputs or "
                   "statistics that are too large in this layer and those before it",
                   (unsigned long long)stats->count, name);
}

static q8_code merge(struct job *job, q8_calibration *cal, const q8_env *env, q8_err *err)
{
    struct shared shared = {cal, job->graph};
    const q8_reduction all = {&shared, pack, merge_packed, replace};
    q8_code code = gather_workers(job, err);
    *cal = (q8_calibration){
        .n_tensors = job->graph->n_tensors, .stats = job->worker[0].stats, .used = job->state.used};
    job->worker[0].stats = NULL;
    code = q8_team_reduce(env, code, &all, err);
    for (int t = 0; t < cal->n_tensors && !code; t++)
        if (cal->stats[t])
            code = check_observed(cal->stats[t], job->graph, t, err);
    return code;
}

/* --- all of it -------------------------------------------------------------------------------- */

void q8_calibration_warn(const q8_calibration *cal, const q8_graph *graph, const q8_env *env)
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

size_t q8_calibration_size(const q8_graph *graph, const bool *wanted)
{
    size_t bytes = 0;
    for (int t = 0; t < graph->n_tensors; t++)
        if (wanted[t])
            bytes += q8_stats_size(graph->tensor[t].shape.dim[0]);
    return bytes;
}

static q8_code open_exec(struct job *job, const q8_calibration_of *what, int batch,
                         const q8_env *env, q8_err *err)
{
    const q8_exec_opts exec = {.backend = what->backend,
                               .gpu = what->gpu,
                               .gpu_views = true,
                               .batch = batch,
                               .wanted = what->wanted,
                               .threads = q8_thread_count(env)};
    return q8_exec_open(&job->exec, job->graph, &exec, err);
}

/* On a GPU one batch is read and copied while another is computed, by a thread with a queue of its
 * own for each. */
static int gpu_workers(const q8_samples *samples, const q8_env *env)
{
    const int n = q8_loop_workers(samples, env);
    return n < 2 ? 2 : n;
}

/* Whether the plan's runs for all workers find memory at the same time. */
static q8_code try_runs(const struct job *job, q8_err *err)
{
    q8_run **run = calloc((size_t)job->n_workers, sizeof(*run));
    q8_code code = run ? Q8_OK : q8_fail_nomem(err);
    for (int i = 0; i < job->n_workers && !code; i++)
        code = q8_run_open(&run[i], job->exec, err);
    for (int i = 0; run && i < job->n_workers; i++)
        q8_run_close(&run[i]);
    free(run);
    return code;
}

static void note_less(const struct job *job, const q8_env *env)
{
    q8_note(env, NULL, NULL, "calibrating in batches of %d on %d threads, for want of memory",
            q8_exec_batch(job->exec), job->n_workers);
}

/* With the largest batch that all workers have memory for. */
static q8_code plan_for_gpu(struct job *job, const q8_calibration_of *what, const q8_env *env,
                            q8_err *err)
{
    enum { BATCH = 8 };
    const int asked = what->opts->batch > 0 ? what->opts->batch : BATCH;
    q8_err why = {0};
    q8_code code = Q8_OK;
    job->n_workers = gpu_workers(job->samples, env);
    for (int batch = asked; !job->exec && batch > 0; batch /= 2) {
        why = (q8_err){0};
        code = open_exec(job, what, batch, env, &why);
        if (!code)
            code = try_runs(job, &why);
        if (code)
            q8_exec_close(&job->exec);
        if (code && code != Q8_ENOMEM)
            break;
    }
    if (code && err)
        *err = why;
    else if (!code && q8_exec_batch(job->exec) < asked)
        note_less(job, env);
    return code;
}

/* The plan and the number of threads, as memory allows: a smaller batch rather than fewer threads.
 */
static q8_code plan(struct job *job, const q8_calibration_of *what, const q8_env *env, q8_err *err)
{
    if (what->backend == Q8_BACKEND_GPU)
        return plan_for_gpu(job, what, env, err);
    const int asked = what->opts->batch, most = q8_loop_workers(job->samples, env);
    const int batch = asked > 0 ? asked : q8_exec_best_batch(what->graph);
    const size_t own = q8_calibration_size(job->graph, what->wanted) + Q8_MEMORY_PICTURE;
    const size_t shared = q8_exec_weight_bytes(job->graph);
    q8_code code = q8_memory_check(env, "the network's weights, as kernels read them", shared, err);
    if (!code && !job->exec)
        code = open_exec(job, what, batch, env, err);
    if (code)
        return code;
    size_t each = own + q8_exec_run_bytes(job->exec);
    job->n_workers = q8_memory_threads(env, shared, each, most);
    if (job->n_workers < most && q8_exec_batch(job->exec) > 1) {
        q8_exec_close(&job->exec);
        code = open_exec(job, what, 1, env, err);
        if (code)
            return code;
        each = own + q8_exec_run_bytes(job->exec);
        job->n_workers = q8_memory_threads(env, shared, each, most);
    }
    if (job->n_workers == 0)
        return q8_memory_fail(env, "calibration on one thread", shared + each, err);
    if (job->n_workers < most || q8_exec_batch(job->exec) < batch)
        note_less(job, env);
    return Q8_OK;
}

static q8_code open_job(struct job *job, const q8_calibration_of *what, const q8_env *env,
                        q8_err *err)
{
    q8_code code =
        q8_samples_open(&job->samples, job->graph, what->opts, what->transform, env, err);
    job->exec = job->kept ? *job->kept : NULL;
    if (!code)
        code = plan(job, what, env, err);
    if (code)
        return code;
    job->worker = calloc((size_t)job->n_workers, sizeof(*job->worker));
    job->user = calloc((size_t)job->n_workers, sizeof(*job->user));
    if (!job->worker || !job->user)
        return q8_fail_nomem(err);
    for (int i = 0; i < job->n_workers && !code; i++) {
        job->user[i] = &job->worker[i];
        code = open_worker(&job->worker[i], what, err);
    }
    if (!code && what->origin)
        code = q8_origin_of_samples(what->origin, job->samples, err);
    if (!code && job->checkpoint)
        code = open_checkpoint(job, what->opts->strict, env, err);
    return code;
}

static void close_job(struct job *job)
{
    for (int i = 0; job->worker && i < job->n_workers; i++)
        close_worker(&job->worker[i], job->graph);
    free(job->worker);
    free(job->user);
    q8_loop_state_free(&job->state);
    if (job->kept)
        *job->kept = job->exec;
    else
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
    struct job job = {.graph = what->graph, .checkpoint = what->checkpoint, .kept = what->plan};
    q8_code code = open_job(&job, what, env, err);
    const q8_loop loop = {
        .samples = job.samples,
        .exec = job.exec,
        .stage = "calibrate",
        .strict = what->opts->strict,
        .worker = job.user,
        .n_workers = job.n_workers,
        .observe = observe,
        .state = &job.state,
        .pause = what->checkpoint ? write_checkpoint : NULL,
        .pause_user = &job,
        .pause_seconds = what->opts->checkpoint_seconds,
    };
    size_t used, skipped;
    if (!code)
        code = q8_loop_run(&loop, env, &used, &skipped, err);
    if (!code)
        code = merge(&job, cal, env, err);
    cal->skipped = code ? 0 : skipped;
    if (!code)
        q8_calibration_warn(cal, what->graph, env);
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
    memset(cal, 0, sizeof(*cal));
}
