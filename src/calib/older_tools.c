/* The second pass over the samples: counting values into bins of a range that is known by now. */
#include "calib/older_tools.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/team.h"
#include "base/thread.h"
#include "calib/loop.h"

/* One thread's own. */
struct worker {
    const q8_older_tool_of *what;
    uint64_t **bin; /* by tensor id; NULL: not wanted */
};

static int bins_of(q8_compat compat)
{
    return compat == Q8_COMPAT_NCNN ? Q8_NCNN_BINS : Q8_ORIGINAL_BINS;
}

static float absmax_of(const q8_stats *stats)
{
    return -stats->min > stats->max ? -stats->min : stats->max;
}

static bool is_wanted(const q8_older_tool_of *what, int tensor)
{
    return what->stats[tensor] && absmax_of(what->stats[tensor]) > 0;
}

static void count_ncnn(uint64_t *bin, float x, float absmax)
{
    const int i = (int)(fabsf(x) / absmax * Q8_NCNN_BINS);
    if (x != 0)
        bin[i < Q8_NCNN_BINS ? i : Q8_NCNN_BINS - 1]++;
}

static void count_original(uint64_t *bin, float x, float absmax)
{
    const double from_lowest = (double)x + (double)absmax;
    const int i = (int)(from_lowest * (Q8_ORIGINAL_BINS / (2 * (double)absmax)));
    bin[i < Q8_ORIGINAL_BINS ? i : Q8_ORIGINAL_BINS - 1]++;
}

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct worker *w = user;
    uint64_t *bin = w->bin[tensor];
    const float absmax = absmax_of(w->what->stats[tensor]);
    const size_t block = (size_t)view->block, channels = (size_t)view->shape.dim[0];
    const size_t spatial = q8_shape_spatial(&view->shape);
    (void)err;
    for (size_t c = 0; c < channels; c++) {
        const float *x = view->data + c / block * block * spatial + c % block;
        for (size_t i = 0; i < spatial; i++) {
            const float value = x[i * block];
            if (!(fabsf(value) <= absmax))
                continue; /* no number */
            if (w->what->compat == Q8_COMPAT_NCNN)
                count_ncnn(bin, value, absmax);
            else
                count_original(bin, value, absmax);
        }
    }
    return Q8_OK;
}

static void free_worker(struct worker *w)
{
    for (int t = 0; w->bin && t < w->what->graph->n_tensors; t++)
        free(w->bin[t]);
    free(w->bin);
}

static q8_code open_worker(struct worker *w, const q8_older_tool_of *what, q8_err *err)
{
    w->what = what;
    w->bin = calloc((size_t)what->graph->n_tensors + 1, sizeof(*w->bin));
    if (!w->bin)
        return q8_fail_nomem(err);
    for (int t = 0; t < what->graph->n_tensors; t++) {
        if (!is_wanted(what, t))
            continue;
        w->bin[t] = calloc((size_t)bins_of(what->compat), sizeof(*w->bin[t]));
        if (!w->bin[t])
            return q8_fail_nomem(err);
    }
    return Q8_OK;
}

static size_t size_of_bins(const q8_older_tool_of *what)
{
    return (size_t)bins_of(what->compat) * sizeof(uint64_t);
}

static void add_bins(const q8_older_tool_of *what, uint64_t *into, const uint64_t *from)
{
    for (int i = 0; i < bins_of(what->compat); i++)
        into[i] += from[i];
}

static void pack(void *user, q8_buf *bytes)
{
    const struct worker *w = user;
    for (int t = 0; t < w->what->graph->n_tensors; t++)
        if (w->bin[t])
            q8_buf_add(bytes, w->bin[t], size_of_bins(w->what));
}

static q8_code merge(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    struct worker *w = user;
    const uint64_t *from = (const void *)data; /* from malloc(), so it is aligned */
    for (int t = 0; t < w->what->graph->n_tensors; t++) {
        if (!w->bin[t])
            continue;
        if (size < size_of_bins(w->what))
            return q8_fail(err, Q8_EINTERNAL, NULL, NULL, "too few bins");
        add_bins(w->what, w->bin[t], from);
        from += bins_of(w->what->compat);
        size -= size_of_bins(w->what);
    }
    return Q8_OK;
}

static q8_code replace(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    struct worker *w = user;
    for (int t = 0; t < w->what->graph->n_tensors; t++)
        if (w->bin[t])
            memset(w->bin[t], 0, size_of_bins(w->what));
    return merge(user, data, size, err);
}

