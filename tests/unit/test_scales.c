/* From any statistics and weights, by every method: scales that ncnn can compute with, or a reason.
 */
#include <math.h>

#include "calib/threshold.h"
#include "quant/quant.h"
#include "test_exec_graph.h"

enum { ROUNDS = 400, CHANNELS = 3, SIDE = 6, OUTPUTS = 4 };

/* 10^-44 to 10^38, with zeros, subnormals, infinities and NaN now and then. */
static float any_value(uint32_t *seed, int kind)
{
    const float sign = random_float(seed);
    switch (kind) {
    case 0:
        return 0;
    case 1:
        return copysignf(powf(10, (float)random_int(seed, -44, 38)), sign);
    case 2:
        return random_int(seed, 0, 20) == 0 ? copysignf(INFINITY, sign) : sign;
    case 3:
        return random_int(seed, 0, 20) == 0 ? NAN : sign;
    case 4:
        return 7.5f;
    case 5:
        return random_int(seed, 0, 100) == 0 ? 1e30f * sign : 1e-3f * sign;
    default:
        return fabsf(sign);
    }
}

static void fill(float *x, size_t n, uint32_t *seed)
{
    const int kind = random_int(seed, 0, 6);
    const float size = powf(10, (float)random_int(seed, -30, 30));
    for (size_t i = 0; i < n; i++)
        x[i] = any_value(seed, kind) * (kind == 6 ? size : 1);
}

static void check(const q8_node *node)
{
    const q8_quant *q = node->quant;
    if (!q) {
        assert_non_null(node->float_reason);
        return;
    }
    assert_true(isfinite(q->bottom_scale) && q->bottom_scale > 0);
    for (size_t i = 0; i < q->n_weight_scales; i++) {
        const float both = q->weight_scales[i] * q->bottom_scale;
        assert_true(isfinite(q->weight_scales[i]) && q->weight_scales[i] > 0);
        assert_true(isnormal(both) && isnormal(1 / both));
    }
}

static void scales_are_usable(void **unused)
{
    (void)unused;
    static const q8_method methods[] = {Q8_METHOD_MSE,        Q8_METHOD_KL,   Q8_METHOD_MINMAX,
                                        Q8_METHOD_PERCENTILE, Q8_METHOD_ACIQ, Q8_METHOD_EQ};
    float x[CHANNELS * SIDE * SIDE], weight[OUTPUTS * CHANNELS * 9];
    int int8 = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct net net = net_open(round);
        q8_node *node = net_after(&net, &q8_op_convolution, net_input(&net, CHANNELS, SIDE, SIDE));
        q8_conv_attr *a = node->attr;
        a->num_output = OUTPUTS;
        a->kernel_w = a->kernel_h = 3;
        a->stride_w = a->stride_h = a->dilation_w = a->dilation_h = 1;
        a->weight_data_size = OUTPUTS * CHANNELS * 9;
        fill(weight, OUTPUTS * CHANNELS * 9, &net.seed);
        node->weight[0] = (q8_weight){.data = weight, .count = OUTPUTS * CHANNELS * 9};
        net_finish(&net, node);
        q8_stats stats;
        assert_int_equal(q8_stats_init(&stats, CHANNELS, NULL), Q8_OK);
        fill(x, CHANNELS * SIDE * SIDE, &net.seed);
        q8_stats_add(&stats, &(q8_view){x, 1, {3, {CHANNELS, SIDE, SIDE}}, 1, NULL});
        const q8_method method = methods[round % (sizeof(methods) / sizeof(methods[0]))];
        const int levels = round & 1 ? Q8_LEVELS_SHIFTED : Q8_LEVELS_SIGNED;
        float threshold[2] = {0};
        threshold[node->in[0]] = q8_threshold(method, &stats, levels);
        const q8_quant_opts opts = {.per_layer = random_int(&net.seed, 0, 1)};
        assert_int_equal(q8_quantize_graph(net.graph, threshold, &opts, NULL, NULL), Q8_OK);
        check(node);
        int8 += node->quant != NULL;
        q8_stats_free(&stats);
        net_close(&net);
    }
    assert_true(int8 > ROUNDS / 4); /* else nothing was tried */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scales_are_usable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
