/* The simulation of int8 layers against integers, exactly, in plain C and in oneDNN. */
#include "test_exec_graph.h"

#include "ops/innerproduct.h"
#include "quant/quant.h"
#include "verify/simulate.h"

/* Random int8 weights up to `most`, `n_scales` scales; output channels of scale 0 give the bias. */
static void make_int8(struct net *net, q8_node *node, int most, size_t n_scales)
{
    const size_t count = node->weight[0].count;
    q8_quant *quant = q8_arena_alloc(net->arena, sizeof(*quant));
    signed char *weight = q8_arena_array(net->arena, count, 1);
    float *scale = q8_arena_array(net->arena, n_scales, sizeof(*scale));
    for (size_t i = 0; i < count; i++)
        weight[i] = (signed char)random_int(&net->seed, -most, most);
    for (size_t i = 0; i < n_scales; i++)
        scale[i] = i == 1 ? 0 : 40 + 30 * random_float(&net->seed);
    *quant = (q8_quant){.weight = weight,
                        .weight_scales = scale,
                        .n_weight_scales = n_scales,
                        .bottom_scale = 80.25f};
    node->quant = quant;
}

/* --- the reference ---------------------------------------------------------------------------- */

static long long code_at(const q8_conv_attr *a, const q8_shape *in, const float *x, float scale,
                         int c, int y, int z)
{
    if (y < 0 || y >= in->dim[1] || z < 0 || z >= in->dim[2])
        return (long long)a->pad_value;
    return q8_round_int8(
        x[((size_t)c * (size_t)in->dim[1] + (size_t)y) * (size_t)in->dim[2] + (size_t)z] * scale);
}

static long long window_sum(const q8_node *node, const q8_shape *in, const float *x, int o, int y,
                            int z)
{
    const q8_conv_attr *a = node->attr;
    const int inputs = in->dim[0] / a->group, first = o / (a->num_output / a->group) * inputs;
    const signed char *w =
        node->quant->weight + (size_t)o * (size_t)(inputs * a->kernel_h * a->kernel_w);
    long long sum = 0;
    for (int c = 0; c < inputs; c++)
        for (int ky = 0; ky < a->kernel_h; ky++)
            for (int kx = 0; kx < a->kernel_w; kx++)
                sum += *w++ * code_at(a, in, x, node->quant->bottom_scale, first + c,
                                      y * a->stride_h - a->pad_top + ky * a->dilation_h,
                                      z * a->stride_w - a->pad_left + kx * a->dilation_w);
    return sum;
}

static long long row_sum(const q8_node *node, size_t n, const float *x, int o)
{
    long long sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += node->quant->weight[(size_t)o * n + i] *
               q8_round_int8(x[i] * node->quant->bottom_scale);
    return sum;
}

static float value_of(const q8_node *node, int o, int outputs, long long sum)
{
    const q8_quant *q = node->quant;
    const float weight_scale = q->weight_scales[(size_t)o * q->n_weight_scales / (size_t)outputs];
    const float scale = weight_scale == 0 ? 0 : 1 / (q->bottom_scale * weight_scale);
    const float y = (float)((double)(float)sum * (double)scale + (double)node->weight[1].data[o]);
    const q8_activation *act = node->op->activation((q8_node *)(uintptr_t)node);
    if (act->type == Q8_ACT_RELU)
        return y < 0 ? 0 : y;
    if (act->type == Q8_ACT_LEAKY)
        return y < 0 ? y * act->params.v[0] : y;
    if (act->type == Q8_ACT_CLIP)
        return y < act->params.v[0]   ? act->params.v[0]
               : y > act->params.v[1] ? act->params.v[1]
                                      : y;
    return y;
}

static void check_conv(const q8_graph *graph, const q8_node *node, const float *x, const float *y)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape,
                   *out = &graph->tensor[node->out[0]].shape;
    for (int o = 0; o < out->dim[0]; o++)
        for (int i = 0; i < out->dim[1]; i++)
            for (int k = 0; k < out->dim[2]; k++, y++)
                assert_true(*y == value_of(node, o, out->dim[0], window_sum(node, in, x, o, i, k)));
}