/* All counts become the first worker's, on every member of a team. */
static q8_code add_up(struct worker *worker, int n, const q8_env *env, q8_err *err)
{
    const q8_older_tool_of *what = worker->what;
    const q8_reduction all = {worker, pack, merge, replace};
    for (int k = 1; k < n; k++)
        for (int t = 0; t < what->graph->n_tensors; t++)
            if (worker->bin[t])
                add_bins(what, worker->bin[t], worker[k].bin[t]);
    return q8_team_reduce(env, Q8_OK, &all, err);
}

static q8_code open_exec(q8_exec **exec, const q8_older_tool_of *what, const q8_env *env,
                         q8_err *err)
{
    bool *wanted = calloc((size_t)what->graph->n_tensors + 1, sizeof(*wanted));
    const q8_exec_opts opts = {.backend = what->backend,
                               .gpu = what->gpu,
                               .batch = 1,
                               .wanted = wanted,
                               .threads = q8_thread_count(env)};
    *exec = NULL;
    if (!wanted)
        return q8_fail_nomem(err);
    for (int t = 0; t < what->graph->n_tensors; t++)
        wanted[t] = is_wanted(what, t);
    const q8_code code = q8_exec_open(exec, what->graph, &opts, err);
    free(wanted);
    return code;
}

/* How many threads there is memory for. */
static q8_code find_workers(int *n, const q8_exec *exec, const q8_older_tool_of *what,
                            const q8_env *env, q8_err *err)
{
    const size_t shared = q8_exec_weight_bytes(what->graph);
    size_t each = q8_exec_run_bytes(exec) + Q8_MEMORY_PICTURE;
    for (int t = 0; t < what->graph->n_tensors; t++)
        each += is_wanted(what, t) ? size_of_bins(what) : 0;
    *n = q8_memory_threads(env, shared, each, q8_loop_workers(what->samples, env));
    return *n > 0 ? Q8_OK : q8_memory_fail(env, "the older tools' second pass", shared + each, err);
}

static q8_code count(struct worker *worker, int n, const q8_exec *exec,
                     const q8_older_tool_of *what, const q8_env *env, q8_err *err)
{
    size_t used, skipped;
    void **user = calloc((size_t)n, sizeof(*user));
    q8_code code = user ? Q8_OK : q8_fail_nomem(err);
    for (int i = 0; i < n && !code; i++) {
        user[i] = &worker[i];
        code = open_worker(&worker[i], what, err);
    }
    const q8_loop loop = {.samples = what->samples,
                          .exec = exec,
                          .stage = "histogram",
                          .strict = what->strict,
                          .worker = user,
                          .n_workers = n,
                          .observe = observe};
    if (!code)
        code = q8_loop_run(&loop, env, &used, &skipped, err);
    free(user);
    return code;
}

static bool any_wanted(const q8_older_tool_of *what)
{
    for (int t = 0; t < what->graph->n_tensors; t++)
        if (is_wanted(what, t))
            return true;
    return false;
}

q8_code q8_older_tool_thresholds(float *threshold, const q8_older_tool_of *what, const q8_env *env,
                                 q8_err *err)
{
    for (int t = 0; t < what->graph->n_tensors; t++)
        if (what->stats[t])
            threshold[t] = 1;
    if (!any_wanted(what))
        return Q8_OK;
    int n = 0;
    q8_exec *exec = NULL;
    q8_code code = open_exec(&exec, what, env, err);
    if (!code)
        code = find_workers(&n, exec, what, env, err);
    struct worker *worker = code ? NULL : calloc((size_t)n, sizeof(*worker));
    if (!code && !worker)
        code = q8_fail_nomem(err);
    if (!code) {
        code = count(worker, n, exec, what, env, err);
        if (!code)
            code = add_up(worker, n, env, err);
        for (int t = 0; t < what->graph->n_tensors && !code; t++) {
            const uint64_t *bin = worker->bin[t];
            if (bin)
                threshold[t] = what->compat == Q8_COMPAT_NCNN
                                   ? q8_threshold_ncnn(bin, absmax_of(what->stats[t]))
                                   : q8_threshold_original(bin, absmax_of(what->stats[t]));
        }
        for (int i = 0; i < n; i++)
            free_worker(&worker[i]);
    }
    free(worker);
    q8_exec_close(&exec);
    return code;
}
