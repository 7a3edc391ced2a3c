/* What refinement is made of: windows, layers rounded anew, buffers, single nodes. */
#include "quant/refine.h"

#include <math.h>

#include "base/buffers.h"
#include "exec/node.h"
#include "quant/compensate.h"
#include "quant/quant.h"
#include "test_exec_graph.h"

/* --- windows ---------------------------------------------------------------------------------- */

static void run_alone(const q8_graph *graph, const q8_node *node, const float *const *in,
                      float *const *out)
{
    q8_runner *runner;
    assert_int_equal(q8_runner_open(&runner, graph, node, NULL, NULL), Q8_OK);
    void *scratch = aligned_alloc(64, q8_runner_scratch(runner));
    assert_non_null(scratch);
    assert_int_equal(q8_runner_run(runner, in, out, scratch, NULL), Q8_OK);
    q8_runner_close(&runner);
    free(scratch);
}

static void check_sums(const q8_node *node, const q8_shape *in, const float *x, int groups, int n,
                       size_t positions)
{
    const size_t all = (size_t)groups * (size_t)n;
    double *sum = calloc(all, sizeof(*sum)), *right = calloc(all, sizeof(*right));
    float *row = malloc((size_t)n * sizeof(*row));
    for (int g = 0; g < groups; g++)
        for (size_t at = 0; at < positions; at++) {
            node->op->window(node, in, x, at, g, row);
            for (int i = 0; i < n; i++)
                right[g * n + i] += (double)row[i];
        }
    memset(sum, 0xff, all * sizeof(*sum));
    node->op->window_sums(node, in, x, sum);
    for (size_t i = 0; i < all; i++)
        assert_true(fabs(sum[i] - right[i]) < 1e-4);
    free(sum), free(right), free(row);
}

/* Every output is the product of its window and its weights. */
static void check_window(const q8_node *node, const q8_graph *graph, uint32_t seed)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    const q8_shape *out = &graph->tensor[node->out[0]].shape;
    const size_t spatial = q8_shape_spatial(out);
    q8_linear view;
    assert_true(node->op->linear(node, in, &view));
    const int n = view.inputs * view.kernel;
    float *x = malloc(q8_shape_count(in) * sizeof(*x));
    float *y = malloc(q8_shape_count(out) * sizeof(*y));
    float *row = malloc((size_t)n * sizeof(*row));
    for (size_t i = 0; i < q8_shape_count(in); i++)
        x[i] = random_float(&seed);
    const float *ins[] = {x};
    float *outs[] = {y};
    run_alone(graph, node, ins, outs);
    for (int g = 0; g < view.groups; g++)
        for (size_t at = 0; at < spatial; at++) {
            node->op->window(node, in, x, at, g, row);
            for (int o = g * view.outputs; o < (g + 1) * view.outputs; o++) {
                double sum = node->weight[1].count ? (double)node->weight[1].data[o] : 0;
                for (int i = 0; i < n; i++)
                    sum += (double)node->weight[0].data[o * n + i] * (double)row[i];
                assert_true(fabs(sum - (double)y[(size_t)o * spatial + at]) < 1e-4);
            }
        }
    check_sums(node, in, x, view.groups, n, spatial);
    free(x), free(y), free(row);
}

