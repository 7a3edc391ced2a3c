#include "api/fast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "calib/threshold.h"
#include "passes/passes.h"
#include "quant/choose.h"
#include "quant/quant.h"

enum { PICTURES = 4 };

q8_code q8_fast_begin(q8_calibration_of *what, const q8_env *env, q8_err *err)
{
    const char mine = q8_exec_has_bf16();
    q8_buf all = {0};
    if (!what->opts->fast)
        return Q8_OK;
    q8_code code = what->opts->checkpoint
                       ? q8_fail(err, Q8_EINVAL, NULL, NULL,
                                 "a checkpoint does not tell fp32 from bf16: fast or checkpoint")
                       : Q8_OK;
    q8_buf_add(&all, &mine, 1);
    code = q8_team_gather(env, code, &all, err);
    if (!code && all.failed)
        code = q8_fail_nomem(err);
    if (!code && !memchr(all.data, 0, all.size))
        what->backend = Q8_BACKEND_CPU_BF16;
    else if (!code)
        q8_note(env, NULL, NULL,
                "bf16 is no faster than fp32 on this processor: calibrating in fp32");
    q8_buf_free(&all);
    return code;
}

static q8_code run_some(q8_calibration *cal, const q8_calibration_of *what, const q8_env *env,
                        q8_err *err)
{
    q8_calib_opts opts = *what->opts;
    q8_calibration_of some = *what;
    if (opts.limit == 0 || opts.limit > PICTURES)
        opts.limit = PICTURES;
    opts.strict = false;
    some.opts = &opts;
    some.origin = NULL;
    return q8_calibration_run(cal, &some, env, err);
}

/* So few pictures do not repay what winograd's weights take to transform. */
static q8_code run_in_fp32(q8_calibration *cal, const q8_calibration_of *what, const q8_env *env,
                           q8_err *err)
{
    q8_calibration_of fp32 = *what;
    q8_arena *arena = q8_arena_open();
    q8_graph *direct = arena ? q8_graph_copy(what->graph, arena) : NULL;
    for (int i = 0; direct && i < direct->n_nodes; i++)
        direct->node[i]->exact = true;
    fp32.graph = direct;
    fp32.backend = Q8_BACKEND_CPU;
    fp32.plan = NULL;
    const q8_code code = direct ? run_some(cal, &fp32, env, err) : q8_fail_nomem(err);
    q8_arena_close(&arena);
    return code;
}

q8_code q8_fast_calibrate(q8_model *model, const q8_calibration_of *what, const q8_env *env,
                          q8_err *err)
{
    q8_fast *fast = &model->fast;
    q8_err why = {0};
    q8_env quiet = env ? *env : (q8_env){0}; /* calibration has told all there is to tell */
    quiet.warn = quiet.note = NULL;
    quiet.progress = NULL;
    fast->info.used = true;
    q8_code code = run_some(&fast->bf16, what, &quiet, &why);
    if (!code)
        code = run_in_fp32(&fast->fp32, what, &quiet, &why);
    if (q8_sample_unreadable(code)) { /* all of these pictures, but calibration found others */
        q8_calibration_free(&fast->bf16);
        return Q8_OK;
    }
    fast->info.pictures = fast->fp32.used;
    if (code)
        *err = why;
    return code;
}

static double difference(const q8_fast_tensor *t)
{
    return fabs((double)t->bf16 - (double)t->fp32) / (double)t->fp32;
}

static int by_difference(const void *a, const void *b)
{
    const double x = difference(a), y = difference(b);
    return (x > y) - (x < y);
}

static void sum_up(q8_fast_info *info, const q8_fast_tensor *sorted)
{
    const size_t n = info->n_tensors;
    info->median = n ? difference(&sorted[n / 2]) : 0;
    info->largest = n ? difference(&sorted[n - 1]) : 0;
    info->where = n ? sorted[n - 1].name : "";
}

static q8_code choose(float *threshold, const q8_calibration *cal, const q8_graph *graph,
                      const int *levels, q8_method method, const q8_env *env, q8_err *err)
{
    const q8_choice_of choice = {.graph = graph,
                                 .stats = (const q8_stats *const *)cal->stats,
                                 .levels = levels,
                                 .method = method};
    return q8_choose_thresholds(threshold, &choice, env, err);
}

/* The thresholds are those of the float network, before channels were equalised, but for as many
 * codes as the tensor now has. */
q8_code q8_fast_compare(q8_model *model, const q8_graph *graph, q8_method method, const q8_env *env,
                        q8_err *err)
{
    q8_fast *fast = &model->fast;
    const size_t n = (size_t)model->graph->n_tensors + 1;
    if (fast->info.pictures == 0)
        return Q8_OK;
    int *levels = q8_arena_array(graph->arena, n, sizeof(*levels));
    float *fp32 = q8_arena_array(graph->arena, n, sizeof(*fp32));
    float *bf16 = q8_arena_array(graph->arena, n, sizeof(*bf16));
    bool *wanted = q8_arena_array(graph->arena, n, sizeof(*wanted));
    q8_fast_tensor *tensor = q8_arena_array(graph->arena, n, sizeof(*tensor));
    q8_fast_tensor *sorted = q8_arena_array(graph->arena, n, sizeof(*sorted));
    if (!levels || !fp32 || !bf16 || !wanted || !tensor || !sorted)
        return q8_fail_nomem(err);
    q8_quant_wanted(graph, wanted);
    for (int t = 0; t < model->graph->n_tensors; t++)
        levels[t] = graph->tensor[t].shift != 0 ? Q8_LEVELS_SHIFTED : Q8_LEVELS_SIGNED;
    q8_code code = choose(fp32, &fast->fp32, model->graph, levels, method, env, err);
    if (!code)
        code = choose(bf16, &fast->bf16, model->graph, levels, method, env, err);
    fast->info.tensor = tensor;
    fast->info.n_tensors = 0;
    for (int t = 0; t < model->graph->n_tensors && !code; t++)
        if (wanted[t] && fast->fp32.stats[t])
            tensor[fast->info.n_tensors++] =
                (q8_fast_tensor){graph->tensor[t].name, fp32[t], bf16[t]};
    memcpy(sorted, tensor, fast->info.n_tensors * sizeof(*sorted));
    qsort(sorted, fast->info.n_tensors, sizeof(*sorted), by_difference);
    sum_up(&fast->info, sorted);
    return code;
}

void q8_fast_forget(q8_fast *fast)
{
    q8_calibration_free(&fast->bf16);
    q8_calibration_free(&fast->fp32);
    fast->info = (q8_fast_info){0};
}

q8_fast_info q8_model_fast(const q8_model *model)
{
    return model->fast.info;
}
