/* Every layer that the CPU backend takes, against the plain-C forward on random small shapes. */
#include <float.h>
#include <math.h>

#include "base/limits.h"
#include "ops/affine.h"
#include "ops/innerproduct.h"
#include "ops/pooling.h"
#include "ops/simple.h"
#include "ops/unary.h"
#include "test_exec_graph.h"

#ifdef Q8_HAVE_ONEDNN

/* Relative squared error allowed, and where a node must run: "onednn", "plain", or NULL anywhere.
 */
static void compare(const struct net *net, int batch, double limit, const char *last_backend)
{
    const q8_graph *graph = net->graph;
    bool *wanted = calloc((size_t)graph->n_tensors, sizeof(*wanted));
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out; k++)
            wanted[graph->node[i]->out[k]] = true;
    q8_exec *plain = open_exec(graph, Q8_BACKEND_PLAIN, batch, wanted);
    q8_exec *fast = open_exec(graph, Q8_BACKEND_CPU, batch, wanted);
    if (last_backend)
        assert_string_equal(q8_exec_node_backend(fast, graph->n_nodes - 1), last_backend);
    struct seen right = forward(graph, plain, batch, net->seed),
                got = forward(graph, fast, batch, net->seed);
    assert_int_equal(right.n_shown, got.n_shown);
    for (int t = 0; t < graph->n_tensors; t++) {
        assert_int_equal(right.count[t], got.count[t]);
        const double error = nmse(right.data[t], got.data[t], right.count[t]);
        if (!(error <= limit)) {
            char shape[64];
            fail_msg("%s (%s, batch %d): error %g", graph->tensor[t].name,
                     q8_shape_text(&graph->tensor[t].shape, shape), batch, error);
        }
    }
    seen_close(&right);
    seen_close(&got);
    q8_exec_close(&plain);
    q8_exec_close(&fast);
    free(wanted);
}

static q8_floats floats(struct net *net, int n, const float *v)
{
    float *copy = q8_arena_array(net->arena, (size_t)n, sizeof(*copy));
    assert_non_null(copy);
    memcpy(copy, v, (size_t)n * sizeof(*v));
    return (q8_floats){n, copy};
}

/* A tensor of `c` channels that a convolution made, so in oneDNN's favourite layout. */
static int blocked(struct net *net, int c, int h, int w)
{
    return net_finish(net,
                      net_conv(net, &q8_op_convolution, net_input(net, 3, h, w), c, 1, 1, 0, 1, 1));
}

/* The same without the convolution. */
static int maybe_blocked(struct net *net, int c, int h, int w)
{
    return net->seed % 2 ? blocked(net, c, h, w) : net_input(net, c, h, w);
}

/* --- layers with weights ---------------------------------------------------------------------- */

static void convolutions(void **state)
{
    (void)state;
    static const int channels[] = {1, 3, 8, 13, 16, 32, 35};
    uint32_t seed = 3;
    for (int i = 0; i < 150; i++) {
        struct net net = net_open((uint32_t)i);
        const int in = maybe_blocked(&net, channels[random_int(&seed, 0, 6)],
                                     random_int(&seed, 7, 14), random_int(&seed, 7, 14));
        q8_node *node = net_conv(&net, &q8_op_convolution, in, channels[random_int(&seed, 0, 6)],
                                 random_int(&seed, 1, 4), random_int(&seed, 1, 3),
                                 random_int(&seed, 0, 2), random_int(&seed, 1, 2), 1);
        q8_conv_attr *a = node->attr;
        a->bias_term = random_int(&seed, 0, 3) > 0;
        a->pad_right = random_int(&seed, 0, 2);
        net_finish(&net, node);
        compare(&net, i % 3 ? 1 : 3, 1e-10, "onednn");
        net_close(&net);
    }
}

/* Shapes that are computed by winograd where the processor has it. */
static void convolutions_3x3(void **state)
{
    (void)state;
    static const int channels[] = {16, 20, 32, 48, 67};
    uint32_t seed = 4;
    for (int i = 0; i < 30; i++) {
        struct net net = net_open((uint32_t)i);
        const int in = maybe_blocked(&net, channels[random_int(&seed, 0, 4)],
                                     random_int(&seed, 10, 19), random_int(&seed, 10, 31));
        q8_node *node = net_conv(&net, &q8_op_convolution, in, channels[random_int(&seed, 0, 4)], 3,
                                 1, 1, 1, 1);
        q8_conv_attr *a = node->attr;
        a->pad_right = random_int(&seed, 0, 2);
        a->pad_top = random_int(&seed, 0, 2);
        if (i % 2)
            a->activation = (q8_activation){.type = Q8_ACT_RELU};
        net_finish(&net, node);
        compare(&net, i % 3 ? 1 : 3, 1e-10, "onednn");
        net_close(&net);
    }
}

