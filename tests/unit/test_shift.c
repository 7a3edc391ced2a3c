/* The shift rewrite: what it takes, what it leaves, and that the function stays the same. */
#include <float.h>
#include <math.h>

#include "calib/threshold.h"
#include "ops/affine.h"
#include "ops/innerproduct.h"
#include "ops/pooling.h"
#include "ops/simple.h"
#include "ops/unary.h"
#include "passes/passes.h"
#include "quant/quant.h"
#include "quant/saturate.h"
#include "quant/shift.h"
#include "test_exec_graph.h"

/* --- networks --------------------------------------------------------------------------------- */

static void activate(struct net *net, q8_node *node, q8_act_type type, float a, float b)
{
    float *params = q8_arena_array(net->arena, 2, sizeof(*params));
    assert_non_null(params);
    params[0] = a;
    params[1] = b;
    *node->op->activation(node) = (q8_activation){type, {2, params}};
}

/* A convolution with a fused activation. */
static int conv(struct net *net, int in, int outputs, int kernel, int pad, q8_act_type type)
{
    q8_node *node = net_conv(net, &q8_op_convolution, in, outputs, kernel, 1, pad, 1, 1);
    activate(net, node, type, type == Q8_ACT_LEAKY ? 0.1F : 0, 6);
    return net_finish(net, node);
}

static int relu_conv(struct net *net, int in)
{
    return conv(net, in, 8, 1, 0, Q8_ACT_RELU);
}

static int pool(struct net *net, int in, q8_pool_type type, int pad, int counted)
{
    q8_node *node = net_after(net, &q8_op_pooling, in);
    q8_pooling_attr *a = node->attr;
    a->type = type;
    a->kernel_w = a->kernel_h = 2;
    a->stride_w = a->stride_h = 1;
    a->pad_left = a->pad_right = a->pad_top = a->pad_bottom = pad;
    a->mode = Q8_POOL_VALID;
    a->count_include_pad = counted;
    return net_finish(net, node);
}

static int sum(struct net *net, int a, int b, const float *coeffs)
{
    q8_node *node = net_node(net, &q8_op_eltwise, 2, (const int[]){a, b}, 1);
    *(q8_eltwise_attr *)node->attr =
        (q8_eltwise_attr){.type = Q8_ELTWISE_SUM, .coeffs = {coeffs ? 2 : 0, coeffs}};
    return net_finish(net, node);
}

static int relu(struct net *net, int in)
{
    return net_finish(net, net_after(net, &q8_op_relu, in));
}

static int concat(struct net *net, int a, int b)
{
    return net_finish(net, net_node(net, &q8_op_concat, 2, (const int[]){a, b}, 1));
}

static int inner_product(struct net *net, int in)
{
    q8_node *node = net_after(net, &q8_op_innerproduct, in);
    *(q8_innerproduct_attr *)node->attr = (q8_innerproduct_attr){
        .num_output = 5,
        .weight_data_size = 5 * (int)q8_shape_count(&net->graph->tensor[in].shape),
    };
    return net_finish(net, node);
}

static int deconv(struct net *net, int in, int kernel)
{
    return net_finish(net, net_conv(net, &q8_op_deconvolution, in, 4, kernel, 1, 0, 1, 1));
}

static int depthwise(struct net *net, int in, int pad)
{
    const int c = net->graph->tensor[in].shape.dim[0];
    q8_node *node = net_conv(net, &q8_op_convolutiondepthwise, in, c, 3, 1, pad, 1, c);
    activate(net, node, Q8_ACT_RELU, 0, 0);
    return net_finish(net, node);
}

static struct net open_net(int *in)
{
    static uint32_t seed;
    struct net net = net_open(++seed);
    *in = net_input(&net, 3, 9, 8);
    return net;
}

/* --- rewriting -------------------------------------------------------------------------------- */

struct shifted {
    q8_graph *graph;
    q8_calibration calibration;
    float *threshold;
    int *levels;
};

