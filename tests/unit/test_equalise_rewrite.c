/* Factors of channels through every kind of layer: each tensor is the original times its factors.
 */
#include <float.h>
#include <math.h>

#include "ops/affine.h"
#include "ops/binaryop.h"
#include "ops/innerproduct.h"
#include "ops/interp.h"
#include "ops/pooling.h"
#include "ops/simple.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "passes/passes.h"
#include "quant/equalise_rewrite.h"
#include "test_exec_graph.h"

/* --- networks --------------------------------------------------------------------------------- */

static int conv_of(struct net *net, const q8_op *op, int in, int outputs, int kernel, int group,
                   q8_act_type type)
{
    q8_node *node = net_conv(net, op, in, outputs, kernel, 1, kernel / 2, 1, group);
    float *params = q8_arena_array(net->arena, 2, sizeof(*params));
    assert_non_null(params);
    params[0] = 0.1F;
    params[1] = 6;
    *node->op->activation(node) = (q8_activation){type, {type == Q8_ACT_RELU ? 0 : 2, params}};
    return net_finish(net, node);
}

static int conv(struct net *net, int in, int outputs)
{
    return conv_of(net, &q8_op_convolution, in, outputs, 3, 1, Q8_ACT_RELU);
}

static int after(struct net *net, const q8_op *op, int in)
{
    return net_finish(net, net_after(net, op, in));
}

static int both(struct net *net, const q8_op *op, int a, int b)
{
    return net_finish(net, net_node(net, op, 2, (const int[]){a, b}, 1));
}

static int eltwise(struct net *net, int type, int a, int b)
{
    q8_node *node = net_node(net, &q8_op_eltwise, 2, (const int[]){a, b}, 1);
    ((q8_eltwise_attr *)node->attr)->type = type;
    return net_finish(net, node);
}

static int pool(struct net *net, int in, q8_pool_type type, int kernel, int pad, int counted)
{
    q8_node *node = net_after(net, &q8_op_pooling, in);
    *(q8_pooling_attr *)node->attr = (q8_pooling_attr){.type = type,
                                                       .kernel_w = kernel,
                                                       .kernel_h = kernel,
                                                       .stride_w = 2,
                                                       .stride_h = 2,
                                                       .pad_left = pad,
                                                       .pad_top = pad,
                                                       .global_pooling = kernel == 0,
                                                       .count_include_pad = counted};
    return net_finish(net, node);
}

static int inner_product(struct net *net, int in, int outputs)
{
    q8_node *node = net_after(net, &q8_op_innerproduct, in);
    *(q8_innerproduct_attr *)node->attr = (q8_innerproduct_attr){
        .num_output = outputs,
        .bias_term = 1,
        .weight_data_size = outputs * (int)q8_shape_count(&net->graph->tensor[in].shape)};
    return net_finish(net, node);
}

/* The last tensor, through one more layer so that it is no output itself. */
static void finish(struct net *net, int tensor)
{
    net_output(net, net->graph->tensor[tensor].shape.rank == 3 ? conv(net, tensor, 4)
                                                               : inner_product(net, tensor, 4));
}

static struct net open_net(int *in)
{
    static uint32_t seed;
    struct net net = net_open(++seed);
    *in = net_input(&net, 3, 8, 8);
    return net;
}

/* --- rewriting -------------------------------------------------------------------------------- */

/* A net whose classes have random factors, beside the original. */
struct rewritten {
    q8_graph *graph;
    q8_channel_classes classes;
    float *factor;
};

static void compare(const struct net *net, const q8_graph *graph, q8_backend_kind backend)
{
    bool *all = q8_arena_array(net->arena, (size_t)net->graph->n_tensors + 1, sizeof(*all));
    assert_non_null(all);
    memset(all, 1, (size_t)net->graph->n_tensors);
    q8_exec *before = open_exec(net->graph, Q8_BACKEND_PLAIN, 1, all);
    q8_exec *rewritten = open_exec(graph, backend, 1, all);
    struct seen want = forward(net->graph, before, 1, 3), got = forward(graph, rewritten, 1, 3);
    for (int t = 0; t < graph->n_tensors; t++) {
        const q8_tensor *tensor = &graph->tensor[t];
        const size_t spatial = q8_shape_spatial(&tensor->shape);
        for (size_t i = 0; i < want.count[t]; i++)
            want.data[t][i] *= tensor->factor ? tensor->factor[i / spatial] : 1;
        const double error = nmse(want.data[t], got.data[t], want.count[t]);
        if (!(error <= 1e-10))
            fail_msg("%s, backend %d: error %g", tensor->name, (int)backend, error);
    }
    seen_close(&want);
    seen_close(&got);
    q8_exec_close(&before);
    q8_exec_close(&rewritten);
}

