/* The public calls of q8.h: each hands over to the folder that does the work. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/fast.h"
#include "api/given.h"
#include "api/keep.h"
#include "api/model.h"
#include "api/stats.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "calib/threshold.h"
#include "import/import.h"
#include "ncnn/ncnn.h"
#include "passes/passes.h"
#include "quant/choose.h"
#include "quant/equalise.h"
#include "quant/quant.h"
#include "quant/refine.h"
#include "quant/requantize.h"
#include "quant/shift.h"
#include "verify/verify.h"

const char *q8_version(void)
{
    return Q8_VERSION;
}

/* Bytes of what a model keeps between calls. */
static size_t held_by(const q8_model *model)
{
    size_t bytes = Q8_MEMORY_RESERVE;
    bytes += q8_arena_bytes(model->arena) + q8_arena_bytes(model->int8_arena);
    for (int t = 0; model->calibration.stats && t < model->calibration.n_tensors; t++)
        if (model->calibration.stats[t])
            bytes += q8_stats_size(model->calibration.stats[t]->channels);
    return bytes;
}

/* Warnings once, and of memory what the model leaves. */
static q8_env env_of_call(q8_telling *telling, const q8_model *model, const q8_env *env)
{
    const q8_env once = q8_tell_once(telling, model->told, env);
    return q8_memory_without(&once, held_by(model));
}

/* The file and what is made of it lie in memory at the same time. */
static q8_code check_memory(const char *path, const q8_env *env, q8_err *err)
{
    struct stat st;
    const q8_env left = q8_memory_without(env, Q8_MEMORY_RESERVE);
    if (!path || stat(path, &st) != 0) /* reading it will tell */
        return Q8_OK;
    return q8_memory_check(&left, "the model", 2 * (size_t)st.st_size, err);
}

static q8_code open_caffe(q8_model *m, const q8_model_opts *opts, const q8_env *env, q8_err *err)
{
    q8_caffe_net *net = NULL;
    const q8_import_opts import = {.width = opts->width, .height = opts->height};
    q8_code code = q8_caffe_read(&net, opts->proto, opts->model, m->arena, env, err);
    if (!code)
        code = q8_import_caffe(&m->unsplit, net, &import, m->arena, env, err);
    if (!code)
        m->transform = net->transform;
    return code;
}

static q8_code open_ncnn(q8_model *m, const q8_model_opts *opts, q8_err *err)
{
    q8_code code = q8_ncnn_load(&m->unsplit, opts->param, opts->bin, m->arena, err);
    for (int i = 0; !code && i < m->unsplit->n_nodes; i++) {
        const q8_node *node = m->unsplit->node[i];
        if (node->quant)
            code = q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "is int8 already: give the float model");
    }
    return code;
}

q8_code q8_model_open(q8_model **model, const q8_model_opts *opts, const q8_env *env, q8_err *err)
{
    *model = NULL;
    q8_model *m = calloc(1, sizeof(*m));
    if (!m || !(m->arena = q8_arena_open()) ||
        !(m->told = q8_arena_alloc(m->arena, sizeof(*m->told)))) {
        q8_model_close(&m);
        return q8_agree(env, q8_fail_nomem(err), err);
    }
    q8_code code = check_memory(opts->param ? opts->bin : opts->model, env, err);
    if (!code)
        code = opts->param ? open_ncnn(m, opts, err) : open_caffe(m, opts, env, err);
    if (!code)
        code = q8_passes_optimise(m->unsplit, err);
    if (!code && !(m->graph = q8_graph_copy(m->unsplit, m->arena)))
        code = q8_fail_nomem(err);
    if (!code)
        code = q8_pass_split_groups(m->graph, err);
    code = q8_agree(env, code, err);
    if (code)
        q8_model_close(&m);
    *model = m;
    return code;
}

void q8_model_forget(q8_model *model)
{
    q8_calibration_free(&model->calibration);
    q8_origin_free(&model->origin);
    q8_fast_forget(&model->fast);
    if (model->told)
        q8_told_free(model->told);
    model->calibrated = model->no_channel_histograms = false;
}

void q8_model_close(q8_model **model)
{
    if (!*model)
        return;
    q8_model_forget(*model);
    q8_arena_close(&(*model)->int8_arena);
    q8_arena_close(&(*model)->arena);
    free(*model);
    *model = NULL;
}

void q8_model_use_gpu(q8_model *model, q8_gpu *gpu)
{
    model->gpu = gpu;
}