static void grouped_convolutions(void **state)
{
    (void)state;
    static const struct {
        int in, out, group;
        const char *backend;
    } cases[] = {{8, 8, 8, "onednn"},    {16, 16, 16, "onednn"}, {24, 24, 24, "onednn"},
                 {19, 19, 19, "onednn"}, {32, 32, 2, "onednn"},  {24, 48, 3, "onednn"},
                 {12, 24, 12, "onednn"}, {6, 4, 2, "onednn"}};
    for (int i = 0; i < 48; i++) {
        struct net net = net_open((uint32_t)i);
        const int k = i % 8;
        const int in = maybe_blocked(&net, cases[k].in, 9, 8);
        net_finish(&net, net_conv(&net, &q8_op_convolutiondepthwise, in, cases[k].out,
                                  1 + 2 * (i % 3), 1 + i % 2, i % 3, 1, cases[k].group));
        compare(&net, i % 3 ? 1 : 3, 1e-10, cases[k].backend);
        net_close(&net);
    }
}

static void deconvolutions(void **state)
{
    (void)state;
    static const struct {
        int in, out, group;
    } cases[] = {{3, 5, 1}, {16, 16, 1}, {16, 7, 1}, {32, 48, 1}, {16, 16, 16}, {21, 21, 21}};
    for (int i = 0; i < 48; i++) {
        struct net net = net_open((uint32_t)i);
        const int k = i % 6;
        const int in = maybe_blocked(&net, cases[k].in, 6, 5);
        q8_node *node = net_conv(
            &net, cases[k].group > 1 ? &q8_op_deconvolutiondepthwise : &q8_op_deconvolution, in,
            cases[k].out, 2 + i % 3, 1 + i % 2, i % 2, 1, cases[k].group);
        if (i % 4 == 0)
            ((q8_conv_attr *)node->attr)->activation = (q8_activation){.type = Q8_ACT_RELU};
        net_finish(&net, node);
        compare(&net, i % 3 ? 1 : 3, 1e-10, NULL);
        net_close(&net);
    }
}

static void fused_activations(void **state)
{
    (void)state;
    static const struct {
        int type, n;
        float v[2];
        const char *backend;
    } cases[] = {
        {Q8_ACT_RELU, 0, {0}, "onednn"},
        {Q8_ACT_LEAKY, 1, {0.1F}, "onednn"},
        {Q8_ACT_CLIP, 2, {-0.5F, 6}, "onednn"},
        {Q8_ACT_CLIP, 2, {0.25F, 3.4e38F}, "onednn"}, /* does not keep 0 */
        {Q8_ACT_SIGMOID, 0, {0}, "onednn"},
        {Q8_ACT_MISH, 0, {0}, "onednn"},
        {Q8_ACT_HSWISH, 2, {1.F / 6, 0.5F}, "onednn"},
        {Q8_ACT_HSWISH, 2, {0.2F, 0.5F}, NULL}, /* oneDNN 2 cannot */
    };
    for (int i = 0; i < 48; i++) {
        struct net net = net_open((uint32_t)i);
        const int k = i % 8;
        const q8_activation act = {cases[k].type, floats(&net, cases[k].n, cases[k].v)};
        q8_node *node;
        if (i < 16) {
            node = net_conv(&net, &q8_op_convolution, blocked(&net, 16, 6, 7), 19, 3, 1, 1, 1, 1);
            ((q8_conv_attr *)node->attr)->activation = act;
        } else if (i < 32) {
            node = net_conv(&net, &q8_op_convolutiondepthwise, blocked(&net, 19, 6, 7), 19, 3, 1, 1,
                            1, 19);
            ((q8_conv_attr *)node->attr)->activation = act;
        } else {
            node = net_after(&net, &q8_op_innerproduct, blocked(&net, 19, 6, 7));
            *(q8_innerproduct_attr *)node->attr =
                (q8_innerproduct_attr){.num_output = 21,
                                       .bias_term = 1,
                                       .weight_data_size = 21 * 19 * 42,
                                       .activation = act};
        }
        net_finish(&net, node);
        compare(&net, i % 2 ? 1 : 3, 1e-10, cases[k].backend);
        net_close(&net);
    }
}

