/* Scales, int8 weights and the bounds on sums. */
#include "quant/quant.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/conv.h"
#include "ops/innerproduct.h"
#include "ops/rows.h"

static uint64_t state;

static float uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(state >> 40) / 16777216.0f;
}

static float normal(void)
{
    float sum = -6;
    for (int i = 0; i < 12; i++)
        sum += uniform();
    return sum;
}

/* A graph of one layer on tensor 0. */
struct fixture {
    q8_arena *arena;
    q8_graph *graph;
    q8_node *node;
    float *weight;
};

static void open_fixture(struct fixture *f, const q8_op *op, q8_shape in, size_t weights)
{
    f->arena = q8_arena_open();
    assert_non_null(f->arena);
    f->graph = q8_graph_new(f->arena);
    assert_non_null(f->graph);
    assert_int_equal(q8_graph_add_tensor(f->graph, "in", &in), 0);
    assert_int_equal(q8_graph_add_tensor(f->graph, "out", &in), 1);
    f->node = q8_node_new(f->arena, op, "layer", 1, 1);
    assert_non_null(f->node);
    f->node->in[0] = 0;
    f->node->out[0] = 1;
    f->weight = q8_arena_array(f->arena, weights, sizeof(float));
    assert_non_null(f->weight);
    f->node->weight[0] = (q8_weight){f->weight, weights};
    assert_true(q8_graph_insert(f->graph, f->node, 0));
}

static void close_fixture(struct fixture *f)
{
    q8_arena_close(&f->arena);
}

/* A convolution of either kind with random weights. */
static q8_conv_attr *open_conv(struct fixture *f, const q8_op *op, int inputs, int outputs,
                               int group, int kernel)
{
    const size_t n = (size_t)outputs * (size_t)(inputs / group) * (size_t)(kernel * kernel);
    open_fixture(f, op, (q8_shape){3, {inputs, 8, 8}}, n);
    q8_conv_attr *a = f->node->attr;
    a->num_output = outputs;
    a->kernel_w = a->kernel_h = kernel;
    a->dilation_w = a->dilation_h = a->stride_w = a->stride_h = 1;
    a->group = group;
    a->weight_data_size = (int)n;
    for (size_t i = 0; i < n; i++)
        f->weight[i] = normal();
    return a;
}

static void open_innerproduct(struct fixture *f, int inputs, int outputs)
{
    open_fixture(f, &q8_op_innerproduct, (q8_shape){1, {inputs}}, (size_t)inputs * (size_t)outputs);
    q8_innerproduct_attr *a = f->node->attr;
    a->num_output = outputs;
    a->weight_data_size = inputs * outputs;
    for (int i = 0; i < a->weight_data_size; i++)
        f->weight[i] = normal();
}

static const q8_quant *quantize(struct fixture *f, float threshold, bool per_layer)
{
    f->node->float_reason = NULL; /* of the last time */
    const float thresholds[] = {threshold, 0};
    const q8_quant_opts opts = {.per_layer = per_layer};
    q8_err err = {0};
    if (q8_quantize_graph(f->graph, thresholds, &opts, NULL, &err))
        fail_msg("%s", err.text);
    assert_true(!f->node->quant == (f->node->float_reason != NULL));
    return f->node->quant;
}

static float absmax(const float *x, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most;
}

static long long sum_of(const float *weight, size_t n, float scale)
{
    long long sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += labs(lroundf(weight[i] * scale));
    return sum;
}

static void assert_weights(const struct fixture *f, size_t per_scale)
{
    const q8_quant *q = f->node->quant;
    for (size_t i = 0; i < f->node->weight[0].count; i++) {
        const float x = f->weight[i] * q->weight_scales[i / per_scale];
        assert_int_equal(q->weight[i], lroundf(x));
    }
}