static struct rewritten rewrite(struct net *net)
{
    struct rewritten r = {.graph = q8_graph_copy(net->graph, net->arena)};
    q8_err err = {0};
    assert_non_null(r.graph);
    assert_int_equal(q8_channel_classes_find(&r.classes, r.graph, NULL, net->arena, &err), Q8_OK);
    r.factor = q8_arena_array(net->arena, (size_t)r.classes.n, sizeof(*r.factor));
    assert_non_null(r.factor);
    for (int i = 0; i < r.classes.n; i++)
        r.factor[i] = r.classes.pinned[i] ? 1 : exp2f(4 * random_float(&net->seed));
    assert_int_equal(q8_equalise_rewrite(r.graph, &r.classes, r.factor, 2, &err), Q8_OK);
    compare(net, r.graph, Q8_BACKEND_PLAIN);
    compare(net, r.graph, Q8_BACKEND_CPU);
    for (int i = 0; i < r.graph->n_outputs; i++)
        assert_null(r.graph->tensor[r.graph->output[i]].factor);
    return r;
}

static int n_factors(const struct rewritten *r, int tensor)
{
    bool *seen = calloc((size_t)r->classes.n, sizeof(*seen));
    int n = 0;
    assert_non_null(seen);
    for (int c = 0; c < r->graph->tensor[tensor].shape.dim[0]; c++) {
        const int class = r->classes.of[r->classes.first[tensor] + c];
        n += !seen[class] && !r->classes.pinned[class];
        seen[class] = true;
    }
    free(seen);
    assert_int_equal(n > 0, r->graph->tensor[tensor].factor != NULL);
    return n;
}

/* The tensor's channels have so many different factors that are not 1. */
static void check(struct net *net, int tensor, int factors)
{
    finish(net, tensor);
    const struct rewritten r = rewrite(net);
    assert_int_equal(n_factors(&r, tensor), factors);
    net_close(net);
}

/* --- layers whose weights take factors -------------------------------------------------------- */

static void linear_layers(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    int t = conv(&net, in, 6);
    t = conv_of(&net, &q8_op_convolutiondepthwise, t, 6, 3, 6, Q8_ACT_LEAKY);
    t = conv_of(&net, &q8_op_convolutiondepthwise, t, 12, 3, 3, Q8_ACT_NONE);
    t = conv_of(&net, &q8_op_deconvolution, t, 5, 3, 1, Q8_ACT_RELU);
    t = conv_of(&net, &q8_op_deconvolutiondepthwise, t, 10, 3, 5, Q8_ACT_RELU);
    t = inner_product(&net, t, 7);
    check(&net, t, 7);
}

static void flattened(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int flat = after(&net, &q8_op_flatten, conv(&net, in, 6));
    check(&net, flat, 6);
}

/* Their function is not a factor's. */
static void other_activations(void **state)
{
    (void)state;
    static const q8_act_type types[] = {Q8_ACT_CLIP, Q8_ACT_SIGMOID, Q8_ACT_MISH, Q8_ACT_HSWISH};
    for (int i = 0; i < 4; i++) {
        int in;
        struct net net = open_net(&in);
        check(&net, conv_of(&net, &q8_op_convolution, in, 5, 1, 1, types[i]), 0);
    }
}

/* Their inputs may have any. */
static void inputs_of_other_activations(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int t = conv(&net, in, 6);
    net_output(&net, conv_of(&net, &q8_op_convolution, t, 5, 1, 1, Q8_ACT_SIGMOID));
    const struct rewritten r = rewrite(&net);
    assert_int_equal(n_factors(&r, t), 6);
    net_close(&net);
}

static void padding_with_a_value(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int t = conv(&net, in, 5);
    q8_node *node = net_conv(&net, &q8_op_convolution, t, 4, 3, 1, 1, 1, 1);
    ((q8_conv_attr *)node->attr)->pad_value = 2;
    net_output(&net, net_finish(&net, node));
    const struct rewritten r = rewrite(&net);
    assert_int_equal(n_factors(&r, t), 0);
    net_close(&net);
}

static void weights_near_the_limits(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, 1e35F};
    for (int i = 0; i < 3; i++) {
        int in;
        struct net net = open_net(&in);
        const int t = conv(&net, in, 5), u = conv(&net, t, 5);
        ((float *)net.graph->node[1]->weight[i % 2].data)[2] = values[i];
        q8_channel_classes classes;
        q8_err err = {0};
        assert_int_equal(q8_channel_classes_find(&classes, net.graph, NULL, net.arena, &err),
                         Q8_OK);
        assert_true(classes.pinned[classes.of[classes.first[t]]]);
        assert_true(!classes.pinned[classes.of[classes.first[u]]]);
        net_close(&net);
    }
}