static void check_innerproduct(const q8_graph *graph, const q8_node *node, const float *x,
                               const float *y)
{
    const size_t n = q8_shape_count(&graph->tensor[node->in[0]].shape);
    const int outputs = ((const q8_innerproduct_attr *)node->attr)->num_output;
    for (int o = 0; o < outputs; o++)
        assert_true(y[o] == value_of(node, o, outputs, row_sum(node, n, x, o)));
}

/* Every int8 layer of the simulation makes what integers make of the input it had. */
static void check(const struct net *net)
{
    q8_err err = {0};
    q8_graph *simulation;
    assert_int_equal(q8_simulate_graph(&simulation, net->graph, net->arena, &err), Q8_OK);
    bool *wanted = q8_arena_array(net->arena, (size_t)simulation->n_tensors + 1, sizeof(*wanted));
    for (int t = 0; t < net->graph->n_tensors; t++)
        wanted[t] = true;
    for (int backend = 0; backend < 2; backend++) {
        q8_exec *exec =
            open_exec(simulation, backend ? Q8_BACKEND_CPU : Q8_BACKEND_PLAIN, 2, wanted);
        struct seen seen = forward(simulation, exec, 2, 5);
        for (int i = 0; i < net->graph->n_nodes; i++) {
            const q8_node *node = net->graph->node[i];
            const size_t in = node->n_in ? seen.count[node->in[0]] / 2 : 0;
            for (size_t p = 0; node->quant && p < 2; p++)
                (node->op == &q8_op_innerproduct ? check_innerproduct : check_conv)(
                    net->graph, node, seen.data[node->in[0]] + p * in,
                    seen.data[node->out[0]] + p * (seen.count[node->out[0]] / 2));
        }
        seen_close(&seen);
        q8_exec_close(&exec);
    }
}

/* --- tests ------------------------------------------------------------------------------------ */

static void set_activation(q8_node *node, int type)
{
    static const float params[] = {-0.25f, 1.5f};
    *node->op->activation(node) = (q8_activation){type, {2, params}};
}

