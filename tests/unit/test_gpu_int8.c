/* The simulation's layers on the GPU: codes, counts and sums are the CPU's to the bit, figures are
 * as near as the order of their sums allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>

#include "exec/exec.h"
#include "ops/int8.h"
#include "ops/rows.h"

enum { BATCH = 3, C = 6, H = 37, W = 41, COUNT = C * H * W, OUTPUTS = 9, MOST_TENSORS = 16 };

struct net {
    q8_arena *arena;
    q8_graph *graph;
    q8_gpu *gpu;
    bool wanted[MOST_TENSORS];
};

static uint32_t state;

static float uniform(float from, float to)
{
    state = state * 1664525U + 1013904223U;
    return from + (to - from) * (float)(state >> 8) * 0x1p-24F;
}

static int add_tensor(struct net *net, q8_shape shape)
{
    const int tensor = q8_graph_add_tensor(net->graph, "t", &shape);
    assert_in_range(tensor, 0, MOST_TENSORS - 1);
    return tensor;
}

static q8_node *add_node(struct net *net, const q8_op *op, int n_in, int n_out)
{
    q8_node *node = q8_node_new(net->arena, op, op->type, n_in, n_out);
    assert_non_null(node);
    assert_true(q8_graph_insert(net->graph, node, net->graph->n_nodes));
    return node;
}

static int add_out(struct net *net, q8_node *node, int i, q8_shape shape)
{
    node->out[i] = add_tensor(net, shape);
    net->wanted[node->out[i]] = true;
    return node->out[i];
}

static q8_weight random_weights(const struct net *net, size_t n, float from, float to)
{
    float *data = q8_arena_array(net->arena, n, sizeof(*data));
    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = uniform(from, to);
    return (q8_weight){data, n};
}

static const q8_shape whole = {3, {C, H, W}};

static int add_input(struct net *net)
{
    q8_node *node = add_node(net, &q8_op_input, 0, 1);
    return node->out[0] = add_tensor(net, whole);
}

static int add_quantize(struct net *net, int in)
{
    q8_node *node = add_node(net, &q8_op_int8_quantize, 1, 2);
    node->in[0] = in;
    ((q8_quantize_attr *)node->attr)->scale = 37.3F;
    add_out(net, node, 1, (q8_shape){1, {1}});
    return add_out(net, node, 0, whole);
}

static int add_dequantize(struct net *net, int in, q8_activation act)
{
    q8_node *node = add_node(net, &q8_op_int8_dequantize, 1, 1);
    node->in[0] = in;
    *(q8_dequantize_attr *)node->attr = (q8_dequantize_attr){C, act};
    node->weight[0] = random_weights(net, C, 0.01F, 0.03F);
    node->weight[1] = random_weights(net, C, -1, 1);
    return add_out(net, node, 0, whole);
}

static void add_inner(struct net *net, int in)
{
    q8_node *node = add_node(net, &q8_op_int8_innerproduct, 1, 1);
    const size_t n = (size_t)OUTPUTS * COUNT;
    signed char *weight = q8_arena_alloc(net->arena, n);
    assert_non_null(weight);
    for (size_t i = 0; i < n; i++)
        weight[i] = (signed char)uniform(-127.9F, 127.9F);
    node->in[0] = in;
    *(q8_int8_innerproduct_attr *)node->attr = (q8_int8_innerproduct_attr){OUTPUTS, weight};
    add_out(net, node, 0, (q8_shape){1, {OUTPUTS}});
}

static int add_compare(struct net *net, int n_in, const int *in, bool mapped)
{
    q8_node *node = add_node(net, &q8_op_int8_compare, n_in, 1);
    memcpy(node->in, in, (size_t)n_in * sizeof(*in));
    if (mapped)
        *(q8_compare_attr *)node->attr =
            (q8_compare_attr){random_weights(net, C, 1, 9).data, 0.25F};
    return add_out(net, node, 0, (q8_shape){1, {2 * Q8_COMPARE_SUMS}});
}

/* --- running ---------------------------------------------------------------------------------- */

struct values {
    float *at[MOST_TENSORS];
    int pictures[MOST_TENSORS];
};

static q8_code keep(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct values *v = user;
    const size_t count = q8_shape_count(&view->shape);
    (void)err;
    if (!v->at[tensor])
        v->at[tensor] = malloc(BATCH * count * sizeof(float));
    assert_non_null(v->at[tensor]);
    for (int i = 0; i < view->batch; i++)
        q8_view_to_nchw(view, i, v->at[tensor] + (size_t)v->pictures[tensor]++ * count);
    return Q8_OK;
}

/* Values whose codes are near a half or beyond the largest, and in the last picture values that
 * spoil sums. */
static void fill(q8_run *run)
{
    static const float odd[] = {
        0, -0.0F, 1e-40F, -1e-40F, 0.5F / 37.3F, -0.5F / 37.3F, 127.5F / 37.3F, -127.5F / 37.3F};
    static const float wild[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX};
    state = 1;
    for (int i = 0; i < BATCH; i++) {
        float *x = q8_run_input(run, 0, i);
        for (int k = 0; k < COUNT; k++)
            x[k] = k % 5 ? uniform(-4, 4) : (float)(int)uniform(-300, 300) / 74.6F;
        for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++)
            x[100 * k] = odd[k];
        for (size_t k = 0; k < sizeof(wild) / sizeof(wild[0]) && i == BATCH - 1; k++)
            x[100 * k + 1] = wild[k];
    }
}