static void test_rounding(void **unused)
{
    (void)unused;
    static const struct {
        float x;
        int want;
    } c[] = {
        {0, 0},        {-0.0f, 0},        {0.5f, 1},
        {-0.5f, -1},   {1.5f, 2},         {2.5f, 3},
        {-2.5f, -3},   {0.49999997f, 0},  {-0.49999997f, 0},
        {126.5f, 127}, {126.49999f, 126}, {127.5f, 127},
        {1e30f, 127},  {-1e30f, -127},    {-127.5f, -127},
        {-128, -127},  {INFINITY, 127},   {-INFINITY, -127},
        {FLT_MIN, 0},  {NAN, -127},
    };
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
        assert_int_equal(q8_round_int8(c[i].x), c[i].want);
    /* Every float around every half. */
    for (int half = -255; half <= 255; half++) {
        float x = (float)half / 2;
        for (int i = 0; i < 4; i++)
            x = nextafterf(x, -INFINITY);
        for (int i = 0; i < 9; i++, x = nextafterf(x, INFINITY)) {
            const long want = lroundf(x); /* half away from zero */
            assert_int_equal(q8_round_int8(x), want > 127 ? 127 : want < -127 ? -127 : want);
        }
    }
}

static void test_per_channel(void **unused)
{
    (void)unused;
    struct fixture f;
    state = 1;
    q8_conv_attr *a = open_conv(&f, &q8_op_convolution, 16, 24, 1, 1);
    const q8_quant *q = quantize(&f, 3, false);
    assert_non_null(q);
    assert_int_equal(q->n_weight_scales, 24);
    assert_true(q->bottom_scale == 127 / 3.0f);
    assert_true(q->top_scale == 0);
    assert_int_equal(a->int8_scale_term, 2);
    for (size_t o = 0; o < 24; o++)
        assert_true(q->weight_scales[o] == 127 / absmax(f.weight + o * 16, 16));
    assert_weights(&f, 16);
    close_fixture(&f);
}

static void test_per_layer(void **unused)
{
    (void)unused;
    struct fixture f;
    state = 2;
    open_innerproduct(&f, 50, 7);
    const q8_quant *q = quantize(&f, 3, true);
    assert_non_null(q);
    assert_int_equal(q->n_weight_scales, 7);
    for (int o = 0; o < 7; o++)
        assert_true(q->weight_scales[o] == 127 / absmax(f.weight, 350));
    assert_weights(&f, 50);
    close_fixture(&f);
}

static void test_depthwise(void **unused)
{
    (void)unused;
    for (int per_layer = 0; per_layer < 2; per_layer++) {
        struct fixture f;
        state = 3;
        q8_conv_attr *a = open_conv(&f, &q8_op_convolutiondepthwise, 10, 10, 10, 3);
        const q8_quant *q = quantize(&f, 3, per_layer);
        assert_non_null(q);
        assert_int_equal(q->n_weight_scales, 10);
        assert_int_equal(a->int8_scale_term, 1);
        for (size_t o = 0; o < 10; o++) {
            const float most = per_layer ? absmax(f.weight, 90) : absmax(f.weight + o * 9, 9);
            assert_true(q->weight_scales[o] == 127 / most);
        }
        assert_weights(&f, 9);
        close_fixture(&f);
    }
}

/* Groups of several outputs: they share the group's scale, also when there is but one group. */
static void test_grouped(void **unused)
{
    (void)unused;
    for (int group = 1; group <= 4; group *= 2) {
        struct fixture f;
        state = 4;
        open_conv(&f, &q8_op_convolutiondepthwise, 8, 12, group, 1);
        const q8_quant *q = quantize(&f, 3, false);
        assert_non_null(q);
        assert_int_equal(q->n_weight_scales, group);
        const size_t size = (size_t)(12 / group * 8 / group);
        for (size_t g = 0; g < (size_t)group; g++)
            assert_true(q->weight_scales[g] == 127 / absmax(f.weight + g * size, size));
        assert_weights(&f, size);
        close_fixture(&f);
    }
}