/* Direct, winograd and depthwise, with and without a last block that is not full. */
static void other_padding_than_zeros(void **state)
{
    (void)state;
    static const int channels[] = {2, 16, 19, 32};
    uint32_t seed = 9;
    for (int i = 0; i < 64; i++) {
        struct net net = net_open((uint32_t)i);
        const int c = channels[i % 4], depthwise = i / 4 % 2, group = depthwise ? c : 1;
        q8_node *node = net_conv(
            &net, depthwise ? &q8_op_convolutiondepthwise : &q8_op_convolution,
            maybe_blocked(&net, c, random_int(&seed, 8, 13), random_int(&seed, 8, 13)),
            depthwise ? c : 24, 3, random_int(&seed, 1, 2), random_int(&seed, 0, 2), 1, group);
        q8_conv_attr *a = node->attr;
        a->bias_term = random_int(&seed, 0, 1);
        a->pad_right = random_int(&seed, 0, 3);
        a->pad_top = random_int(&seed, 0, 3);
        a->pad_value = 3 * random_float(&seed);
        if (random_int(&seed, 0, 1))
            a->activation =
                (q8_activation){Q8_ACT_CLIP, floats(&net, 2, (const float[]){0.5F, FLT_MAX})};
        net_finish(&net, node);
        compare(&net, i % 3 ? 1 : 3, 1e-10, depthwise && c == 2 ? NULL : "onednn");
        net_close(&net);
    }
}

/* The copy with its border would be more than oneDNN counts, 2 GiB. */
static void padding_too_large_for_a_copy(void **state)
{
    (void)state;
    struct net net = net_open(1);
    q8_node *node = net_conv(&net, &q8_op_convolution, blocked(&net, 160, 1, 4), 1, 1, 1, 0, 1, 1);
    q8_conv_attr *a = node->attr;
    a->pad_top = a->pad_bottom = a->pad_left = a->pad_right = Q8_MAX_PADDING;
    a->stride_h = a->stride_w = Q8_MAX_PADDING;
    a->pad_value = 1;
    net_finish(&net, node);
    compare(&net, 1, 1e-10, "plain");
    net_close(&net);
}

static void inner_products(void **state)
{
    (void)state;
    static const int sizes[] = {1, 7, 16, 33, 128};
    uint32_t seed = 5;
    for (int i = 0; i < 40; i++) {
        struct net net = net_open((uint32_t)i);
        const int h = random_int(&seed, 1, 4), w = random_int(&seed, 1, 4);
        const int c = sizes[random_int(&seed, 0, 4)], outputs = sizes[random_int(&seed, 0, 4)];
        int last = maybe_blocked(&net, c, h, w);
        q8_node *node = net_after(&net, &q8_op_innerproduct, last);
        *(q8_innerproduct_attr *)node->attr = (q8_innerproduct_attr){
            .num_output = outputs, .bias_term = i % 3 > 0, .weight_data_size = outputs * c * h * w};
        net_finish(&net, node);
        compare(&net, i % 4 + 1, 1e-10, "onednn");
        net_close(&net);
    }
}

/* --- layers without --------------------------------------------------------------------------- */

static void poolings(void **state)
{
    (void)state;
    static const int channels[] = {1, 5, 16, 35};
    uint32_t seed = 9;
    for (int i = 0; i < 120; i++) {
        struct net net = net_open((uint32_t)i);
        const int in = maybe_blocked(&net, channels[random_int(&seed, 0, 3)],
                                     random_int(&seed, 7, 13), random_int(&seed, 7, 13));
        q8_node *node = net_after(&net, &q8_op_pooling, in);
        q8_pooling_attr *a = node->attr;
        a->type = random_int(&seed, 0, 1);
        a->global_pooling = i % 8 == 0;
        a->kernel_w = random_int(&seed, 1, 4);
        a->kernel_h = random_int(&seed, 1, 4);
        a->stride_w = random_int(&seed, 1, 3);
        a->stride_h = random_int(&seed, 1, 3);
        a->pad_left = random_int(&seed, 0, a->kernel_w - 1);
        a->pad_right = random_int(&seed, 0, a->kernel_w - 1);
        a->pad_top = a->pad_bottom = random_int(&seed, 0, a->kernel_h - 1);
        /* Rounding up may put a whole window into the padding, which is refused. */
        a->mode =
            a->pad_right || a->pad_bottom || a->kernel_w < a->stride_w || a->kernel_h < a->stride_h
                ? Q8_POOL_VALID
                : random_int(&seed, 0, 1);
        a->count_include_pad = random_int(&seed, 0, 1);
        net_finish(&net, node);
        const bool one_to_one = a->kernel_w == 1 && a->kernel_h == 1;
        compare(&net, i % 3 ? 1 : 3, 1e-10, one_to_one ? NULL : "onednn");
        net_close(&net);
    }
}