static void test_convolutions(void **state)
{
    static const struct {
        int c, h, w, outputs, kernel, stride, pad, dilation, group, act;
        float pad_value;
    } cases[] = {
        {3, 17, 19, 24, 3, 2, 0, 1, 1, Q8_ACT_NONE, 0},
        {32, 24, 24, 32, 3, 1, 1, 1, 1, Q8_ACT_RELU, 0}, /* winograd, were it not for `exact` */
        {16, 11, 12, 20, 3, 1, 1, 1, 1, Q8_ACT_CLIP, 127},
        {16, 9, 7, 5, 1, 1, 0, 1, 1, Q8_ACT_LEAKY, 0},
        {20, 10, 10, 20, 3, 1, 1, 1, 20, Q8_ACT_CLIP, 127},
        {24, 10, 9, 24, 3, 2, 1, 1, 24, Q8_ACT_RELU, 0},
        {12, 8, 8, 18, 3, 1, 2, 2, 3, Q8_ACT_NONE, 31},
        {1, 5, 5, 3, 5, 1, 2, 1, 1, Q8_ACT_LEAKY, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net net = net_open((uint32_t)i + 1);
        const bool grouped = cases[i].group > 1;
        const int in = net_input(&net, cases[i].c, cases[i].h, cases[i].w);
        q8_node *node = net_conv(&net, grouped ? &q8_op_convolutiondepthwise : &q8_op_convolution,
                                 in, cases[i].outputs, cases[i].kernel, cases[i].stride,
                                 cases[i].pad, cases[i].dilation, cases[i].group);
        ((q8_conv_attr *)node->attr)->pad_value = cases[i].pad_value;
        set_activation(node, cases[i].act);
        net_output(&net, net_finish(&net, node));
        make_int8(&net, node, 127, (size_t)(grouped ? cases[i].group : cases[i].outputs));
        check(&net);
        net_close(&net);
    }
}

static void test_one_scale_per_layer(void **state)
{
    (void)state;
    struct net net = net_open(21);
    q8_node *node =
        net_conv(&net, &q8_op_convolutiondepthwise, net_input(&net, 8, 6, 6), 8, 3, 1, 1, 1, 8);
    net_output(&net, net_finish(&net, node));
    make_int8(&net, node, 127, 1);
    check(&net);
    net_close(&net);
}

/* Sums of 2^24 and more: the weights are split, and the result is as int32 gives it. */
static void test_large_sums(void **state)
{
    (void)state;
    struct net net = net_open(33);
    q8_node *node =
        net_conv(&net, &q8_op_convolution, net_input(&net, 600, 5, 5), 3, 3, 1, 1, 1, 1);
    net_output(&net, net_finish(&net, node));
    make_int8(&net, node, 127, 3);
    q8_simulated layer;
    q8_err err = {0};
    assert_int_equal(q8_simulate_prepare(&layer, net.graph, node, net.arena, &err), Q8_OK);
    assert_non_null(layer.high);
    for (size_t i = 0; i < node->weight[0].count; i++) {
        assert_true(layer.high[i] * 16 + layer.weight[i] == (float)node->quant->weight[i]);
        assert_in_range((int)layer.high[i] + 8, 0, 16);
        assert_in_range((int)layer.weight[i] + 8, 0, 16);
    }
    check(&net);
    net_close(&net);
}

static void test_innerproduct(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct net net = net_open(41 + (uint32_t)i);
        const int in = net_input(&net, i ? 9000 : 7, i ? 3 : 1, i ? 3 : 1);
        q8_node *node = net_after(&net, &q8_op_innerproduct, in);
        q8_innerproduct_attr *a = node->attr;
        *a = (q8_innerproduct_attr){.num_output = 5, .bias_term = 1};
        a->weight_data_size = 5 * (int)q8_shape_count(&net.graph->tensor[in].shape);
        set_activation(node, Q8_ACT_RELU);
        net_output(&net, net_finish(&net, node));
        make_int8(&net, node, 127, 5);
        check(&net);
        net_close(&net);
    }
}

/* Two readers with one scale share codes, one with another scale has its own; float layers stay. */
static void test_network(void **state)
{
    (void)state;
    struct net net = net_open(55);
    const int in = net_input(&net, 3, 14, 14);
    q8_node *first = net_conv(&net, &q8_op_convolution, in, 16, 3, 1, 1, 1, 1);
    set_activation(first, Q8_ACT_RELU);
    const int t = net_finish(&net, first);
    q8_node *reader[3];
    int made[3];
    for (int i = 0; i < 3; i++) {
        reader[i] = net_conv(&net, &q8_op_convolution, t, 16, 1 + 2 * (i % 2), 1, i % 2, 1, 1);
        made[i] = net_finish(&net, reader[i]);
    }
    q8_node *concat = net_node(&net, &q8_op_concat, 3, made, 1);
    const int all = net_finish(&net, concat);
    q8_node *last = net_conv(&net, &q8_op_convolution, all, 4, 1, 1, 0, 1, 1);
    net_output(&net, net_finish(&net, last));
    make_int8(&net, first, 127, 16);
    for (int i = 0; i < 3; i++)
        make_int8(&net, reader[i], 127, 16);
    ((q8_quant *)(uintptr_t)reader[2]->quant)->bottom_scale = 3;
    check(&net);
    q8_graph *simulation;
    q8_err err = {0};
    assert_int_equal(q8_simulate_graph(&simulation, net.graph, net.arena, &err), Q8_OK);
    int quantizes = 0;
    for (int i = 0; i < simulation->n_nodes; i++)
        quantizes += strcmp(simulation->node[i]->op->type, "Quantize") == 0;
    assert_int_equal(quantizes, 3); /* of the input, of t twice */
    net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions), cmocka_unit_test(test_one_scale_per_layer),
        cmocka_unit_test(test_large_sums),   cmocka_unit_test(test_innerproduct),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
