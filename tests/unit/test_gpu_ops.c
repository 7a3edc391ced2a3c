/* Every case of the corpus on the GPU backend, against plain C. In one process, as CLBlast compiles
 * its kernels anew in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>

#include "../tools/random_weights.h"
#include "exec/exec.h"
#include "exec/gpu.h"
#include "import/import.h"
#include "ops/rows.h"
#include "passes/passes.h"

enum { BATCH = 2 };

/* All tensors of both pictures, by tensor id. */
struct seen {
    float **value;
    int *pictures; /* that are in it */
    size_t tensors;
};

static q8_code keep(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct seen *seen = user;
    const size_t count = q8_shape_count(&view->shape);
    (void)err;
    assert_null(view->gpu);
    if (!seen->value[tensor])
        seen->value[tensor] = malloc(BATCH * count * sizeof(float));
    assert_non_null(seen->value[tensor]);
    for (int i = 0; i < view->batch; i++)
        q8_view_to_nchw(view, i, seen->value[tensor] + (size_t)seen->pictures[tensor]++ * count);
    return Q8_OK;
}

static bool has_table(const q8_graph *graph)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->node[i]->op == &q8_op_embed)
            return true;
    return false;
}

/* What an Embed looks up are numbers of its rows. */
static void fill_inputs(q8_run *run, const q8_graph *graph)
{
    uint32_t state = 1;
    const bool whole = has_table(graph);
    for (int n = 0, input = 0; n < graph->n_nodes; n++) {
        if (graph->node[n]->op != &q8_op_input)
            continue;
        const size_t count = q8_shape_count(&graph->tensor[graph->node[n]->out[0]].shape);
        for (int i = 0; i < BATCH; i++)
            for (size_t k = 0; k < count; k++) {
                state = state * 1664525U + 1013904223U;
                q8_run_input(run, input, i)[k] =
                    whole ? (float)(state >> 31) : (float)(state >> 8) * 0x1p-23F - 1;
            }
        input++;
    }
}

static void look(struct seen *seen, const q8_graph *graph, const q8_exec_opts *opts,
                 const char *path, bool *on_gpu)
{
    q8_exec *exec;
    q8_run *run = NULL;
    q8_err err = {0};
    if (q8_exec_open(&exec, graph, opts, &err) || q8_run_open(&run, exec, &err))
        fail_msg("%s: %s", path, err.text);
    fill_inputs(run, graph);
    seen->tensors = (size_t)graph->n_tensors;
    seen->value = calloc(seen->tensors + 1, sizeof(*seen->value));
    seen->pictures = calloc(seen->tensors + 1, sizeof(*seen->pictures));
    assert_true(seen->value && seen->pictures);
    if (q8_run_forward(run, BATCH, keep, seen, &err))
        fail_msg("%s: %s", path, err.text);
    for (int i = 0; i < graph->n_nodes; i++)
        if (strcmp(q8_exec_node_backend(exec, i), "opencl") == 0)
            *on_gpu = true;
    q8_run_close(&run);
    q8_exec_close(&exec);
}

static void forget(struct seen *seen)
{
    for (size_t t = 0; t < seen->tensors; t++)
        free(seen->value[t]);
    free(seen->value);
    free(seen->pictures);
}

static void compare(const struct seen *got, const struct seen *want, const q8_graph *graph,
                    const char *path)
{
    for (int t = 0; t < graph->n_tensors; t++) {
        double noise = 0, signal = 0;
        if (!want->value[t])
            continue;
        assert_non_null(got->value[t]);
        assert_int_equal(got->pictures[t], BATCH);
        assert_int_equal(want->pictures[t], BATCH);
        for (size_t i = 0; i < BATCH * q8_shape_count(&graph->tensor[t].shape); i++) {
            const double d = (double)got->value[t][i] - (double)want->value[t][i];
            noise += d * d;
            signal += (double)want->value[t][i] * (double)want->value[t][i];
        }
        if (!(noise <= 1e-9 * signal))
            fail_msg("%s, '%s': NMSE %g", path, graph->tensor[t].name, noise / signal);
    }
}

static q8_graph *load(const char *path, q8_arena *arena)
{
    q8_caffe_net *net;
    q8_graph *graph;
    q8_err err = {0};
    assert_int_equal(q8_caffe_read(&net, path, NULL, arena, NULL, &err), Q8_OK);
    random_weights *weights = random_weights_open(net, arena);
    assert_non_null(weights);
    const q8_weight_source source = random_weights_source(weights);
    const q8_import_opts opts = {.weights = &source};
    assert_int_equal(q8_import_caffe(&graph, net, &opts, arena, NULL, &err), Q8_OK);
    assert_int_equal(q8_passes_optimise(graph, &err), Q8_OK);
    return graph;
}

/* @return whether some layer ran on the GPU */
static bool check_case(const char *path, q8_gpu *gpu)
{
    bool on_gpu = false;
    q8_arena *arena = q8_arena_open();
    assert_non_null(arena);
    const q8_graph *graph = load(path, arena);
    q8_uses uses;
    bool *wanted = calloc((size_t)graph->n_tensors + 1, sizeof(*wanted));
    assert_true(wanted && q8_graph_uses(graph, &uses));
    for (int t = 0; t < graph->n_tensors; t++)
        wanted[t] = uses.producer[t] >= 0;
    q8_exec_opts opts = {.backend = Q8_BACKEND_PLAIN, .batch = BATCH, .wanted = wanted};
    struct seen plain, fast;
    look(&plain, graph, &opts, path, &on_gpu);
    assert_false(on_gpu);
    opts.backend = Q8_BACKEND_GPU;
    opts.gpu = gpu;
    look(&fast, graph, &opts, path, &on_gpu);
    compare(&fast, &plain, graph, path);
    forget(&plain);
    forget(&fast);
    free(wanted);
    q8_arena_close(&arena);
    return on_gpu;
}

static void test_corpus(void **state)
{
    glob_t cases;
    q8_gpu *gpu;
    q8_err err = {0};
    size_t on_gpu = 0;
    (void)state;
    if (q8_gpu_open(&gpu, Q8_GPU_ANY, &err))
        fail_msg("%s", err.text);
    assert_int_equal(glob(Q8_SOURCE_DIR "/tests/corpus/*/*.prototxt", 0, NULL, &cases), 0);
    for (size_t i = 0; i < cases.gl_pathc; i++)
        on_gpu += check_case(cases.gl_pathv[i], gpu);
    print_message("%zu of %zu cases have layers that ran on '%s'\n", on_gpu, cases.gl_pathc,
                  q8_gpu_describe(gpu).name);
    assert_true(on_gpu > cases.gl_pathc / 2);
    globfree(&cases);
    q8_gpu_close(&gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
