/* Statistics counted on the GPU are those of the CPU, and what fails there ends in an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "calib/stats_gpu.h"
#include "exec/gpu.h"
#include "import/import.h"
#include "passes/passes.h"

#include "exec/opencl.h"

enum { BATCH = 3, ROUNDS = 4, C = 5, SIDE = 40 };

static const char proto[] =
    "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 "
    "dim: 5 dim: 40 dim: 40 } } }"
    "layer { name: 'y' type: 'AbsVal' bottom: 'x' top: 'y' }"
    "layer { name: 'z' type: 'Pooling' bottom: 'x' top: 'z' pooling_param { "
    "pool: MAX kernel_size: 3 stride: 2 } }";

struct net {
    q8_arena *arena;
    q8_graph *graph;
    q8_gpu *gpu;
    q8_exec *exec;
    q8_run *run;
    bool *wanted;
};

/* Of all tensors, on one backend. */
struct gathered {
    bool no_bins; /* of channels, on the GPU */
    int views_on_gpu;
    q8_stats stats[8];
    q8_stats_waiting waiting[8];
};

static q8_cl_calls real;

static void open_run(struct net *net, q8_backend_kind backend)
{
    q8_err err = {0};
    const q8_exec_opts opts = {.backend = backend,
                               .batch = BATCH,
                               .wanted = net->wanted,
                               .gpu = net->gpu,
                               .gpu_views = true};
    assert_int_equal(q8_exec_open(&net->exec, net->graph, &opts, &err), Q8_OK);
    assert_int_equal(q8_run_open(&net->run, net->exec, &err), Q8_OK);
}

static void close_run(struct net *net)
{
    q8_run_close(&net->run);
    q8_exec_close(&net->exec);
}

static void open_net(struct net *net)
{
    q8_err err = {0};
    q8_caffe_net *caffe;
    const q8_import_opts opts = {0};
    *net = (struct net){.arena = q8_arena_open()};
    assert_non_null(net->arena);
    assert_int_equal(q8_caffe_parse(&caffe, "p", proto, strlen(proto), net->arena, NULL, &err),
                     Q8_OK);
    assert_int_equal(q8_import_caffe(&net->graph, caffe, &opts, net->arena, NULL, &err), Q8_OK);
    assert_in_range(net->graph->n_tensors, 3, 8);
    net->wanted = q8_arena_array(net->arena, 8, sizeof(bool));
    for (int i = 0; i < net->graph->n_nodes; i++)
        net->wanted[net->graph->node[i]->out[0]] = true;
    if (q8_gpu_open(&net->gpu, Q8_GPU_ANY, &err))
        fail_msg("%s", err.text);
}

static void close_net(struct net *net)
{
    q8_gpu_close(&net->gpu);
    q8_arena_close(&net->arena);
}

/* Integers whose size grows from round to round, zeros among them. */
static void fill(const struct net *net, int round)
{
    static uint32_t state;
    state = (uint32_t)round + 7;
    for (int i = 0; i < BATCH; i++)
        for (size_t k = 0; k < C * SIDE * SIDE; k++) {
            state = state * 1664525U + 1013904223U;
            const int most = 3 << (4 * round);
            q8_run_input(net->run, 0, i)[k] = (float)((int)(state >> 8) % most - most / 3);
        }
}

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct gathered *g = user;
    g->views_on_gpu += view->gpu != NULL;
    if (view->gpu)
        return q8_stats_add_on_gpu(&g->stats[tensor], &g->waiting[tensor], !g->no_bins, view, err);
    q8_stats_add(&g->stats[tensor], view);
    return Q8_OK;
}

static void gather(struct gathered *g, struct net *net, q8_backend_kind backend)
{
    q8_err err = {0};
    *g = (struct gathered){.no_bins = g->no_bins};
    open_run(net, backend);
    for (int t = 0; t < net->graph->n_tensors; t++)
        assert_int_equal(q8_stats_init(&g->stats[t], net->graph->tensor[t].shape.dim[0], &err),
                         Q8_OK);
    for (int round = 0; round < ROUNDS; round++) {
        fill(net, round);
        /* Not all of the batch counts in the last. */
        const int n = round + 1 < ROUNDS ? BATCH : 1;
        if (q8_run_forward(net->run, n, observe, g, &err))
            fail_msg("%s", err.text);
        for (int t = 0; round == 1 && t < net->graph->n_tensors; t++)
            assert_int_equal(q8_stats_collect(&g->stats[t], &g->waiting[t], &err), Q8_OK);
    }
    for (int t = 0; t < net->graph->n_tensors; t++)
        assert_int_equal(q8_stats_collect(&g->stats[t], &g->waiting[t], &err), Q8_OK);
    close_run(net);
}

static void forget(struct gathered *g, const struct net *net)
{
    for (int t = 0; t < net->graph->n_tensors; t++) {
        q8_stats_free(&g->stats[t]);
        q8_stats_waiting_close(&g->waiting[t]);
    }
}