/* Where the float network runs. */
static q8_backend_kind backend_of(const q8_model *model)
{
    return model->gpu ? Q8_BACKEND_GPU : Q8_BACKEND_CPU;
}

static q8_code calibrate(q8_model *model, const q8_calib_opts *opts, const q8_env *env, q8_err *err)
{
    q8_exec *plan = NULL;
    bool *wanted =
        q8_arena_array(model->arena, (size_t)model->graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted)
        return q8_fail_nomem(err);
    q8_quant_wanted(model->graph, wanted);
    q8_model_forget(model);
    q8_calibration_of what = {
        .graph = model->graph,
        .wanted = wanted,
        .opts = opts,
        .transform = &model->transform,
        .backend = backend_of(model),
        .gpu = model->gpu,
        .plan = &plan,
        .origin = &model->origin,
    };
    if (opts->fast && model->gpu)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "calibration in bf16 is not for a GPU");
    if (opts->no_channel_histograms && opts->checkpoint)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "a checkpoint holds histograms by channel");
    model->no_channel_histograms = opts->no_channel_histograms;
    q8_code code = q8_fast_begin(&what, env, err);
    if (!code)
        code = opts->checkpoint ? q8_stats_calibrate(model, what, env, err)
                                : q8_calibration_run(&model->calibration, &what, env, err);
    if (!code && what.backend == Q8_BACKEND_CPU_BF16)
        code = q8_fast_calibrate(model, &what, env, err);
    q8_exec_close(&plan);
    return code;
}

q8_code q8_calibrate(q8_model *model, const q8_calib_opts *opts, const q8_env *env,
                     q8_calib_result *result, q8_err *err)
{
    const double start = q8_now();
    q8_telling telling;
    const q8_env once = env_of_call(&telling, model, env);
    const q8_code code = q8_agree(env, calibrate(model, opts, &once, err), err);
    model->calibrated = code == Q8_OK;
    if (result)
        *result = (q8_calib_result){.used = model->calibration.used,
                                    .skipped = model->calibration.skipped,
                                    .seconds = q8_now() - start};
    return code;
}

/*
 * Means of the rewritten tensors by channel, where biases are to be corrected. Without bias
 * correction only what shifts added is: it has to cancel in any case.
 */
static q8_code find_means(const float **means, const q8_calibration *cal, const q8_graph *graph,
                          const q8_quant_opts *opts, q8_err *err)
{
    for (int t = 0; t < cal->n_tensors; t++) {
        const q8_stats *stats = cal->stats[t];
        const q8_tensor *tensor = &graph->tensor[t];
        if (!stats || (opts->no_bias_correction && tensor->shift == 0))
            continue;
        float *mean = q8_arena_array(graph->arena, (size_t)stats->channels, sizeof(*mean));
        if (!mean)
            return q8_fail_nomem(err);
        for (int c = 0; c < stats->channels; c++) {
            const float before = opts->no_bias_correction ? 0 : q8_stats_channel_mean(stats, c);
            mean[c] = (float)q8_shift_sign(tensor) * before + tensor->shift;
        }
        means[t] = mean;
    }
    return Q8_OK;
}

/* On pictures, if there are any. */
static q8_code refine(q8_model *model, q8_graph *graph, const q8_graph *exact,
                      const float *const *means, const q8_quant_opts *opts, const q8_env *env,
                      q8_err *err)
{
    if (!opts->pictures || (opts->round_nearest && opts->no_bias_correction))
        return Q8_OK;
    q8_refine_opts refine = {.mean = means,
                             .strict = opts->pictures->strict,
                             .compensate = !opts->round_nearest,
                             .correct_bias = !opts->no_bias_correction,
                             .gpu = model->gpu};
    q8_samples *samples;
    q8_code code =
        q8_samples_open(&samples, model->graph, opts->pictures, &model->transform, NULL, err);
    refine.samples = samples;
    if (!code)
        code = q8_refine_graph(graph, exact, &refine, env, err);
    q8_samples_close(&samples);
    return code;
}

/* Thresholds, and the shifts that they are chosen for. */
static q8_code choose_and_shift(q8_model *model, const q8_calibration *cal, q8_graph *graph,
                                const q8_trials *trials, const q8_quant_opts *opts,
                                const q8_env *env, q8_err *err)
{
    q8_shift_plan plan;
    int *levels = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*levels));
    if (!levels)
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++)
        levels[t] = Q8_LEVELS_SIGNED;
    const q8_choice_of choice = {.graph = graph,
                                 .stats = (const q8_stats *const *)cal->stats,
                                 .levels = levels,
                                 .method = opts->method,
                                 .trials = trials};
    q8_code code = Q8_OK;
    if (!opts->no_shift)
        code = q8_shift_choose(&plan, graph, cal, trials, q8_thread_count(env), levels, err);
    if (!code)
        code = q8_choose_thresholds(model->threshold, &choice, env, err);
    if (!code && !opts->no_shift)
        code = q8_shift_graph(graph, &plan, model->threshold, q8_thread_count(env), err);
    return code;
}

