/* Plans with convolutions in bf16 against plain C: near, but not equal where the processor has it,
 * in every layout that their neighbours get by it, and the same wherever a picture stands. */
#include "ops/affine.h"
#include "ops/innerproduct.h"
#include "ops/pooling.h"
#include "ops/simple.h"
#include "ops/unary.h"
#include "test_exec_graph.h"

/* Two roundings to 8 bits, relative squared error about 2^-18 / 3 each; more layers add up. */
#define LIMIT 1e-4

static bool *all_made(const q8_graph *graph)
{
    bool *wanted = calloc((size_t)graph->n_tensors, sizeof(*wanted));
    assert_non_null(wanted);
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out; k++)
            wanted[graph->node[i]->out[k]] = true;
    return wanted;
}

/* @return the error of the last node's output */
static double compare(const struct net *net, int batch)
{
    const q8_graph *graph = net->graph;
    bool *wanted = all_made(graph);
    q8_exec *plain = open_exec(graph, Q8_BACKEND_PLAIN, batch, wanted);
    q8_exec *bf16 = open_exec(graph, Q8_BACKEND_CPU_BF16, batch, wanted);
    struct seen right = forward(graph, plain, batch, net->seed);
    struct seen got = forward(graph, bf16, batch, net->seed);
    double error = 0;
    for (int t = 0; t < graph->n_tensors; t++) {
        char shape[64];
        assert_int_equal(right.count[t], got.count[t]);
        error = nmse(right.data[t], got.data[t], right.count[t]);
        if (!(error <= LIMIT))
            fail_msg("%s (%s, batch %d): error %g", graph->tensor[t].name,
                     q8_shape_text(&graph->tensor[t].shape, shape), batch, error);
    }
    seen_close(&right);
    seen_close(&got);
    q8_exec_close(&plain);
    q8_exec_close(&bf16);
    free(wanted);
    return error;
}

/* Where the last node runs in a plan of the kind. */
static bool runs_in_bf16(const struct net *net, q8_backend_kind kind)
{
    const int last = net->graph->n_nodes - 1;
    bool *wanted = all_made(net->graph);
    q8_exec *exec = open_exec(net->graph, kind, 1, wanted);
    const bool is = strcmp(q8_exec_node_backend(exec, last), "bf16") == 0;
    q8_exec_close(&exec);
    free(wanted);
    return is;
}

static void convolutions(void **state)
{
    (void)state;
    static const int channels[] = {1, 3, 13, 16, 32, 35, 48, 80};
    uint32_t seed = 3;
    int in_use = 0;
    for (int i = 0; i < 120; i++) {
        struct net net = net_open((uint32_t)i);
        const int in = net_input(&net, channels[random_int(&seed, 0, 7)], random_int(&seed, 7, 14),
                                 random_int(&seed, 7, 14));
        q8_node *node = net_conv(&net, &q8_op_convolution, in, channels[random_int(&seed, 0, 7)],
                                 random_int(&seed, 1, 4), random_int(&seed, 1, 3),
                                 random_int(&seed, 0, 2), random_int(&seed, 1, 2), 1);
        q8_conv_attr *a = node->attr;
        a->bias_term = random_int(&seed, 0, 3) > 0;
        a->pad_right = random_int(&seed, 0, 2);
        if (i % 2)
            a->activation = (q8_activation){.type = Q8_ACT_RELU};
        net_finish(&net, node);
        const double error = compare(&net, i % 3 ? 1 : 3);
        assert_false(runs_in_bf16(&net, Q8_BACKEND_CPU));
        if (runs_in_bf16(&net, Q8_BACKEND_CPU_BF16)) {
            in_use++;
            assert_true(error > 1e-9);
        }
        net_close(&net);
    }
    if (q8_exec_has_bf16())
        assert_true(in_use > 20);
    else
        print_message("this processor is no faster in bf16: compared in fp32 only\n");
}

/* The simulation of int8 has to be exact, and oneDNN pads with zeros only. */
static void never_in_bf16(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct net net = net_open((uint32_t)i);
        const int group = i == 2 ? 2 : 1;
        q8_node *node = net_conv(&net, group > 1 ? &q8_op_convolutiondepthwise : &q8_op_convolution,
                                 net_input(&net, 16, 9, 9), 16, 3, 1, 1, 1, group);
        node->exact = i == 0;
        ((q8_conv_attr *)node->attr)->pad_value = i == 1 ? 2 : 0;
        net_finish(&net, node);
        assert_false(runs_in_bf16(&net, Q8_BACKEND_CPU_BF16));
        compare(&net, 1);
        net_close(&net);
    }
}