static void windows_make_the_outputs(void **state)
{
    (void)state;
    static const struct {
        int inputs, outputs, group, kernel, stride, dilation, pad;
        float pad_value;
    } cases[] = {{6, 5, 1, 3, 1, 1, 1, 0}, {6, 4, 2, 3, 2, 1, 1, 0.5f}, {8, 8, 8, 3, 1, 2, 2, 0},
                 {3, 7, 1, 1, 1, 1, 0, 0}, {4, 4, 1, 2, 1, 1, 1, -1},   {16, 16, 1, 3, 1, 1, 1, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net net = net_open((uint32_t)i + 1);
        const int in = net_input(&net, cases[i].inputs, 9, 7);
        q8_node *node = net_after(
            &net, cases[i].group > 1 ? &q8_op_convolutiondepthwise : &q8_op_convolution, in);
        q8_conv_attr *a = node->attr;
        a->num_output = cases[i].outputs;
        a->group = cases[i].group;
        a->kernel_w = a->kernel_h = cases[i].kernel;
        a->stride_w = a->stride_h = cases[i].stride;
        a->dilation_w = a->dilation_h = cases[i].dilation;
        a->pad_left = a->pad_right = a->pad_top = a->pad_bottom = cases[i].pad;
        a->pad_value = cases[i].pad_value;
        a->bias_term = 1;
        a->weight_data_size =
            cases[i].outputs * cases[i].inputs / cases[i].group * cases[i].kernel * cases[i].kernel;
        net_finish(&net, node);
        check_window(node, net.graph, (uint32_t)i + 11);
        net_close(&net);
    }
}

/* More positions than are done at a time; beside the oracle. */
static void pointwise_convolutions_are_those_of_plain_c(void **state)
{
    (void)state;
    struct net net = net_open(3);
    const int in = net_input(&net, 20, 30, 41);
    q8_node *node = net_conv(&net, &q8_op_convolution, in, 13, 1, 1, 0, 1, 1);
    ((q8_conv_attr *)node->attr)->activation.type = Q8_ACT_RELU;
    net_finish(&net, node);
    const q8_shape *shape = &net.graph->tensor[in].shape;
    const q8_shape *out_shape = &net.graph->tensor[node->out[0]].shape;
    const size_t n = q8_shape_count(out_shape);
    float *x = malloc(q8_shape_count(shape) * sizeof(*x)), *y = malloc(2 * n * sizeof(*y));
    for (size_t i = 0; i < q8_shape_count(shape); i++)
        x[i] = random_float(&net.seed);
    const float *ins[] = {x};
    float *got[] = {y}, *right[] = {y + n};
    run_alone(net.graph, node, ins, got);
    const q8_forward plain = {node, shape, out_shape, ins, right};
    assert_int_equal(node->op->forward(&plain, NULL), Q8_OK);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(y[i] - y[n + i]) < 1e-5f);
    free(x), free(y);
    net_close(&net);
}

/* --- layers ----------------------------------------------------------------------------------- */

enum { PICTURES = 4 };

/* Quantises the layer with nearest rounding, one scale for all. */
static q8_quant nearest_weights(const q8_node *node, signed char *weight, const float *scale)
{
    for (size_t i = 0; i < node->weight[0].count; i++)
        weight[i] = q8_round_int8(node->weight[0].data[i] * *scale);
    return (q8_quant){.weight = weight,
                      .weight_scales = scale,
                      .n_weight_scales = 1,
                      .bottom_scale = 127,
                      .weight_limit = 127,
                      .sum_limit = Q8_INT32_SUM};
}

/* Squared error of the outputs that `x` makes with integer weights. */
static double layer_error(const q8_node *node, const q8_graph *graph, const float *x)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    q8_linear view;
    assert_true(node->op->linear(node, in, &view));
    const int n = view.inputs * view.kernel;
    const size_t spatial = q8_shape_spatial(&graph->tensor[node->out[0]].shape);
    float *row = malloc((size_t)n * sizeof(*row));
    double error = 0;
    for (size_t p = 0; p < PICTURES * spatial; p++)
        for (int o = 0; o < view.groups * view.outputs; o++) {
            node->op->window(node, in, x + p / spatial * q8_shape_count(in), p % spatial,
                             o / view.outputs, row);
            double off = 0;
            for (int i = 0; i < n; i++)
                off += (double)row[i] *
                       (node->quant->weight[o * n + i] / (double)node->quant->weight_scales[0] -
                        (double)node->weight[0].data[o * n + i]);
            error += off * off;
        }
    free(row);
    return error;
}