static void affine_layers(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    int t = conv(&net, in, 5);
    q8_node *node = net_after(&net, &q8_op_batchnorm, t);
    *(q8_batchnorm_attr *)node->attr = (q8_batchnorm_attr){.channels = 5, .eps = 2};
    t = after(&net, &q8_op_relu, net_finish(&net, node));
    node = net_after(&net, &q8_op_scale, t);
    *(q8_scale_attr *)node->attr = (q8_scale_attr){.scale_data_size = 5, .bias_term = 1};
    t = after(&net, &q8_op_relu, net_finish(&net, node));
    node = net_after(&net, &q8_op_bias, t);
    *(q8_bias_attr *)node->attr = (q8_bias_attr){.bias_data_size = 5};
    check(&net, net_finish(&net, node), 5);
}

/* --- layers that pass factors ----------------------------------------------------------------- */

static void elements(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    int t = conv_of(&net, &q8_op_convolution, in, 6, 3, 1, Q8_ACT_NONE);
    q8_node *node = net_after(&net, &q8_op_prelu, t);
    ((q8_prelu_attr *)node->attr)->num_slope = 6;
    t = after(&net, &q8_op_relu, net_finish(&net, node));
    t = after(&net, &q8_op_absval, t);
    node = net_after(&net, &q8_op_clip, t);
    *(q8_clip_attr *)node->attr = (q8_clip_attr){0, FLT_MAX};
    t = net_finish(&net, node);
    node = net_after(&net, &q8_op_power, t);
    *(q8_power_attr *)node->attr = (q8_power_attr){1, 3, 0};
    t = net_finish(&net, node);
    node = net_after(&net, &q8_op_binaryop, t);
    *(q8_binaryop_attr *)node->attr =
        (q8_binaryop_attr){.type = Q8_BINARY_MUL, .with_scalar = 1, .b = 0.5F};
    check(&net, net_finish(&net, node), 6);
}

static void planes(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    int t = conv(&net, in, 6);
    q8_node *node = net_after(&net, &q8_op_interp, t);
    *(q8_interp_attr *)node->attr = (q8_interp_attr){
        .type = Q8_INTERP_BILINEAR, .scale_h = 3, .scale_w = 3, .align_corners = 1};
    t = net_finish(&net, node);
    node = net_after(&net, &q8_op_padding, t);
    *(q8_padding_attr *)node->attr = (q8_padding_attr){.top = 1, .left = 2};
    t = net_finish(&net, node);
    t = pool(&net, t, Q8_POOL_MAX, 3, 1, 0);
    t = pool(&net, t, Q8_POOL_AVE, 2, 1, 1);
    t = pool(&net, t, Q8_POOL_AVE, 3, 1, 0);
    check(&net, pool(&net, t, Q8_POOL_AVE, 0, 0, 0), 6);
}

static void padding_layer_with_a_value(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int t = conv(&net, in, 6);
    q8_node *node = net_after(&net, &q8_op_padding, t);
    *(q8_padding_attr *)node->attr = (q8_padding_attr){.top = 1, .value = 3};
    check(&net, net_finish(&net, node), 0);
}

static void concat_slice_shuffle(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int t = both(&net, &q8_op_concat, conv(&net, in, 5), conv(&net, in, 7));
    q8_node *node = net_after(&net, &q8_op_shufflechannel, t);
    ((q8_shufflechannel_attr *)node->attr)->group = 3;
    node = net_node(&net, &q8_op_slice, 1, (const int[]){net_finish(&net, node)}, 2);
    *(q8_slice_attr *)node->attr = (q8_slice_attr){.sizes = {2, (const int[]){6, Q8_SLICE_REST}}};
    const int half = net_finish(&net, node);
    check(&net, both(&net, &q8_op_concat, node->out[1], half), 12);
}

/* A channel that comes from a network input must keep its size, its neighbours need not. */
static void concat_with_the_input(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    check(&net, both(&net, &q8_op_concat, conv(&net, in, 5), in), 5);
}

static void concat_of_rows(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    q8_node *node =
        net_node(&net, &q8_op_concat, 2, (const int[]){conv(&net, in, 5), conv(&net, in, 5)}, 1);
    ((q8_concat_attr *)node->attr)->axis = 1;
    check(&net, net_finish(&net, node), 5);
}

