#include "api/fast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "calib/threshold.h"
#include "quant/choose.h"
#include "quant/quant.h"

enum { PICTURES = 8 };

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

static q8_code run_one_way(q8_calibration *cal, const q8_calibration_of *what,
                           q8_backend_kind backend, const q8_env *env, q8_err *err)
{
    q8_calib_opts some = *what->opts;
    q8_calibration_of one_way = *what;
    if (some.limit == 0 || some.limit > PICTURES)
        some.limit = PICTURES;
    some.strict = false;
    one_way.opts = &some;
    one_way.backend = backend;
    one_way.origin = NULL;
    return q8_calibration_run(cal, &one_way, env, err);
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
    q8_code code = run_one_way(&fast->bf16, what, Q8_BACKEND_CPU_BF16, &quiet, &why);
    if (!code)
        code = run_one_way(&fast->fp32, what, Q8_BACKEND_CPU, &quiet, &why);
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