/* Rounds anew with 1 and with 3 threads: the same, and better than before. */
static void check_layer(int inputs, int outputs, int kernel, int group)
{
    struct net net = net_open(7);
    const int in = net_input(&net, inputs, 16, 16);
    const q8_op *op = group > 1 ? &q8_op_convolutiondepthwise : &q8_op_convolution;
    q8_node *node = net_conv(&net, op, in, outputs, kernel, 1, kernel / 2, 1, group);
    net_finish(&net, node);
    const size_t weights = node->weight[0].count;
    const size_t values = PICTURES * q8_shape_count(&net.graph->tensor[in].shape);
    const float scale = 12;
    signed char *before = malloc(weights);
    float *x = malloc(values * sizeof(*x));
    uint32_t seed = 21;
    for (size_t i = 0; i < values; i++)
        x[i] = 0.5f + random_float(&seed) + (i > 0 ? 0.5f * x[i - 1] : 0);
    const q8_quant quant = nearest_weights(node, before, &scale);
    node->quant = &quant;
    const double error = layer_error(node, net.graph, x);
    q8_buffers buffers = {0};
    const q8_layer_inputs sample = {.n = PICTURES, .layer = node, .exact = x, .coded = x};
    assert_int_equal(
        q8_compensate_rounding(net.graph, node, &sample, &buffers, &(q8_env){.threads = 1}, NULL),
        Q8_OK);
    const q8_quant *one = node->quant;
    assert_ptr_not_equal(one, &quant);
    assert_true(layer_error(node, net.graph, x) < 0.8 * error);
    /* The int8 layer's own padding is in codes, and of no account. */
    q8_node again = *node;
    q8_conv_attr in_codes = *(const q8_conv_attr *)node->attr;
    in_codes.pad_value = 100;
    again.attr = &in_codes;
    again.quant = &quant;
    assert_int_equal(
        q8_compensate_rounding(net.graph, &again, &sample, &buffers, &(q8_env){.threads = 3}, NULL),
        Q8_OK);
    assert_memory_equal(again.quant->weight, one->weight, weights);
    free(before), free(x);
    q8_buffers_close(&buffers);
    net_close(&net);
}

static void layers_are_rounded_alike_by_any_number_of_threads(void **state)
{
    (void)state;
    check_layer(3, 70, 3, 1);
    check_layer(70, 33, 1, 1);
    check_layer(12, 8, 3, 4);
    check_layer(6, 6, 3, 6);
}

/* --- buffers ---------------------------------------------------------------------------------- */

static char *take(q8_buffers *buffers, size_t bytes, int fill)
{
    char *block = q8_buffers_take(buffers, bytes);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    memset(block, fill, bytes);
    return block;
}

static void buffers_come_back(void **state)
{
    (void)state;
    q8_buffers buffers = {0};
    char *a = take(&buffers, 1000, 1), *b = take(&buffers, 1000, 2), *c = take(&buffers, 1000, 3);
    assert_true(a[999] == 1 && b[0] == 2 && b[999] == 2 && c[0] == 3);
    q8_buffers_give(&buffers, a);
    q8_buffers_give(&buffers, NULL);
    assert_ptr_equal(take(&buffers, 900, 4), a); /* large enough */
    q8_buffers_give(&buffers, a);
    char *d = take(&buffers, 2000, 5); /* too large for that */
    assert_ptr_not_equal(d, a);
    q8_buffers_give(&buffers, b);
    assert_ptr_equal(take(&buffers, 2000, 6), a); /* neighbours are joined */
    assert_true(c[0] == 3 && c[999] == 3 && d[0] == 5 && d[1999] == 5);
    char *large = take(&buffers, (size_t)300 << 20, 7); /* more than a chunk */
    assert_true(c[999] == 3 && d[1999] == 5 && large[0] == 7);
    q8_buffers_give(&buffers, large);
    assert_ptr_equal(take(&buffers, (size_t)299 << 20, 8), large);
    assert_null(q8_buffers_take(&buffers, SIZE_MAX - 8));
    q8_buffers_close(&buffers);
    q8_buffers_close(&buffers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_make_the_outputs),
        cmocka_unit_test(pointwise_convolutions_are_those_of_plain_c),
        cmocka_unit_test(layers_are_rounded_alike_by_any_number_of_threads),
        cmocka_unit_test(buffers_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