static void reshaped(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    q8_node *node = net_after(&net, &q8_op_reshape, conv(&net, in, 6));
    *(q8_reshape_attr *)node->attr = q8_reshape_to(&(q8_shape){3, {3, 16, 8}});
    check(&net, net_finish(&net, node), 3);
}

static void permuted(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    q8_node *node = net_after(&net, &q8_op_permute, conv(&net, in, 6));
    *(int *)node->attr = 3; /* height x width x channels: each of the new holds all of the old */
    check(&net, net_finish(&net, node), 1);
}

static void blocks_of_pixels(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    q8_node *node = net_after(&net, &q8_op_reorg, conv(&net, in, 6));
    *(int *)node->attr = 2;
    const int deep = net_finish(&net, node);
    assert_int_equal(net.graph->tensor[deep].shape.dim[0], 24);
    node = net_after(&net, &q8_op_pixelshuffle, conv(&net, deep, 8));
    *(int *)node->attr = 2;
    const int wide = net_finish(&net, node);
    finish(&net, wide);
    const struct rewritten r = rewrite(&net);
    assert_int_equal(n_factors(&r, deep), 6);
    assert_int_equal(n_factors(&r, wide), 2);
    net_close(&net);
}

/* --- sums ------------------------------------------------------------------------------------- */

static void sums(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int a = conv(&net, in, 6), b = conv(&net, a, 6);
    q8_node *node = net_node(&net, &q8_op_eltwise, 2, (const int[]){a, b}, 1);
    *(q8_eltwise_attr *)node->attr =
        (q8_eltwise_attr){.type = Q8_ELTWISE_SUM, .coeffs = {2, (const float[]){2, -0.5F}}};
    const int sum = after(&net, &q8_op_relu, net_finish(&net, node));
    node = net_node(&net, &q8_op_binaryop, 2, (const int[]){sum, conv(&net, sum, 6)}, 1);
    ((q8_binaryop_attr *)node->attr)->type = Q8_BINARY_SUB;
    const int difference = net_finish(&net, node);
    const int largest = eltwise(&net, Q8_ELTWISE_MAX, difference, conv(&net, difference, 6));
    finish(&net, largest);
    const struct rewritten r = rewrite(&net);
    assert_int_equal(n_factors(&r, largest), 6);
    for (int c = 0; c < 6; c++) /* all of the trunk alike */
        assert_true(r.graph->tensor[a].factor[c] == r.graph->tensor[largest].factor[c]);
    net_close(&net);
}

static void products_and_spread_sums(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int a = conv(&net, in, 6), one = conv(&net, in, 1);
    const int product = eltwise(&net, Q8_ELTWISE_PROD, a, a);
    q8_node *node = net_node(&net, &q8_op_binaryop, 2, (const int[]){conv(&net, in, 6), one}, 1);
    ((q8_binaryop_attr *)node->attr)->type = Q8_BINARY_ADD;
    const int spread = net_finish(&net, node);
    finish(&net, product);
    finish(&net, spread);
    const struct rewritten r = rewrite(&net);
    assert_int_equal(n_factors(&r, a), 0);
    assert_int_equal(n_factors(&r, product), 0);
    assert_int_equal(n_factors(&r, one), 0);
    assert_int_equal(n_factors(&r, spread), 0);
    net_close(&net);
}

static void other_functions(void **state)
{
    (void)state;
    static const q8_op *const ops[] = {&q8_op_sigmoid, &q8_op_tanh, &q8_op_bnll, &q8_op_softmax};
    for (int i = 0; i < 4; i++) {
        int in;
        struct net net = open_net(&in);
        const int t = conv(&net, in, 6);
        finish(&net, after(&net, ops[i], t));
        const struct rewritten r = rewrite(&net);
        assert_int_equal(n_factors(&r, t), 0);
        net_close(&net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_layers),
        cmocka_unit_test(flattened),
        cmocka_unit_test(other_activations),
        cmocka_unit_test(inputs_of_other_activations),
        cmocka_unit_test(padding_with_a_value),
        cmocka_unit_test(weights_near_the_limits),
        cmocka_unit_test(affine_layers),
        cmocka_unit_test(elements),
        cmocka_unit_test(planes),
        cmocka_unit_test(padding_layer_with_a_value),
        cmocka_unit_test(concat_slice_shuffle),
        cmocka_unit_test(concat_with_the_input),
        cmocka_unit_test(concat_of_rows),
        cmocka_unit_test(reshaped),
        cmocka_unit_test(permuted),
        cmocka_unit_test(blocks_of_pixels),
        cmocka_unit_test(sums),
        cmocka_unit_test(products_and_spread_sums),
        cmocka_unit_test(other_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