static bool *all_made(const struct net *net)
{
    bool *made = q8_arena_array(net->arena, (size_t)net->graph->n_tensors + 1, sizeof(*made));
    assert_non_null(made);
    memset(made, 1, (size_t)net->graph->n_tensors * sizeof(*made));
    return made;
}

static void observe(const struct net *net, q8_calibration *calibration)
{
    const q8_graph *graph = net->graph;
    const size_t n = (size_t)graph->n_tensors + 1;
    bool *wanted = q8_arena_array(net->arena, n, sizeof(*wanted));
    calibration->stats = q8_arena_array(net->arena, n, sizeof(*calibration->stats));
    calibration->n_tensors = graph->n_tensors;
    q8_quant_wanted(graph, wanted);
    q8_exec *exec = open_exec(graph, Q8_BACKEND_PLAIN, 2, wanted);
    struct seen seen = forward(graph, exec, 2, 1);
    for (int t = 0; t < graph->n_tensors; t++) {
        if (!wanted[t])
            continue;
        q8_err err = {0};
        q8_stats *stats = q8_arena_alloc(net->arena, sizeof(*stats));
        const q8_view view = {seen.data[t], 2, graph->tensor[t].shape, 1, NULL};
        assert_int_equal(q8_stats_init(stats, view.shape.dim[0], &err), Q8_OK);
        q8_stats_add(stats, &view);
        calibration->stats[t] = stats;
    }
    seen_close(&seen);
    q8_exec_close(&exec);
}

/* Values of the original as they should have become. */
static void apply_change(const q8_tensor *tensor, float *x, size_t count)
{
    const size_t all = q8_shape_count(&tensor->shape), area = q8_shape_spatial(&tensor->shape);
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] * (tensor->factor ? tensor->factor[i % all / area] : 1) + tensor->shift;
}

static void check_values(const struct net *net, const q8_graph *graph, q8_backend_kind backend)
{
    const bool *made = all_made(net);
    q8_exec *before = open_exec(net->graph, Q8_BACKEND_PLAIN, 2, made);
    q8_exec *after = open_exec(graph, backend, 2, made);
    struct seen want = forward(net->graph, before, 2, 7), got = forward(graph, after, 2, 7);
    for (int t = 0; t < graph->n_tensors; t++) {
        if (q8_graph_is_output(graph, t))
            assert_true(!graph->tensor[t].factor && graph->tensor[t].shift == 0);
        apply_change(&graph->tensor[t], want.data[t], want.count[t]);
        const double error = nmse(want.data[t], got.data[t], want.count[t]);
        if (!(error <= 1e-11))
            fail_msg("%s, backend %d: error %g", graph->tensor[t].name, (int)backend, error);
    }
    seen_close(&want);
    seen_close(&got);
    q8_exec_close(&before);
    q8_exec_close(&after);
}

/* Shifts a copy and checks that it computes the same. */
static struct shifted shift(const struct net *net)
{
    struct shifted s = {.graph = q8_graph_copy(net->graph, net->arena)};
    const size_t n = (size_t)net->graph->n_tensors + 1;
    q8_shift_plan plan;
    q8_err err = {0};
    assert_non_null(s.graph);
    observe(net, &s.calibration);
    s.threshold = q8_arena_array(net->arena, n, sizeof(*s.threshold));
    s.levels = q8_arena_array(net->arena, n, sizeof(*s.levels));
    assert_int_equal(q8_shift_choose(&plan, s.graph, &s.calibration, NULL, 2, s.levels, &err),
                     Q8_OK);
    for (int t = 0; t < net->graph->n_tensors; t++)
        if (s.calibration.stats[t])
            s.threshold[t] = 0.9F * s.calibration.stats[t]->max;
    assert_int_equal(q8_shift_graph(s.graph, &plan, s.threshold, 2, &err), Q8_OK);
    check_values(net, s.graph, Q8_BACKEND_PLAIN);
    check_values(net, s.graph, Q8_BACKEND_CPU);
    return s;
}