static void test_winograd_bound(void **unused)
{
    (void)unused;
    struct fixture f;
    state = 5;
    const size_t row = 512 * 9;
    open_conv(&f, &q8_op_convolution, 512, 6, 1, 3);
    for (size_t i = 0; i < row; i++) {
        f.weight[i] = 0.25f;                                 /* equal: far above the bound */
        f.weight[row + i] = i % 100 ? f.weight[row + i] : 8; /* outliers: far below it */
        f.weight[2 * row + i] *= 1e-6f;
    }
    f.weight[row] = 40;
    const q8_quant *q = quantize(&f, 3, false);
    assert_non_null(q);
    int lowered = 0;
    for (size_t o = 0; o < 6; o++) {
        const float *w = f.weight + o * row, scale = q->weight_scales[o];
        const float full = 127 / absmax(w, row);
        long long sum = 0;
        for (size_t i = 0; i < row; i++)
            sum += abs(q->weight[o * row + i]);
        assert_true(sum <= Q8_WINOGRAD_SUM);
        if (sum_of(w, row, full) <= Q8_WINOGRAD_SUM) {
            assert_true(scale == full);
            continue;
        }
        lowered++;
        assert_true(scale < full);
        assert_true(sum_of(w, row, nextafterf(scale, INFINITY)) > Q8_WINOGRAD_SUM);
    }
    assert_in_range(lowered, 1, 5);
    assert_weights(&f, row);
    close_fixture(&f);
}

/* The bound is only for what may run as winograd, but also for groups, which ncnn runs as
 * convolutions. */
static void test_where_the_bound_holds(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 7; kind++) {
        struct fixture f;
        const bool grouped = kind == 1;
        const int inputs = 512, row = inputs / (grouped ? 2 : 1) * 9;
        q8_conv_attr *a = open_conv(&f, grouped ? &q8_op_convolutiondepthwise : &q8_op_convolution,
                                    inputs, 4, grouped ? 2 : 1, 3);
        for (int i = 0; i < 4 * row; i++)
            f.weight[i] = 1;
        a->stride_w = kind == 2 ? 2 : 1;
        a->stride_h = kind == 3 ? 2 : 1;
        a->dilation_w = kind == 4 ? 2 : 1;
        if (kind == 5) {
            a->kernel_w = 9;
            a->kernel_h = 1;
        }
        const q8_quant *q = quantize(&f, 3, kind == 6);
        assert_non_null(q);
        const bool bounded = kind < 2 || kind == 6;
        for (int i = 0; i < 4 * row; i++)
            assert_int_equal(q->weight[i], bounded ? Q8_WINOGRAD_SUM / row : 127);
        close_fixture(&f);
    }
}

/* In a group or a layer that shares one scale, the worst row decides for all. */
static void test_bound_of_shared_scale(void **unused)
{
    (void)unused;
    struct fixture f;
    state = 6;
    const size_t row = 128 * 9;
    open_conv(&f, &q8_op_convolution, 128, 3, 1, 3);
    for (size_t i = 0; i < row; i++)
        f.weight[row + i] = 1;
    f.weight[0] = 1.5f;
    for (size_t i = 1; i < row; i++)
        f.weight[i] *= 0.01f;
    const q8_quant *q = quantize(&f, 3, true);
    assert_non_null(q);
    for (size_t o = 0; o < 3; o++) {
        long long sum = 0;
        for (size_t i = 0; i < row; i++)
            sum += abs(q->weight[o * row + i]);
        assert_true(sum <= Q8_WINOGRAD_SUM);
        assert_true(q->weight_scales[o] == q->weight_scales[0]);
    }
    assert_weights(&f, row);
    close_fixture(&f);
}

static void test_int32_bound(void **unused)
{
    (void)unused;
    struct fixture f;
    const int inputs = 140000;
    open_innerproduct(&f, inputs, 1);
    for (int i = 0; i < inputs; i++)
        f.weight[i] = i & 1 ? 1 : -1;
    const q8_quant *q = quantize(&f, 3, false);
    assert_non_null(q);
    assert_int_equal(abs(q->weight[0]), Q8_INT32_SUM / inputs);
    long long sum = 0;
    for (int i = 0; i < inputs; i++)
        sum += abs(q->weight[i]) * 127;
    assert_true(sum <= INT32_MAX);
    close_fixture(&f);
}