static void run_net(const struct net *net, q8_backend_kind backend, struct values *v)
{
    const q8_exec_opts opts = {
        .backend = backend, .batch = BATCH, .wanted = net->wanted, .gpu = net->gpu};
    q8_exec *exec;
    q8_run *run = NULL;
    q8_err err = {0};
    memset(v, 0, sizeof(*v));
    if (q8_exec_open(&exec, net->graph, &opts, &err) || q8_run_open(&run, exec, &err))
        fail_msg("%s", err.text);
    fill(run);
    if (q8_run_forward(run, BATCH, keep, v, &err))
        fail_msg("%s", err.text);
    for (int i = 0; backend == Q8_BACKEND_GPU && i < net->graph->n_nodes; i++)
        if (net->graph->node[i]->op != &q8_op_input)
            assert_string_equal(q8_exec_node_backend(exec, i), "opencl");
    q8_run_close(&run);
    q8_exec_close(&exec);
}

static void open_net(struct net *net)
{
    q8_err err = {0};
    *net = (struct net){.arena = q8_arena_open()};
    assert_non_null(net->arena);
    net->graph = q8_graph_new(net->arena);
    assert_non_null(net->graph);
    state = 7;
    if (q8_gpu_open(&net->gpu, Q8_GPU_ANY, &err))
        fail_msg("%s", err.text);
}

static void close_net(struct net *net, struct values *a, struct values *b)
{
    for (int t = 0; t < MOST_TENSORS; t++) {
        free(a->at[t]);
        free(b->at[t]);
    }
    q8_gpu_close(&net->gpu);
    q8_arena_close(&net->arena);
}

static bool same(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void test_to_the_bit(void **unused)
{
    struct net net;
    struct values cpu, gpu;
    (void)unused;
    open_net(&net);
    const float leak[] = {0.1F}, limits[] = {-0.5F, 1.5F};
    const int codes = add_quantize(&net, add_input(&net));
    add_dequantize(&net, codes, (q8_activation){.type = Q8_ACT_NONE});
    add_dequantize(&net, codes, (q8_activation){.type = Q8_ACT_RELU});
    add_dequantize(&net, codes, (q8_activation){Q8_ACT_LEAKY, {1, leak}});
    add_dequantize(&net, codes, (q8_activation){Q8_ACT_CLIP, {2, limits}});
    add_inner(&net, codes);
    run_net(&net, Q8_BACKEND_PLAIN, &cpu);
    run_net(&net, Q8_BACKEND_GPU, &gpu);
    int compared = 0;
    for (int t = 0; t < net.graph->n_tensors; t++) {
        if (!net.wanted[t])
            continue;
        assert_int_equal(gpu.pictures[t], BATCH);
        for (size_t i = 0; i < BATCH * q8_shape_count(&net.graph->tensor[t].shape); i++)
            if (!same(cpu.at[t][i], gpu.at[t][i]))
                fail_msg("tensor %d, value %zu: %.9g and not %.9g", t, i, (double)gpu.at[t][i],
                         (double)cpu.at[t][i]);
        compared++;
    }
    assert_int_equal(compared, 7);
    assert_true(cpu.at[codes][(BATCH - 1) * COUNT + 1] == -127); /* of NaN */
    close_net(&net, &cpu, &gpu);
}

/* @param picture of one whose values are all finite */
static void assert_near(const struct values *got, const struct values *want, int tensor,
                        int picture, int sums)
{
    const float *g = got->at[tensor] + picture * 2 * Q8_COMPARE_SUMS;
    const float *w = want->at[tensor] + picture * 2 * Q8_COMPARE_SUMS;
    for (int k = 0; k < Q8_COMPARE_SUMS; k++) {
        const double a = q8_compare_value(g, k), b = q8_compare_value(w, k);
        assert_true(k < sums ? b > 0 : b == 0);
        if (!(fabs(a - b) <= 1e-6 * b))
            fail_msg("sum %d of picture %d: %.12g and not %.12g", k, picture, a, b);
    }
}

static void test_compare(void **unused)
{
    struct net net;
    struct values cpu, gpu;
    (void)unused;
    open_net(&net);
    const int x = add_input(&net), codes = add_quantize(&net, x);
    const int y = add_dequantize(&net, codes, (q8_activation){.type = Q8_ACT_NONE});
    const int z = add_dequantize(&net, codes, (q8_activation){.type = Q8_ACT_RELU});
    const int three[] = {x, y, z};
    const int network = add_compare(&net, 2, three, false);
    const int alone = add_compare(&net, 3, three, true);
    run_net(&net, Q8_BACKEND_PLAIN, &cpu);
    run_net(&net, Q8_BACKEND_GPU, &gpu);
    for (int picture = 0; picture < BATCH - 1; picture++) {
        assert_near(&gpu, &cpu, network, picture, Q8_COMPARE_ALONE);
        assert_near(&gpu, &cpu, alone, picture, Q8_COMPARE_SUMS);
    }
    /* The last picture has values that are not finite, and that shows. */
    const size_t last = (size_t)(BATCH - 1) * 2 * Q8_COMPARE_SUMS;
    assert_false(isfinite(q8_compare_value(gpu.at[network] + last, Q8_COMPARE_SIGNAL)));
    close_net(&net, &cpu, &gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_the_bit),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