static void close_shifted(struct shifted *s, struct net *net)
{
    for (int t = 0; t < s->calibration.n_tensors; t++)
        if (s->calibration.stats[t])
            q8_stats_free(s->calibration.stats[t]);
    net_close(net);
}

static void assert_shifted(const struct shifted *s, int tensor, int sign)
{
    const q8_tensor *t = &s->graph->tensor[tensor];
    const q8_stats *stats = s->calibration.stats[tensor];
    assert_int_equal(sign, t->shift < 0 ? 1 : t->shift > 0 ? -1 : 0);
    assert_int_equal(q8_shift_sign(t), sign < 0 ? -1 : 1);
    if (!stats || sign == 0)
        return;
    assert_int_equal(s->levels[tensor], Q8_LEVELS_SHIFTED);
    assert_true(s->threshold[tensor] == fabsf(t->shift));
}

/* One tensor of a network with one output: is it shifted, and with which sign? */
static void check(struct net *net, int out, int tensor, int sign)
{
    net_output(net, out);
    struct shifted s = shift(net);
    assert_shifted(&s, tensor, sign);
    close_shifted(&s, net);
}

/* --- one link --------------------------------------------------------------------------------- */

static void readers(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    int x = relu_conv(&net, in);
    check(&net, conv(&net, x, 4, 3, 0, Q8_ACT_NONE), x, 1);

    net = open_net(&in);
    x = relu_conv(&net, in);
    check(&net, inner_product(&net, x), x, 1);

    net = open_net(&in);
    x = relu_conv(&net, in);
    check(&net, depthwise(&net, x, 1), x, -1);

    net = open_net(&in);
    x = relu_conv(&net, in);
    check(&net, depthwise(&net, x, 0), x, 1);

    /* No int8 layer reads it. */
    net = open_net(&in);
    x = relu_conv(&net, in);
    check(&net, deconv(&net, x, 1), x, 0);
}

static void deconvolution_beside_an_int8_layer(void **state)
{
    (void)state;
    for (int kernel = 1; kernel <= 2; kernel++) {
        int in;
        struct net net = open_net(&in);
        const int x = relu_conv(&net, in);
        net_output(&net, deconv(&net, x, kernel));
        check(&net, conv(&net, x, 4, 1, 0, Q8_ACT_NONE), x, kernel == 1 ? 1 : 0);
    }
}