static void assert_usable(const q8_quant *q)
{
    for (size_t i = 0; i < q->n_weight_scales; i++) {
        const float product = q->bottom_scale * q->weight_scales[i];
        assert_true(isfinite(q->weight_scales[i]) && q->weight_scales[i] > 0);
        assert_true(isfinite(product) && isnormal(1 / product));
    }
}

static void test_zero_and_tiny_channels(void **unused)
{
    (void)unused;
    static const float threshold[] = {3, 1e-30f, 1e10f};
    for (size_t t = 0; t < 3; t++) {
        struct fixture f;
        open_innerproduct(&f, 4, 5);
        for (int i = 0; i < 4; i++) {
            f.weight[i] = 0;
            f.weight[4 + i] = 1e-45f;
            f.weight[8 + i] = 1e-37f;
            f.weight[12 + i] = i ? 1e-5f : -2e-5f; /* the original tool lost these */
            f.weight[16 + i] = 100;
        }
        const q8_quant *q = quantize(&f, threshold[t], false);
        assert_non_null(q);
        assert_usable(q);
        assert_int_equal(q->weight[0], 0);
        assert_true(q->weight_scales[0] == 1);
        assert_int_equal(q->weight[16], 127);
        if (t == 0) {
            assert_int_equal(q->weight[12], -127);
            assert_int_equal(q->weight[13], 64);
        }
        close_fixture(&f);
    }
}

static void assert_float(struct fixture *f, float threshold, const char *reason)
{
    assert_null(quantize(f, threshold, false));
    assert_string_equal(f->node->float_reason, reason);
}

/* As --keep-float asks for it. */
static void test_a_reason_given_before_stays(void **unused)
{
    (void)unused;
    struct fixture f;
    open_innerproduct(&f, 4, 5);
    f.node->float_reason = "asked for";
    const float thresholds[] = {1, 0};
    assert_int_equal(q8_quantize_graph(f.graph, thresholds, &(q8_quant_opts){0}, NULL, NULL),
                     Q8_OK);
    assert_null(f.node->quant);
    assert_string_equal(f.node->float_reason, "asked for");
    close_fixture(&f);
}

static void test_reasons_for_float(void **unused)
{
    (void)unused;
    struct fixture f;
    open_innerproduct(&f, 4, 5);
    assert_float(&f, 0, "its input was not observed");
    assert_float(&f, -1, "its input was not observed");
    assert_float(&f, NAN, "its input was not observed");
    assert_float(&f, INFINITY, "its input was not observed");
    assert_float(&f, 1e-45f, "its input's values are too small");
    f.weight[19] = 1e35f;
    assert_float(&f, 1e20f, "its values are too large");
    f.weight[19] = NAN;
    assert_float(&f, 1, "its weights are not finite");
    f.weight[19] = -INFINITY;
    assert_float(&f, 1, "its weights are not finite");
    assert_int_equal(((q8_innerproduct_attr *)f.node->attr)->int8_scale_term, 0);
    f.weight[19] = 1e35f;
    assert_non_null(quantize(&f, 1, false));
    assert_usable(f.node->quant);
    close_fixture(&f);

    q8_conv_attr *a = open_conv(&f, &q8_op_convolution, 4, 4, 1, 1);
    const float no_code[] = {-1, 1.01f, 0.4f};
    a->pad_left = 1;
    for (int i = 0; i < 3; i++) {
        a->pad_value = no_code[i];
        assert_float(&f, 1, "it pads with a value that has no int8 code ncnn handles");
        assert_true(a->pad_value == no_code[i]);
    }
    a->pad_value = 0.1f;
    assert_non_null(quantize(&f, 0.1f, false));
    assert_true(a->pad_value == 127);
    close_fixture(&f);

    static const struct {
        int inputs, outputs, group;
        bool int8;
    } c[] = {{16, 16, 2, false}, {12, 24, 3, false}, {32, 64, 2, false}, {8, 64, 8, false},
             {16, 8, 2, true},   {12, 24, 2, true},  {16, 16, 16, true}};
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        open_conv(&f, &q8_op_convolutiondepthwise, c[i].inputs, c[i].outputs, c[i].group, 1);
        if (c[i].int8)
            assert_non_null(quantize(&f, 1, false));
        else
            assert_float(&f, 1, "ncnn miscomputes int8 groups of 8, 16, ... outputs on x86");
        close_fixture(&f);
    }
}

