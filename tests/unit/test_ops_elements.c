/* Layers that work per channel or per element, and inputs: examples worked out by hand, and
 * attributes as a hostile .param could have them. */
#include <limits.h>

#include "op_fixture.h"
#include "ops/activation.h"
#include "ops/affine.h"
#include "ops/input.h"
#include "ops/unary.h"

/* --- per channel ------------------------------------------------------------------------------ */

static const float pairs[] = {1, 2, 3, 4}; /* two channels of two values */
static const q8_shape two_channels = {3, {2, 1, 2}};

static void check_affine(const q8_node *node, const float *a, const float *b)
{
    float got_a[2], got_b[2];
    assert_true(node->op->as_affine(node, 2, got_a, got_b));
    for (int c = 0; c < 2; c++) {
        assert_float_equal(got_a[c], a[c], 1e-5f);
        assert_float_equal(got_b[c], b[c], 1e-5f);
    }
    const float expected[] = {a[0] * 1 + b[0], a[0] * 2 + b[0], a[1] * 3 + b[1], a[1] * 4 + b[1]};
    check_run(node, two_channels, pairs, two_channels, expected);
}

static void batchnorm_normalises(void **state)
{
    q8_node *node = new_node(*state, &q8_op_batchnorm, &(q8_batchnorm_attr){2, 1});
    const float slope[] = {1, 6}, mean[] = {2, 1}, variance[] = {3, 8}, bias[] = {0, 5};
    set_weight(node, 0, slope, 2);
    set_weight(node, 1, mean, 2);
    set_weight(node, 2, variance, 2);
    set_weight(node, 3, bias, 2);
    check_affine(node, (const float[]){0.5f, 2}, (const float[]){-1, 3});
    const float broken[] = {3, -2};
    node->weight[2].data = broken; /* the root of -1 must not be folded away unseen */
    float a[2], b[2];
    assert_false(node->op->as_affine(node, 2, a, b));
}

static void scale_and_bias(void **state)
{
    const float scale[] = {2, -1}, bias[] = {0.5f, 10}, ones[] = {1, 1}, zeros[] = {0, 0};
    q8_node *node = new_node(*state, &q8_op_scale, &(q8_scale_attr){2, 0});
    set_weight(node, 0, scale, 2);
    check_affine(node, scale, zeros);
    node->op->set_bias(node);
    set_weight(node, 1, bias, 2);
    check_affine(node, scale, bias);
    node = new_node(*state, &q8_op_bias, &(q8_bias_attr){2});
    set_weight(node, 0, bias, 2);
    check_affine(node, ones, bias);
}

static void per_channel_sizes_are_checked(void **state)
{
    const int sizes[] = {0, 1, 3, -1, -233, INT_MIN, INT_MAX};
    const q8_op *const ops[] = {&q8_op_batchnorm, &q8_op_scale, &q8_op_bias, &q8_op_prelu};
    for (size_t k = 0; k < COUNT(ops); k++)
        for (size_t i = 0; i < COUNT(sizes); i++) {
            q8_node *node = new_node(*state, ops[k], NULL);
            q8_err err = {0};
            q8_shape out;
            memcpy(node->attr, &sizes[i], sizeof(int)); /* the size is the first member of each */
            const bool shared = ops[k] == &q8_op_prelu && sizes[i] == 1;
            assert_int_equal(node->op->infer(node, &two_channels, &out, &err) == Q8_OK, shared);
        }
    q8_node *bias = new_node(*state, &q8_op_bias, &(q8_bias_attr){4});
    const q8_shape vector = {1, {4}}; /* ncnn would add the first value to all */
    q8_err err = {0};
    q8_shape out;
    assert_int_equal(bias->op->infer(bias, &vector, &out, &err), Q8_EUNSUPPORTED);
}

static void prelu_slopes(void **state)
{
    const float slope[] = {0.5f, 2}, in[] = {-1, 2, -3, 4};
    q8_node *node = new_node(*state, &q8_op_prelu, &(q8_prelu_attr){2});
    q8_activation act;
    set_weight(node, 0, slope, 2);
    check_run(node, two_channels, in, two_channels, (const float[]){-0.5f, 2, -6, 4});
    assert_false(node->op->as_activation(node, *state, &act));
    *(q8_prelu_attr *)node->attr = (q8_prelu_attr){1};
    set_weight(node, 0, slope, 1);
    check_run(node, two_channels, in, two_channels, (const float[]){-0.5f, 2, -1.5f, 4});
    assert_true(node->op->as_activation(node, *state, &act));
    assert_int_equal(act.type, Q8_ACT_LEAKY);
    assert_float_equal(act.params.v[0], 0.5f, 0);
}

/* --- per element ------------------------------------------------------------------------------ */

static void elements(void **state)
{
    const float in[] = {-2, -0.5f, 0, 3};
    const struct {
        const q8_op *op;
        const void *attr;
        float expected[4];
    } cases[] = {
        {&q8_op_relu, NULL, {0, 0, 0, 3}},
        {&q8_op_relu, &(q8_relu_attr){0.25f}, {-0.5f, -0.125f, 0, 3}},
        {&q8_op_clip, NULL, {-2, -0.5f, 0, 3}},
        {&q8_op_clip, &(q8_clip_attr){-1, 2}, {-1, -0.5f, 0, 2}},
        {&q8_op_sigmoid, NULL, {0.1192029f, 0.3775407f, 0.5f, 0.9525741f}},
        {&q8_op_tanh, NULL, {-0.9640276f, -0.4621172f, 0, 0.9950548f}},
        {&q8_op_power, NULL, {-2, -0.5f, 0, 3}},
        {&q8_op_power, &(q8_power_attr){2, 2, 1}, {9, 0, 1, 49}},
        {&q8_op_power, &(q8_power_attr){0, 2, 1}, {1, 1, 1, 1}},
        {&q8_op_power, &(q8_power_attr){1, -1, 0.5f}, {2.5f, 1, 0.5f, -2.5f}},
        {&q8_op_dropout, NULL, {-2, -0.5f, 0, 3}},
        {&q8_op_dropout, &(q8_dropout_attr){0.5f}, {-1, -0.25f, 0, 1.5f}},
    };
    const q8_shape shape = {1, {4}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const q8_node *node = new_node(*state, cases[i].op, cases[i].attr);
        check_run(node, shape, in, shape, cases[i].expected);
    }
}