/* Windows of layers' inputs to try choices on, if there are pictures and something is to be chosen.
 */
static q8_code sample_windows(q8_windows *windows, const q8_model *model, const q8_quant_opts *opts,
                              const q8_env *env, q8_err *err)
{
    *windows = (q8_windows){0};
    if (!opts->pictures || (opts->method != Q8_METHOD_AUTO && opts->no_equalise && opts->no_shift))
        return Q8_OK;
    bool *wanted =
        q8_arena_array(model->int8_arena, (size_t)model->graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted)
        return q8_fail_nomem(err);
    q8_quant_wanted(model->graph, wanted);
    const bool fast = model->fast.info.used; /* as the statistics that choices start from */
    const q8_windows_of what = {.graph = model->graph,
                                .wanted = wanted,
                                .opts = opts->pictures,
                                .transform = &model->transform,
                                .backend = fast ? Q8_BACKEND_CPU_BF16 : backend_of(model),
                                .gpu = model->gpu};
    return q8_windows_sample(windows, &what, env, err);
}

/* `graph` and `cal` start as the float network and its statistics. */
static q8_code quantize(q8_model *model, q8_calibration *cal, q8_graph *graph,
                        const q8_quant_opts *opts, const q8_env *env, q8_err *err)
{
    q8_trials *trials = NULL;
    q8_windows windows;
    q8_code code = sample_windows(&windows, model, opts, env, err);
    if (!code)
        code = q8_trials_open(&trials, model->graph, &windows, opts, env, err);
    if (!code && !opts->no_equalise)
        code = q8_equalise_graph(graph, cal, trials, opts, env, err);
    if (!code)
        code = choose_and_shift(model, cal, graph, trials, opts, env, err);
    q8_trials_close(&trials);
    q8_windows_free(&windows);
    if (code)
        return code;
    const q8_graph *exact = q8_graph_copy(graph, graph->arena);
    const float **means = q8_arena_array(graph->arena, (size_t)cal->n_tensors + 1, sizeof(*means));
    if (!exact || !means)
        return q8_fail_nomem(err);
    model->rewritten = exact;
    if (!code)
        code = find_means(means, cal, graph, opts, err);
    if (!code)
        code = q8_quantize_graph(graph, model->threshold, opts, env, err);
    if (!code)
        code = q8_correct_bias_graph(graph, means, env, err);
    if (!code)
        code = refine(model, graph, exact, means, opts, env, err);
    return code;
}

/* Statistics of tensors that only float layers read must not count in any choice. */
static q8_code forget_unread(q8_calibration *cal, const q8_graph *graph, q8_err *err)
{
    bool *wanted = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted)
        return q8_fail_nomem(err);
    q8_quant_wanted(graph, wanted);
    for (int t = 0; t < cal->n_tensors; t++)
        if (!wanted[t] && cal->stats[t]) {
            q8_stats_free(cal->stats[t]);
            free(cal->stats[t]);
            cal->stats[t] = NULL;
        }
    return Q8_OK;
}