static void makers(void **state)
{
    (void)state;
    static const struct {
        q8_act_type type;
        int sign;
    } cases[] = {{Q8_ACT_RELU, 1}, {Q8_ACT_CLIP, 1}, {Q8_ACT_LEAKY, 0}, {Q8_ACT_SIGMOID, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int in;
        struct net net = open_net(&in);
        const int x = conv(&net, in, 8, 3, 1, cases[i].type);
        check(&net, conv(&net, x, 4, 1, 0, Q8_ACT_RELU), x, cases[i].sign);
    }
    /* The input itself is what users feed. */
    int in;
    struct net net = open_net(&in);
    check(&net, relu_conv(&net, in), in, 0);
}

/* A Scale that could not be folded makes one tensor and reads the other. */
static void scale(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    q8_node *first = net_after(&net, &q8_op_scale, relu_conv(&net, in));
    *(q8_scale_attr *)first->attr = (q8_scale_attr){.scale_data_size = 8, .bias_term = 0};
    const int x = relu(&net, net_finish(&net, first));
    q8_node *second = net_after(&net, &q8_op_scale, x);
    *(q8_scale_attr *)second->attr = (q8_scale_attr){.scale_data_size = 8, .bias_term = 1};
    net_output(&net, net_finish(&net, second));
    check(&net, conv(&net, x, 4, 3, 1, Q8_ACT_NONE), x, -1);
}

/* Its attributes are its own, so by ncnn's keys. */
static void *attribute(q8_node *node, int key)
{
    for (int i = 0; i < node->op->n_fields; i++)
        if (node->op->fields[i].key == key)
            return (char *)node->attr + node->op->fields[i].offset;
    fail_msg("%s has no key %d", node->op->type, key);
    return NULL;
}

/* They depend on the size of what they read only. */
static void prior_boxes(void **state)
{
    (void)state;
    static const float size = 4;
    int in;
    struct net net = open_net(&in);
    const int x = relu_conv(&net, in);
    q8_node *boxes = net_node(&net, &q8_op_priorbox, 2, (const int[]){x, in}, 1);
    *(q8_floats *)attribute(boxes, 0) = (q8_floats){1, &size};
    *(int *)attribute(boxes, 9) = *(int *)attribute(boxes, 10) = 32;
    net_output(&net, net_finish(&net, boxes));
    check(&net, conv(&net, x, 4, 1, 0, Q8_ACT_NONE), x, 1);
}

static void padding(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int x = relu_conv(&net, in);
    net_output(&net, conv(&net, x, 4, 3, 1, Q8_ACT_RELU));
    struct shifted s = shift(&net);
    assert_shifted(&s, x, -1);
    const q8_conv_attr *made = s.graph->node[1]->attr, *read = s.graph->node[2]->attr;
    assert_int_equal(made->activation.type, Q8_ACT_CLIP);
    assert_true(made->activation.params.v[0] == -FLT_MAX);
    assert_true(made->activation.params.v[1] == s.threshold[x]);
    assert_true(read->pad_value == s.threshold[x]);
    q8_err err = {0};
    assert_int_equal(q8_quantize_graph(s.graph, s.threshold, &(q8_quant_opts){0}, NULL, &err),
                     Q8_OK);
    assert_non_null(s.graph->node[2]->quant);
    assert_true(read->pad_value == 127);
    close_shifted(&s, &net);
}

static void maximum(void **state)
{
    (void)state;
    for (int pad = 0; pad <= 1; pad++) {
        int in;
        struct net net = open_net(&in);
        const int x = pool(&net, relu_conv(&net, in), Q8_POOL_MAX, 1, 0);
        check(&net, conv(&net, x, 4, 3, pad, Q8_ACT_NONE), x, pad ? 0 : 1);
    }
}

static void average(void **state)
{
    (void)state;
    static const struct {
        int pad, counted, sign;
    } cases[] = {{0, 0, -1}, {0, 1, -1}, {1, 0, -1}, {1, 1, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int in;
        struct net net = open_net(&in);
        const int x = pool(&net, relu_conv(&net, in), Q8_POOL_AVE, cases[i].pad, cases[i].counted);
        check(&net, conv(&net, x, 4, 3, 1, Q8_ACT_NONE), x, cases[i].sign);
    }
}

static void concatenation(void **state)
{
    (void)state;
    for (int blocked = 0; blocked <= 1; blocked++) {
        int in;
        struct net net = open_net(&in);
        const int a = relu_conv(&net, in),
                  b = conv(&net, in, 5, 3, 1, blocked ? Q8_ACT_SIGMOID : Q8_ACT_CLIP),
                  x = concat(&net, a, b);
        net_output(&net, conv(&net, x, 4, 1, 0, Q8_ACT_NONE));
        struct shifted s = shift(&net);
        assert_shifted(&s, x, blocked ? 0 : 1);
        assert_true(s.graph->tensor[a].shift == s.graph->tensor[x].shift);
        assert_true(s.graph->tensor[b].shift == s.graph->tensor[x].shift);
        close_shifted(&s, &net);
    }
}

static void outputs_stay(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int x = relu_conv(&net, in);
    net_output(&net, x);
    check(&net, conv(&net, x, 4, 1, 0, Q8_ACT_NONE), x, 0);
}

static void scale_layer(struct net *net, int node, float by)
{
    q8_weight *weight = net->graph->node[node]->weight;
    for (int w = 0; w < 2; w++)
        for (size_t i = 0; i < weight[w].count; i++)
            ((float *)(uintptr_t)weight[w].data)[i] *= by;
}

/* Tensors of one group share c: not if that costs the smaller more than it brings the larger. */
static void ranges_far_apart(void **state)
{
    (void)state;
    for (int far = 0; far <= 1; far++) {
        int in;
        struct net net = open_net(&in);
        const int a = relu_conv(&net, in), b = relu_conv(&net, in);
        scale_layer(&net, 1, far ? 0.01F : 1);
        net_output(&net, conv(&net, a, 4, 1, 0, Q8_ACT_NONE));
        check(&net, conv(&net, concat(&net, a, b), 4, 1, 0, Q8_ACT_NONE), a, far ? 0 : 1);
    }
}

/* --- sums ------------------------------------------------------------------------------------- */

/* Two residual blocks, all kinds of signs: the 3x3 convolutions pad, the others do not. */
static void residuals(void **state)
{
    (void)state;
    static const float coeffs[] = {0.5F, -2};
    for (int i = 0; i < 16; i++) {
        int in;
        struct net net = open_net(&in);
        const int k1 = i & 1 ? 3 : 1, k2 = i & 2 ? 3 : 1;
        const int r0 = relu_conv(&net, in);
        const int inner0 = conv(&net, r0, 6, k1, k1 / 2, Q8_ACT_RELU);
        const int s1 =
            sum(&net, r0, conv(&net, inner0, 8, 1, 0, Q8_ACT_NONE), i & 4 ? coeffs : NULL);
        const int r1 = relu(&net, s1);
        const int inner1 = conv(&net, r1, 6, k2, k2 / 2, Q8_ACT_RELU);
        const int s2 = sum(&net, conv(&net, inner1, 8, 1, 0, Q8_ACT_NONE), r1, NULL);
        const int r2 = i & 8 ? pool(&net, relu(&net, s2), Q8_POOL_MAX, 0, 0) : relu(&net, s2);
        net_output(&net, conv(&net, r2, 4, 1, 0, Q8_ACT_NONE));
        struct shifted s = shift(&net);
        assert_shifted(&s, r0, k1 == 3 ? -1 : 1);
        assert_shifted(&s, r1, k2 == 3 ? -1 : 1);
        assert_shifted(&s, r2, 1);
        assert_shifted(&s, s1, k2 == 3 ? -1 : 1);
        for (int n = 0; n < s.graph->n_nodes; n++)
            assert_ptr_not_equal(s.graph->node[n]->op, &q8_op_relu);
        close_shifted(&s, &net);
    }
}

/* Both branches are read by others too, so nothing can take what is missing. */
static void sum_without_a_free_branch(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int a = relu_conv(&net, in), b = relu_conv(&net, in);
    net_output(&net, sum(&net, a, b, NULL));
    net_output(&net, conv(&net, a, 4, 1, 0, Q8_ACT_NONE));
    check(&net, conv(&net, b, 4, 1, 0, Q8_ACT_NONE), a, 0);
}

/* What is missing cannot come in by an input that hardly counts. */
static void sums_with_odd_coefficients(void **state)
{
    (void)state;
    static const float coeffs[][2] = {{1, 0}, {1, 1e-30F}, {1e30F, 1}, {1, -0.01F}};
    for (int i = 0; i < 4; i++) {
        int in;
        struct net net = open_net(&in);
        const int a = relu_conv(&net, in), b = conv(&net, a, 8, 3, 1, Q8_ACT_NONE);
        check(&net, sum(&net, a, b, coeffs[i]), a, i == 3 ? -1 : 0);
    }
}

/* The sum's output stays, its shifted input's shift is taken out again. */
static void sum_that_is_an_output(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int a = relu_conv(&net, in), b = conv(&net, a, 8, 3, 1, Q8_ACT_NONE);
    check(&net, sum(&net, a, b, NULL), a, -1);
}

/* --- what int8 clips in any case -------------------------------------------------------------- */

static bool has_activation(const struct shifted *s, int tensor)
{
    for (int i = 0; i < s->graph->n_nodes; i++) {
        q8_node *node = s->graph->node[i];
        if (node->out[0] == tensor && node->op->activation)
            return node->op->activation(node)->type != Q8_ACT_NONE;
    }
    return false;
}

static struct shifted quantise_and_drop(const struct net *net)
{
    struct shifted s = shift(net);
    q8_err err = {0};
    assert_int_equal(q8_quantize_graph(s.graph, s.threshold, &(q8_quant_opts){0}, NULL, &err),
                     Q8_OK);
    assert_int_equal(q8_drop_saturated_clips(s.graph, &err), Q8_OK);
    return s;
}

static void saturated_clips(void **state)
{
    (void)state;
    int in;
    struct net net = open_net(&in);
    const int a = conv(&net, in, 8, 1, 0, Q8_ACT_CLIP), b = relu_conv(&net, in),
              x = pool(&net, concat(&net, a, b), Q8_POOL_MAX, 0, 0);
    const int c = conv(&net, x, 4, 1, 0, Q8_ACT_RELU);
    const int d = conv(&net, c, 8, 3, 1, Q8_ACT_RELU);
    net_output(&net, d);
    struct shifted s = quantise_and_drop(&net);
    assert_false(has_activation(&s, a));
    assert_false(has_activation(&s, b));
    assert_false(has_activation(&s, c));
    assert_true(has_activation(&s, d));
    close_shifted(&s, &net);
}

/* A mean of clipped values, and values that a float layer or a sum reads, are not the same. */
static void clips_that_matter(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int in;
        struct net net = open_net(&in);
        const int x = i == 3 ? conv(&net, in, 8, 3, 1, Q8_ACT_LEAKY) : relu_conv(&net, in);
        int y = i == 0 ? pool(&net, x, Q8_POOL_AVE, 0, 0) : x;
        if (i == 1)
            net_output(&net, deconv(&net, x, 1));
        y = conv(&net, y, 8, 1, 0, Q8_ACT_NONE);
        net_output(&net, i == 2 ? sum(&net, x, y, NULL) : y);
        struct shifted s = quantise_and_drop(&net);
        assert_true(has_activation(&s, x));
        close_shifted(&s, &net);
    }
}

/* --- degenerate ------------------------------------------------------------------------------- */

static void extreme_values(void **state)
{
    (void)state;
    static const float scales[] = {0, 1e-30F, 1e-10F, 1e10F, 1e17F};
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        int in;
        struct net net = open_net(&in);
        const int x = relu_conv(&net, in);
        const int out = conv(&net, x, 4, 3, 1, Q8_ACT_NONE);
        scale_layer(&net, 1, scales[i]);
        check(&net, out, x, scales[i] == 1e-10F || scales[i] == 1e10F ? -1 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers),
        cmocka_unit_test(deconvolution_beside_an_int8_layer),
        cmocka_unit_test(makers),
        cmocka_unit_test(scale),
        cmocka_unit_test(prior_boxes),
        cmocka_unit_test(padding),
        cmocka_unit_test(maximum),
        cmocka_unit_test(average),
        cmocka_unit_test(concatenation),
        cmocka_unit_test(outputs_stay),
        cmocka_unit_test(ranges_far_apart),
        cmocka_unit_test(residuals),
        cmocka_unit_test(sum_without_a_free_branch),
        cmocka_unit_test(sum_that_is_an_output),
        cmocka_unit_test(sums_with_odd_coefficients),
        cmocka_unit_test(saturated_clips),
        cmocka_unit_test(clips_that_matter),
        cmocka_unit_test(extreme_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