static void functions_of_each_element(void **state)
{
    (void)state;
    for (int i = 0; i < 48; i++) {
        struct net net = net_open((uint32_t)i);
        static const int channels[] = {1, 16, 21};
        const int in = maybe_blocked(&net, channels[i % 3], 4, 5);
        q8_node *node = NULL;
        switch (i % 5) {
        case 0:
            node = net_after(&net, &q8_op_relu, in);
            ((q8_relu_attr *)node->attr)->slope = i % 2 ? 0.2F : 0;
            break;
        case 1:
            node = net_after(&net, &q8_op_clip, in);
            *(q8_clip_attr *)node->attr = (q8_clip_attr){0.1F, 0.7F};
            break;
        case 2:
            node = net_after(&net, &q8_op_sigmoid, in);
            break;
        case 3:
            node = net_after(&net, &q8_op_tanh, in);
            break;
        default:
            node = net_after(&net, &q8_op_prelu, in);
            ((q8_prelu_attr *)node->attr)->num_slope = i % 2 ? 1 : channels[i % 3];
        }
        net_finish(&net, node);
        compare(&net, i % 4 ? 1 : 3, 1e-10, "onednn");
        net_close(&net);
    }
}

/* oneDNN's own is off by 4e-6 there, and below 0 at times. */
static void small_values_of_bnll(void **state)
{
    (void)state;
    struct net net = net_open(1);
    q8_node *node = net_after(&net, &q8_op_power, net_input(&net, 8, 4, 4));
    *(q8_power_attr *)node->attr = (q8_power_attr){.power = 1, .scale = 5, .shift = -15};
    net_finish(&net, net_after(&net, &q8_op_bnll, net_finish(&net, node)));
    compare(&net, 1, 1e-10, NULL);
    net_close(&net);
}

static void scale_and_shift(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        struct net net = net_open((uint32_t)i);
        const int c = i % 3 == 0 ? 16 : 5 + i;
        const int in = maybe_blocked(&net, c, 4, 5);
        q8_node *node = net_after(&net, i % 2 ? &q8_op_scale : &q8_op_batchnorm, in);
        if (i % 2) {
            *(q8_scale_attr *)node->attr = (q8_scale_attr){c, i % 4 == 1};
        } else {
            *(q8_batchnorm_attr *)node->attr = (q8_batchnorm_attr){c, 1e-3F};
            float *variance = q8_arena_array(net.arena, (size_t)c, sizeof(float));
            assert_non_null(variance);
            for (int k = 0; k < c; k++)
                variance[k] = 0.5F + (float)k;
            node->weight[2] = (q8_weight){variance, (size_t)c};
        }
        net_finish(&net, node);
        compare(&net, i % 4 ? 1 : 3, 1e-10, "onednn");
        net_close(&net);
    }
}

static void lrn(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        struct net net = net_open((uint32_t)i);
        q8_node *node = net_after(&net, &q8_op_lrn, maybe_blocked(&net, i % 3 ? 32 : 11, 5, 6));
        *(q8_lrn_attr *)node->attr = (q8_lrn_attr){.region = i % 6 == 5,
                                                   .size = i % 4 ? 5 : 3,
                                                   .alpha = 0.3F,
                                                   .beta = i % 5 ? 0.75F : 0.6F,
                                                   .bias = 1};
        net_finish(&net, node);
        compare(&net, i % 2 ? 1 : 3, 1e-10, NULL);
        net_close(&net);
    }
}

/* oneDNN's own gives 0 for large values, with a beta of 3/4, and infinity for small ones. */
static void lrn_of_all_sizes(void **state)
{
    (void)state;
    static const float k[] = {1, 1e-20F, 0, 1e20F};
    for (int i = 0; i < 4 * 36; i++) {
        struct net net = net_open((uint32_t)i);
        q8_node *node = net_after(&net, &q8_op_power, maybe_blocked(&net, i % 3 ? 32 : 11, 5, 6));
        const float scale = powf(10, (float)(i / 4 - 18));
        *(q8_power_attr *)node->attr = (q8_power_attr){.power = 1, .scale = scale};
        node = net_after(&net, &q8_op_lrn, net_finish(&net, node));
        *(q8_lrn_attr *)node->attr =
            (q8_lrn_attr){.size = 5, .alpha = 1, .beta = 0.75F, .bias = k[i % 4]};
        net_finish(&net, node);
        compare(&net, i % 8 ? 1 : 3, 1e-10, i % 4 ? "plain" : i % 3 ? "onednn" : NULL);
        net_close(&net);
    }
}

