/*
 * rewritten PROTOTXT CAFFEMODEL NORM PICTURES...: how much equalising and shifting change a float
 * network.
 *
 * Calibrates on the pictures, rewrites, and runs both networks on the first picture. Prints
 * "<n> equalised, <n> shifted of <n>", of the tensors that int8 layers read, and for each backend
 * and output "<backend> <output> <relative squared error>".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/samples.h"
#include "import/import.h"
#include "ops/rows.h"
#include "passes/passes.h"
#include "quant/choose.h"
#include "quant/equalise.h"
#include "quant/quant.h"
#include "quant/shift.h"

struct net {
    q8_graph *before, *after;
    const q8_calib_opts *opts;
    float **output; /* of `before`, by tensor */
};

/* --- rewriting -------------------------------------------------------------------------------- */

static q8_code rewrite(struct net *net, q8_err *err)
{
    const size_t n = (size_t)net->before->n_tensors + 1;
    q8_arena *arena = net->before->arena;
    bool *wanted = q8_arena_array(arena, n, sizeof(*wanted));
    int *levels = q8_arena_array(arena, n, sizeof(*levels)), equalised = 0, shifted = 0, all = 0;
    float *threshold = q8_arena_array(arena, n, sizeof(*threshold));
    q8_calibration calibration = {0};
    q8_shift_plan plan;
    if (!wanted || !levels || !threshold)
        return q8_fail_nomem(err);
    q8_quant_wanted(net->before, wanted);
    const q8_calibration_of what = {
        .graph = net->before, .wanted = wanted, .opts = net->opts, .backend = Q8_BACKEND_CPU};
    q8_code code = q8_calibration_run(&calibration, &what, NULL, err);
    if (!code)
        code = q8_equalise_graph(net->after, &calibration, NULL, &(q8_quant_opts){0}, NULL, err);
    if (!code)
        code = q8_shift_choose(&plan, net->after, &calibration, NULL, 1, levels, err);
    for (int t = 0; !code && t < net->before->n_tensors; t++) {
        levels[t] = levels[t] ? levels[t] : 128;
        all += wanted[t];
        equalised += wanted[t] && net->after->tensor[t].factor;
        shifted += wanted[t] && plan.tensor[t].sign != 0;
    }
    const q8_choice_of choice = {.graph = net->after,
                                 .stats = (const q8_stats *const *)calibration.stats,
                                 .levels = levels,
                                 .method = Q8_METHOD_MSE};
    if (!code)
        code = q8_choose_thresholds(threshold, &choice, NULL, err);
    if (!code)
        code = q8_shift_graph(net->after, &plan, threshold, 1, err);
    q8_calibration_free(&calibration);
    printf("%d equalised, %d shifted of %d\n", equalised, shifted, all);
    return code;
}

/* --- comparing -------------------------------------------------------------------------------- */

struct watcher {
    const struct net *net;
    const char *backend; /* NULL: outputs are kept, not compared */
};

static q8_code watch(void *user, int tensor, const q8_view *view, q8_err *err)
{
    const struct watcher *w = user;
    const size_t count = q8_shape_count(&view->shape);
    float *value = malloc(count * sizeof(*value));
    if (!value)
        return q8_fail_nomem(err);
    q8_view_to_nchw(view, 0, value);
    if (!w->backend) {
        w->net->output[tensor] = value;
        return Q8_OK;
    }
    double error = 0, energy = 1e-300;
    for (size_t i = 0; i < count; i++) {
        const double want = (double)w->net->output[tensor][i], off = (double)value[i] - want;
        error += off * off;
        energy += want * want;
    }
    printf("%s %s %g\n", w->backend, w->net->after->tensor[tensor].name, error / energy);
    free(value);
    return Q8_OK;
}

static q8_code run(const struct net *net, const q8_graph *graph, q8_backend_kind backend,
                   struct watcher watcher, q8_err *err)
{
    const q8_exec_opts opts = {.backend = backend, .batch = 1};
    q8_exec *exec = NULL;
    q8_run *r = NULL;
    q8_samples *samples = NULL;
    q8_code code = q8_samples_open(&samples, graph, net->opts, NULL, NULL, err);
    if (!code)
        code = q8_exec_open(&exec, graph, &opts, err);
    if (!code)
        code = q8_run_open(&r, exec, err);
    for (int i = 0; !code && i < q8_samples_inputs(samples); i++)
        code = q8_samples_read(samples, 0, i, q8_run_input(r, i, 0), NULL, err);
    if (!code)
        code = q8_run_forward(r, 1, watch, &watcher, err);
    q8_run_close(&r);
    q8_exec_close(&exec);
    q8_samples_close(&samples);
    return code;
}

static q8_code compare(struct net *net, q8_err *err)
{
    static const struct {
        q8_backend_kind kind;
        const char *name;
    } backends[] = {{Q8_BACKEND_PLAIN, "plain"}, {Q8_BACKEND_CPU, "cpu"}};
    net->output =
        q8_arena_array(net->before->arena, (size_t)net->before->n_tensors, sizeof(*net->output));
    if (!net->output)
        return q8_fail_nomem(err);
    q8_code code = Q8_OK;
    for (int i = 0; !code && i < 2; i++) {
        code = run(net, net->before, backends[i].kind, (struct watcher){net, NULL}, err);
        if (!code)
            code = run(net, net->after, backends[i].kind, (struct watcher){net, backends[i].name},
                       err);
        for (int t = 0; t < net->before->n_tensors; t++) {
            free(net->output[t]);
            net->output[t] = NULL;
        }
    }
    return code;
}

static q8_code load(struct net *net, char **argv, q8_arena *arena, q8_err *err)
{
    const q8_import_opts opts = {0};
    q8_caffe_net *caffe;
    q8_code code = q8_caffe_read(&caffe, argv[1], argv[2], arena, NULL, err);
    if (!code)
        code = q8_import_caffe(&net->before, caffe, &opts, arena, NULL, err);
    if (!code)
        code = q8_passes_optimise(net->before, err);
    if (!code && !(net->after = q8_graph_copy(net->before, arena)))
        code = q8_fail_nomem(err);
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: rewritten PROTOTXT CAFFEMODEL NORM PICTURES...\n");
        return 2;
    }
    q8_err err = {0};
    const q8_calib_opts opts = {
        .images = (const char *const *)argv + 4,
        .n_images = (size_t)argc - 4,
        .preprocess = {.n_mean = 1, .n_norm = 1, .norm = {strtof(argv[3], NULL)}}};
    struct net net = {.opts = &opts};
    q8_arena *arena = q8_arena_open();
    q8_code code = arena ? load(&net, argv, arena, &err) : q8_fail_nomem(&err);
    if (!code)
        code = rewrite(&net, &err);
    if (!code)
        code = compare(&net, &err);
    q8_arena_close(&arena);
    if (code) {
        char text[8192];
        q8_err_format(&err, "error", text, sizeof(text));
        fprintf(stderr, "%s\n", text);
    }
    return code ? 1 : 0;
}