static void test_wanted(void **unused)
{
    (void)unused;
    struct fixture f;
    bool wanted[2] = {false, true};
    open_innerproduct(&f, 4, 5);
    q8_quant_wanted(f.graph, wanted);
    assert_true(wanted[0]);
    assert_false(wanted[1]);
    f.node->op = &q8_op_relu;
    q8_quant_wanted(f.graph, wanted);
    assert_false(wanted[0]);
    const float thresholds[] = {1, 1};
    const q8_quant_opts opts = {0};
    assert_int_equal(q8_quantize_graph(f.graph, thresholds, &opts, NULL, NULL), Q8_OK);
    assert_null(f.node->quant);
    assert_null(f.node->float_reason);
    close_fixture(&f);
}

static void test_weights_that_do_not_fit(void **unused)
{
    (void)unused;
    struct fixture f;
    open_innerproduct(&f, 4, 5);
    f.node->weight[0].count = 19;
    const float thresholds[] = {1, 1};
    const q8_quant_opts opts = {0};
    q8_err err = {0};
    assert_int_equal(q8_quantize_graph(f.graph, thresholds, &opts, NULL, &err), Q8_EINTERNAL);
    assert_string_equal(err.layer, "layer");
    close_fixture(&f);
}

/* With every input at its mean, the rounded weights and the new bias give what the floats gave. */
static void check_bias_correction(struct fixture *f, int inputs_per_output, int taps)
{
    float mean[64];
    for (int i = 0; i < 64; i++)
        mean[i] = normal() * 3;
    const q8_quant *q = quantize(f, 4, false);
    const float *const means[] = {mean, NULL};
    q8_err err = {0};
    assert_non_null(q);
    assert_int_equal(q8_correct_bias_graph(f->graph, means, NULL, &err), Q8_OK);
    const q8_conv_attr *a = f->node->attr;
    assert_int_equal(f->node->weight[1].count, a->num_output);
    for (int o = 0; o < a->num_output; o++) {
        const int first = a->group > 1 ? o * inputs_per_output : 0;
        double want = 0, got = (double)f->node->weight[1].data[o];
        for (int i = 0; i < inputs_per_output; i++)
            for (int k = 0; k < taps; k++) {
                const size_t at = (size_t)((o * inputs_per_output + i) * taps + k);
                want += (double)f->weight[at] * (double)mean[first + i];
                got += q->weight[at] / (double)q->weight_scales[o] * (double)mean[first + i];
            }
        assert_true(fabs(want - got) < 1e-5);
    }
}

static void test_bias_correction(void **unused)
{
    (void)unused;
    struct fixture f;
    open_conv(&f, &q8_op_convolution, 6, 9, 1, 3);
    check_bias_correction(&f, 6, 9);
    close_fixture(&f);
    open_conv(&f, &q8_op_convolutiondepthwise, 8, 8, 8, 3);
    check_bias_correction(&f, 1, 9);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_per_channel),
        cmocka_unit_test(test_per_layer),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_grouped),
        cmocka_unit_test(test_winograd_bound),
        cmocka_unit_test(test_where_the_bound_holds),
        cmocka_unit_test(test_bound_of_shared_scale),
        cmocka_unit_test(test_int32_bound),
        cmocka_unit_test(test_zero_and_tiny_channels),
        cmocka_unit_test(test_reasons_for_float),
        cmocka_unit_test(test_a_reason_given_before_stays),
        cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_weights_that_do_not_fit),
        cmocka_unit_test(test_bias_correction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
