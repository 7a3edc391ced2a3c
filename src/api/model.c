/* The public calls of q8.h: each hands over to the folder that does the work. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "calib/calibrate.h"
#include "calib/threshold.h"
#include "import/import.h"
#include "ncnn/ncnn.h"
#include "passes/passes.h"
#include "quant/quant.h"

struct q8_model {
    q8_arena *arena;
    q8_graph *graph; /* float, as it is written in fp32 and fp16; calibration runs it */
    q8_graph *int8;  /* what quantising made of a copy; NULL before q8_quantize() */
    q8_caffe_transform transform;
    q8_calibration calibration; /* holds nothing where no layer can run in int8 */
    bool calibrated;
    float *threshold; /* by tensor of `int8` */
};

const char *q8_version(void)
{
    return Q8_VERSION;
}

q8_code q8_model_open(q8_model **model, const q8_model_opts *opts, const q8_env *env, q8_err *err)
{
    q8_caffe_net *net = NULL;
    const q8_import_opts import = {.width = opts->width, .height = opts->height};
    *model = NULL;
    q8_model *m = calloc(1, sizeof(*m));
    if (!m || !(m->arena = q8_arena_open())) {
        free(m);
        return q8_fail_nomem(err);
    }
    q8_code code = q8_caffe_read(&net, opts->proto, opts->model, m->arena, env, err);
    if (!code)
        code = q8_import_caffe(&m->graph, net, &import, m->arena, env, err);
    if (!code)
        code = q8_passes_optimise(m->graph, err);
    if (code)
        q8_model_close(&m);
    else
        m->transform = net->transform;
    *model = m;
    return code;
}

void q8_model_close(q8_model **model)
{
    if (!*model)
        return;
    q8_calibration_free(&(*model)->calibration);
    q8_arena_close(&(*model)->arena);
    free(*model);
    *model = NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

q8_code q8_calibrate(q8_model *model, const q8_calib_opts *opts, const q8_env *env,
                     q8_calib_result *result, q8_err *err)
{
    const double start = now();
    bool *wanted =
        q8_arena_array(model->arena, (size_t)model->graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted)
        return q8_fail_nomem(err);
    q8_quant_wanted(model->graph, wanted);
    q8_calibration_free(&model->calibration);
    const q8_calibration_of what = {
        .graph = model->graph,
        .wanted = wanted,
        .opts = opts,
        .transform = &model->transform,
        .backend = Q8_BACKEND_CPU,
    };
    q8_code code = q8_calibration_run(&model->calibration, &what, env, err);
    model->calibrated = code == Q8_OK;
    if (result)
        *result = (q8_calib_result){.used = model->calibration.used,
                                    .skipped = model->calibration.skipped,
                                    .seconds = now() - start};
    return code;
}

/* Thresholds of all observed tensors, chosen on several threads; each tensor's is its own. */
struct choosing {
    const q8_calibration *calibration;
    float *threshold;
    atomic_int next;
};

static q8_code choose(void *user, int worker, q8_err *err)
{
    struct choosing *c = user;
    (void)worker;
    (void)err;
    for (int t; (t = atomic_fetch_add(&c->next, 1)) < c->calibration->n_tensors;)
        if (c->calibration->stats[t])
            c->threshold[t] = q8_threshold_kl(c->calibration->stats[t]);
    return Q8_OK;
}

static q8_code correct_bias(q8_model *model, q8_graph *graph, q8_err *err)
{
    const q8_calibration *cal = &model->calibration;
    const float **means = q8_arena_array(model->arena, (size_t)cal->n_tensors + 1, sizeof(*means));
    if (!means)
        return q8_fail_nomem(err);
    for (int t = 0; t < cal->n_tensors; t++) {
        const q8_stats *stats = cal->stats[t];
        float *mean =
            stats ? q8_arena_array(model->arena, (size_t)stats->channels, sizeof(*mean)) : NULL;
        if (stats && !mean)
            return q8_fail_nomem(err);
        for (int c = 0; stats && c < stats->channels; c++)
            mean[c] = q8_stats_channel_mean(stats, c);
        means[t] = mean;
    }
    return q8_correct_bias_graph(graph, means, err);
}

q8_code q8_quantize(q8_model *model, const q8_quant_opts *opts, const q8_env *env, q8_err *err)
{
    if (!model->calibrated)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has not been calibrated");
    model->int8 = NULL; /* a failure leaves no half of one */
    q8_graph *graph = q8_graph_copy(model->graph, model->arena);
    model->threshold =
        q8_arena_array(model->arena, (size_t)model->graph->n_tensors + 1, sizeof(float));
    if (!graph || !model->threshold)
        return q8_fail_nomem(err);
    struct choosing choosing = {.calibration = &model->calibration, .threshold = model->threshold};
    const int threads = env && env->threads > 0 ? env->threads : q8_core_count();
    q8_code code = q8_parallel(threads, choose, &choosing, err);
    if (!code)
        code = q8_quantize_graph(graph, model->threshold, opts, err);
    if (!code && !opts->no_bias_correction)
        code = correct_bias(model, graph, err);
    if (!code)
        model->int8 = graph;
    return code;
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

q8_code q8_write(const q8_model *model, q8_precision precision, const char *param_path,
                 const char *bin_path, q8_write_result *result, q8_err *err)
{
    if (precision == Q8_INT8 && !model->int8)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has not been quantised");
    const q8_graph *graph = precision == Q8_INT8 ? model->int8 : model->graph;
    q8_arena *arena = q8_arena_open();
    q8_graph *copy = arena ? q8_graph_copy(graph, arena) : NULL;
    q8_code code = copy ? q8_ncnn_write(copy, precision, param_path, bin_path, result, err)
                        : q8_fail_nomem(err);
    q8_arena_close(&arena);
    return code;
}