/* A layer that says it is an activation or an affine map computes the same as that. */
static void views_agree_with_forward(void **state)
{
    const struct {
        const q8_op *op;
        const void *attr;
    } cases[] = {
        {&q8_op_relu, NULL},
        {&q8_op_relu, &(q8_relu_attr){0.25f}},
        {&q8_op_clip, &(q8_clip_attr){-1, 2}},
        {&q8_op_sigmoid, NULL},
        {&q8_op_power, &(q8_power_attr){1, -1, 0.5f}},
        {&q8_op_dropout, &(q8_dropout_attr){0.5f}},
    };
    const float in[] = {-2, -0.5f, 0, 3};
    const q8_shape shape = {1, {4}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        q8_node *node = new_node(*state, cases[i].op, cases[i].attr);
        float expected[4], a[4], b[4];
        q8_activation act;
        memcpy(expected, in, sizeof(in));
        if (node->op->as_activation) {
            assert_true(node->op->as_activation(node, *state, &act));
            q8_activate_array(&act, expected, 4);
        } else {
            assert_true(node->op->as_affine(node, 4, a, b));
            for (int k = 0; k < 4; k++)
                expected[k] = a[k] * in[k] + b[k];
        }
        check_run(node, shape, in, shape, expected);
    }
}

static void identities(void **state)
{
    const q8_shape shape = {1, {4}};
    q8_node *power = new_node(*state, &q8_op_power, NULL);
    q8_node *dropout = new_node(*state, &q8_op_dropout, NULL);
    q8_node *split = new_node(*state, &q8_op_split, NULL);
    assert_true(power->op->is_identity(power, &shape, &shape));
    assert_true(dropout->op->is_identity(dropout, &shape, &shape));
    assert_true(split->op->is_identity(split, &shape, &shape));
    float a[4], b[4];
    ((q8_power_attr *)power->attr)->power = 2;
    assert_false(power->op->is_identity(power, &shape, &shape));
    assert_false(power->op->as_affine(power, 4, a, b));
    ((q8_dropout_attr *)dropout->attr)->scale = 0.5f;
    assert_false(dropout->op->is_identity(dropout, &shape, &shape));
}

static void activations(void **state)
{
    (void)state;
    const float third = 1.0f / 3, params[] = {third, 0.5f};
    const struct {
        int type;
        float x, expected;
    } cases[] = {
        {Q8_ACT_NONE, -3, -3},      {Q8_ACT_RELU, -3, 0},         {Q8_ACT_LEAKY, -3, -1},
        {Q8_ACT_CLIP, 0.2f, third}, {Q8_ACT_CLIP, 2, 0.5f},       {Q8_ACT_SIGMOID, 1, 0.7310586f},
        {Q8_ACT_SIGMOID, -1000, 0}, {Q8_ACT_MISH, 1, 0.8650984f}, {Q8_ACT_MISH, 1000, 1000},
        {Q8_ACT_HSWISH, -3, 0},     {Q8_ACT_HSWISH, 1, 5.0f / 6}, {Q8_ACT_HSWISH, 3, 3},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const q8_activation act = {.type = cases[i].type, .params = {2, params}};
        assert_float_equal(q8_activate(&act, cases[i].x), cases[i].expected, 1e-5f);
    }
}

static void input_shapes(void **state)
{
    const struct {
        q8_input_attr attr;
        q8_code code;
        q8_shape shape;
    } cases[] = {
        {{.w = 7, .h = 9, .c = 3}, Q8_OK, {3, {3, 9, 7}}},
        {{.w = 7, .h = 9}, Q8_OK, {2, {9, 7}}},
        {{.w = 7}, Q8_OK, {1, {7}}},
        {{0}, Q8_EMODEL, {0}},
        {{.c = 3}, Q8_EMODEL, {0}},
        {{.w = 7, .c = 3}, Q8_EMODEL, {0}},
        {{.w = 7, .h = -9}, Q8_EMODEL, {0}},
        {{.w = 7, .h = 9, .c = -3}, Q8_EMODEL, {0}},
        {{.w = 7, .h = 9, .d = 5, .c = 3}, Q8_EUNSUPPORTED, {0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const q8_node *node = new_node(*state, &q8_op_input, &cases[i].attr);
        q8_err err = {0};
        q8_shape out;
        assert_int_equal(node->op->infer(node, NULL, &out, &err), cases[i].code);
        if (cases[i].code == Q8_OK)
            assert_true(q8_shape_equal(&out, &cases[i].shape));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(batchnorm_normalises),
        ARENA_TEST(scale_and_bias),
        ARENA_TEST(per_channel_sizes_are_checked),
        ARENA_TEST(prelu_slopes),
        ARENA_TEST(elements),
        ARENA_TEST(views_agree_with_forward),
        ARENA_TEST(identities),
        cmocka_unit_test(activations),
        ARENA_TEST(input_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