static q8_code quantize_model(q8_model *model, const q8_quant_opts *opts, const q8_env *env,
                              q8_err *err)
{
    if (!model->calibrated && !opts->table)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has not been calibrated");
    if (opts->compat && model->fast.info.used)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "the older tools' thresholds need a calibration in fp32");
    const bool is_given = opts->table || opts->compat;
    if (model->no_channel_histograms && !is_given &&
        (!opts->no_equalise || opts->method == Q8_METHOD_AUTO))
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "%s needs a calibration with histograms by channel",
                       opts->no_equalise ? "the method auto" : "equalising");
    model->int8 = NULL;
    model->rewritten = NULL;
    q8_arena_close(&model->int8_arena);
    model->int8_arena = q8_arena_open();
    if (!model->int8_arena)
        return q8_fail_nomem(err);
    /* The older tools know no split groups; tensors of both graphs have the same ids. */
    q8_graph *graph =
        q8_graph_copy(opts->compat ? model->unsplit : model->graph, model->int8_arena);
    model->threshold =
        q8_arena_array(model->int8_arena, (size_t)model->graph->n_tensors + 1, sizeof(float));
    if (!graph || !model->threshold)
        return q8_fail_nomem(err);
    q8_calibration working = {0};
    const q8_given_of given = {.opts = opts,
                               .exact = model->graph,
                               .calibration = &model->calibration,
                               .transform = &model->transform,
                               .gpu = model->gpu};
    q8_code code = q8_keep_float(model, graph, opts, err);
    if (!code)
        code = is_given ? q8_quantize_as_given(graph, model->threshold, &given, env, err)
                        : q8_calibration_copy(&working, &model->calibration, err);
    if (!code && !is_given)
        code = forget_unread(&working, graph, err);
    if (!code && !is_given)
        code = quantize(model, &working, graph, opts, env, err);
    if (!code && !is_given)
        code = q8_fast_compare(model, graph, opts->method, env, err);
    if (!code && !opts->no_requantise)
        code = q8_requantize_graph(graph, err);
    q8_calibration_free(&working);
    if (!code)
        model->int8 = graph;
    return code;
}

q8_code q8_quantize(q8_model *model, const q8_quant_opts *opts, const q8_env *env, q8_err *err)
{
    q8_telling telling;
    const q8_env once = env_of_call(&telling, model, env);
    const q8_code code = q8_agree(env, quantize_model(model, opts, &once, err), err);
    if (code)
        model->int8 = NULL; /* a failure leaves no half of one */
    return code;
}

static q8_code verify(const q8_model *model, const q8_verify_opts *opts, const q8_env *env,
                      q8_verify_result *result, q8_err *err)
{
    q8_calib_opts all = opts->pictures;
    q8_samples *samples = NULL;
    q8_labels *labels = NULL;
    bool unseen = false;
    all.limit = 0; /* which of them is decided by what calibration used */
    q8_code code = q8_samples_open(&samples, model->graph, &all, &model->transform, NULL, err);
    if (!code)
        unseen = q8_samples_choose_others(samples, opts->pictures.limit, opts->calibrated_on);
    if (!code && opts->labels)
        code = q8_labels_read(&labels, opts->labels, err);
    const q8_verify_of what = {
        .exact = model->graph,
        .int8 = model->int8,
        .samples = samples,
        .labels = labels,
        .layers = !opts->outputs_only,
        .strict = opts->pictures.strict,
        .backend = backend_of(model),
        .gpu = model->gpu,
    };
    q8_telling telling;
    const q8_env once = env_of_call(&telling, model, env);
    if (!code)
        code = q8_verify_run(result, &what, &once, err);
    result->unseen = unseen;
    q8_labels_close(&labels);
    q8_samples_close(&samples);
    return code;
}

q8_code q8_verify(const q8_model *model, const q8_verify_opts *opts, const q8_env *env,
                  q8_verify_result *result, q8_err *err)
{
    const double start = q8_now();
    *result = (q8_verify_result){0};
    if (!model->int8)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has not been quantised");
    const q8_code code = q8_agree(env, verify(model, opts, env, result, err), err);
    result->seconds = q8_now() - start;
    return code;
}

void q8_verify_free(q8_verify_result *result)
{
    q8_arena *arena = result->memory;
    q8_arena_close(&arena);
    *result = (q8_verify_result){0};
}

static bool has_weights(const q8_node *node)
{
    return node->op->linear != NULL;
}

static const char *why_float(const q8_node *node)
{
    if (node->quant)
        return "";
    if (!node->op->set_int8)
        return "ncnn has no int8 form of this layer type";
    return node->float_reason ? node->float_reason : "not quantised yet";
}

/* The graph that layers are told of. */
static const q8_graph *latest(const q8_model *model)
{
    return model->int8 ? model->int8 : model->graph;
}

size_t q8_model_layer_count(const q8_model *model)
{
    const q8_graph *graph = latest(model);
    size_t count = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        count += has_weights(graph->node[i]);
    return count;
}

q8_layer_info q8_model_layer(const q8_model *model, size_t index)
{
    const q8_graph *graph = latest(model);
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (!has_weights(node) || index-- != 0)
            continue;
        return (q8_layer_info){
            .name = node->name,
            .type = node->op->type,
            .int8 = node->quant != NULL,
            .reason = why_float(node),
            .threshold = node->quant ? model->threshold[node->in[0]] : 0,
        };
    }
    return (q8_layer_info){.name = "", .type = "", .reason = ""};
}