static void assert_same(const q8_stats *a, const q8_stats *b)
{
    const size_t n = (size_t)a->channels;
    assert_int_equal(a->count, b->count);
    assert_true(a->count > 0);
    assert_int_equal(a->hist.exponent, b->hist.exponent);
    assert_int_equal(a->hist.zeros, b->hist.zeros);
    assert_int_equal(a->hist.not_finite, b->hist.not_finite);
    assert_memory_equal(a->hist.bin, b->hist.bin, sizeof(a->hist.bin));
    assert_true(a->min == b->min && a->max == b->max);
    assert_memory_equal(a->channel_min, b->channel_min, n * sizeof(float));
    assert_memory_equal(a->channel_max, b->channel_max, n * sizeof(float));
    assert_memory_equal(a->channel_absmax, b->channel_absmax, n * sizeof(float));
    assert_memory_equal(a->channel_sum, b->channel_sum, n * sizeof(q8_fixed_sum));
    assert_memory_equal(a->channel_bins, b->channel_bins, n * sizeof(q8_channel_bins));
}

static void test_same(void **state)
{
    struct net net;
    struct gathered cpu = {0}, gpu = {0};
    (void)state;
    open_net(&net);
    gather(&cpu, &net, Q8_BACKEND_PLAIN);
    gather(&gpu, &net, Q8_BACKEND_GPU);
    int compared = 0;
    for (int t = 0; t < net.graph->n_tensors; t++)
        if (net.wanted[t]) {
            assert_same(&gpu.stats[t], &cpu.stats[t]);
            compared++;
        }
    assert_int_equal(compared, 3);
    assert_int_equal(cpu.views_on_gpu, 0);
    assert_int_equal(gpu.views_on_gpu, 2 * ROUNDS); /* the input is on the host */
    forget(&cpu, &net);
    forget(&gpu, &net);
    close_net(&net);
}

/* Without channels' bins these are empty, and all else is as with them. */
static void test_no_bins(void **state)
{
    struct net net;
    struct gathered with = {0}, without = {.no_bins = true};
    (void)state;
    open_net(&net);
    gather(&with, &net, Q8_BACKEND_GPU);
    gather(&without, &net, Q8_BACKEND_GPU);
    q8_channel_bins none;
    q8_channel_bins_init(&none);
    int compared = 0;
    for (int t = 0; t < net.graph->n_tensors; t++) {
        if (!without.waiting[t].counts) /* no view of it was on the GPU */
            continue;
        for (int c = 0; c < C; c++) {
            q8_channel_bins *bins = &with.stats[t].channel_bins[c];
            assert_memory_not_equal(bins, &none, sizeof(none));
            assert_memory_equal(&without.stats[t].channel_bins[c], &none, sizeof(none));
            *bins = none;
        }
        assert_same(&without.stats[t], &with.stats[t]);
        compared++;
    }
    assert_int_equal(compared, 2);
    forget(&with, &net);
    forget(&without, &net);
    close_net(&net);
}

/* --- failures --------------------------------------------------------------------------------- */

static size_t most_bytes;

static cl_mem create_small_buffer(cl_context context, cl_mem_flags flags, size_t size, void *host,
                                  cl_int *status)
{
    if (size <= most_bytes)
        return real.clCreateBuffer(context, flags, size, host, status);
    *status = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static cl_int lose_device(cl_command_queue queue)
{
    real.clFinish(queue);
    return CL_OUT_OF_RESOURCES;
}

static cl_int fail_build(cl_program program, cl_uint n, const cl_device_id *device,
                         const char *options,
                         void(CL_CALLBACK *notify)(cl_program program, void *user), void *user)
{
    (void)program;
    (void)n;
    (void)device;
    (void)options;
    (void)notify;
    (void)user;
    return CL_BUILD_PROGRAM_FAILURE;
}

static int restore(void **state)
{
    (void)state;
    q8_cl = real;
    return 0;
}

static void test_memory(void **state)
{
    struct net net;
    q8_run *run = NULL;
    q8_err err = {0};
    (void)state;
    open_net(&net);
    open_run(&net, Q8_BACKEND_GPU);
    most_bytes = 1000;
    q8_cl.clCreateBuffer = create_small_buffer;
    assert_int_equal(q8_run_open(&run, net.exec, &err), Q8_ENOMEM);
    assert_null(run);
    assert_non_null(strstr(err.text, "too little memory"));
    close_run(&net);
    close_net(&net);
}

static void test_lost_device(void **state)
{
    struct net net;
    q8_err err = {0};
    (void)state;
    open_net(&net);
    open_run(&net, Q8_BACKEND_GPU);
    q8_cl.clFinish = lose_device;
    assert_int_equal(q8_run_forward(net.run, 1, NULL, NULL, &err), Q8_EDEVICE);
    assert_non_null(strstr(err.text, "CL_OUT_OF_RESOURCES"));
    close_run(&net);
    close_net(&net);
}

static void test_no_build(void **state)
{
    q8_gpu *gpu;
    q8_err err = {0};
    (void)state;
    q8_cl.clBuildProgram = fail_build;
    assert_int_equal(q8_gpu_open(&gpu, 0, &err), Q8_EDEVICE);
    assert_null(gpu);
    assert_non_null(strstr(err.text, "cannot compile the kernels"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_no_bins),
        cmocka_unit_test_teardown(test_memory, restore),
        cmocka_unit_test_teardown(test_lost_device, restore),
        cmocka_unit_test_teardown(test_no_build, restore),
    };
    real = q8_cl;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