static void softmax(void **state)
{
    (void)state;
    for (int i = 0; i < 36; i++) {
        struct net net = net_open((uint32_t)i);
        q8_node *node = net_after(&net, &q8_op_softmax, maybe_blocked(&net, i % 2 ? 32 : 11, 5, 6));
        *(q8_softmax_attr *)node->attr = (q8_softmax_attr){i % 3 - (i % 4 == 0 ? 3 : 0), 1};
        net_finish(&net, node);
        compare(&net, i % 5 ? 1 : 3, 1e-10, NULL);
        net_close(&net);
    }
}

static void eltwise(void **state)
{
    (void)state;
    static const float coeffs[] = {0.5F, -2, 1.5F};
    for (int i = 0; i < 36; i++) {
        struct net net = net_open((uint32_t)i);
        const int c = i % 2 ? 32 : 11;
        const int in[] = {maybe_blocked(&net, c, 5, 6), blocked(&net, c, 5, 6),
                          net_input(&net, c, 5, 6)};
        q8_node *node = net_node(&net, &q8_op_eltwise, 2 + i % 2, in, 1);
        q8_eltwise_attr *a = node->attr;
        a->type = i % 3;
        if (a->type == Q8_ELTWISE_SUM && i % 4)
            a->coeffs = floats(&net, node->n_in, coeffs);
        net_finish(&net, node);
        compare(&net, i % 5 ? 1 : 3, 1e-10, "onednn");
        net_close(&net);
    }
}

static void concat_of_channels(void **state)
{
    (void)state;
    static const int channels[] = {16, 3, 32, 17, 5, 8};
    for (int i = 0; i < 36; i++) {
        struct net net = net_open((uint32_t)i);
        int in[4];
        for (int k = 0; k < 4; k++)
            in[k] = k % 2 ? blocked(&net, channels[(i + 5 * k) % 6], 3, 4)
                          : maybe_blocked(&net, channels[(i + k) % 6], 3, 4);
        q8_node *node = net_node(&net, &q8_op_concat, 1 + i % 4, in, 1);
        ((q8_concat_attr *)node->attr)->axis = i % 2 ? 0 : -3;
        net_finish(&net, node);
        compare(&net, i % 5 ? 1 : 3, 1e-10, NULL);
        net_close(&net);
    }
}

static void concat_of_rows(void **state)
{
    (void)state;
    struct net net = net_open(3);
    const int in[] = {blocked(&net, 16, 3, 4), blocked(&net, 16, 5, 4)};
    q8_node *node = net_node(&net, &q8_op_concat, 2, in, 1);
    ((q8_concat_attr *)node->attr)->axis = 1;
    net_finish(&net, node);
    compare(&net, 2, 1e-10, "plain");
    net_close(&net);
}

static void shuffled_channels(void **state)
{
    (void)state;
    static const int shapes[][2] = {{32, 2}, {24, 3}, {12, 4}, {48, 8}, {6, 1}};
    for (int i = 0; i < 30; i++) {
        struct net net = net_open((uint32_t)i);
        const int *shape = shapes[i % 5];
        q8_node *node = net_after(&net, &q8_op_shufflechannel, maybe_blocked(&net, shape[0], 3, 4));
        *(q8_shufflechannel_attr *)node->attr =
            (q8_shufflechannel_attr){.group = shape[1], .reverse = i / 5 % 2};
        net_finish(&net, node);
        compare(&net, i % 4 ? 1 : 3, 1e-10, NULL);
        net_close(&net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_3x3),
        cmocka_unit_test(grouped_convolutions),
        cmocka_unit_test(deconvolutions),
        cmocka_unit_test(fused_activations),
        cmocka_unit_test(other_padding_than_zeros),
        cmocka_unit_test(padding_too_large_for_a_copy),
        cmocka_unit_test(inner_products),
        cmocka_unit_test(poolings),
        cmocka_unit_test(functions_of_each_element),
        cmocka_unit_test(small_values_of_bnll),
        cmocka_unit_test(scale_and_shift),
        cmocka_unit_test(lrn),
        cmocka_unit_test(lrn_of_all_sizes),
        cmocka_unit_test(softmax),
        cmocka_unit_test(eltwise),
        cmocka_unit_test(concat_of_channels),
        cmocka_unit_test(concat_of_rows),
        cmocka_unit_test(shuffled_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    print_message("built without oneDNN\n");
    return 0;
}

#endif