static int conv(struct net *net, int in, int outputs, int kernel)
{
    return net_finish(net,
                      net_conv(net, &q8_op_convolution, in, outputs, kernel, 1, kernel / 2, 1, 1));
}

static int pool(struct net *net, int in, int type)
{
    q8_node *node = net_after(net, &q8_op_pooling, in);
    *(q8_pooling_attr *)node->attr = (q8_pooling_attr){.type = type,
                                                       .kernel_w = 3,
                                                       .kernel_h = 3,
                                                       .stride_w = 2,
                                                       .stride_h = 2,
                                                       .mode = Q8_POOL_VALID};
    return net_finish(net, node);
}

static int prelu(struct net *net, int in, int slopes)
{
    q8_node *node = net_after(net, &q8_op_prelu, in);
    ((q8_prelu_attr *)node->attr)->num_slope = slopes;
    return net_finish(net, node);
}

static int scale(struct net *net, int in, int channels)
{
    q8_node *node = net_after(net, &q8_op_scale, in);
    *(q8_scale_attr *)node->attr = (q8_scale_attr){channels, 1};
    return net_finish(net, node);
}

/* Every layer that keeps its input's layout or changes it, behind and before convolutions. */
static void neighbours(void **state)
{
    (void)state;
    static const int channels[] = {8, 16, 20, 64};
    for (int i = 0; i < 24; i++) {
        struct net net = net_open((uint32_t)i);
        const int c = channels[i % 4];
        int last = conv(&net, net_input(&net, i % 2 ? 3 : 40, 13, 14), c, i % 3 ? 3 : 5);
        last = prelu(&net, last, i % 3 ? c : 1);
        last = scale(&net, last, c);
        const int depthwise =
            net_finish(&net, net_conv(&net, &q8_op_convolutiondepthwise, last, c, 3, 1, 1, 1, c));
        const int both[] = {last, depthwise};
        last = net_finish(&net, net_node(&net, &q8_op_eltwise, 2, both, 1));
        last = pool(&net, last, i % 2 ? Q8_POOL_MAX : Q8_POOL_AVE);
        const int parts[] = {last, conv(&net, last, 16, 1), conv(&net, last, 9, 3)};
        q8_node *concat = net_node(&net, &q8_op_concat, 3, parts, 1);
        last = net_finish(&net, concat);
        q8_node *lrn = net_after(&net, &q8_op_lrn, last);
        *(q8_lrn_attr *)lrn->attr =
            (q8_lrn_attr){.size = 5, .alpha = 0.3F, .beta = 0.75F, .bias = 1};
        last = net_finish(&net, lrn);
        last = net_finish(&net, net_conv(&net, &q8_op_deconvolution, last, 12, 2, 2, 0, 1, 1));
        last = conv(&net, net_finish(&net, net_after(&net, &q8_op_sigmoid, last)), c, 1);
        q8_node *full = net_after(&net, &q8_op_innerproduct, last);
        const size_t n_in = q8_shape_count(&net.graph->tensor[last].shape);
        *(q8_innerproduct_attr *)full->attr = (q8_innerproduct_attr){
            .num_output = 10, .bias_term = 1, .weight_data_size = 10 * (int)n_in};
        net_finish(&net, full);
        compare(&net, i % 3 ? 1 : 2);
        net_close(&net);
    }
}

/* A picture alone, and as the last of a batch that is not full: equal to the bit. */
static void wherever_a_picture_stands(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct net net = net_open((uint32_t)i);
        int last = conv(&net, net_input(&net, i % 2 ? 3 : 32, 17, 15), 64, 3);
        last = pool(&net, last, Q8_POOL_MAX);
        conv(&net, conv(&net, last, 160, 1), 48, 3);
        bool *wanted = all_made(net.graph);
        q8_exec *one = open_exec(net.graph, Q8_BACKEND_CPU_BF16, 1, wanted);
        q8_exec *many = open_exec(net.graph, Q8_BACKEND_CPU_BF16, 5, wanted);
        struct seen alone = forward(net.graph, one, 1, 103);
        struct seen among = forward(net.graph, many, 4, 100);
        for (int t = 0; t < net.graph->n_tensors; t++)
            assert_memory_equal(alone.data[t], among.data[t] + 3 * alone.count[t],
                                alone.count[t] * sizeof(float));
        seen_close(&alone);
        seen_close(&among);
        q8_exec_close(&one);
        q8_exec_close(&many);
        free(wanted);
        net_close(&net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(never_in_bf16),
        cmocka_unit_test(neighbours),
        cmocka_unit_test(wherever_a_picture_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
