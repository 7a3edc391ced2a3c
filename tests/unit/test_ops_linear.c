/* Convolutions, InnerProduct, per-channel and per-element layers: examples worked out by hand, and
 * attributes as a hostile .param could have them. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/activation.h"
#include "ops/affine.h"
#include "ops/conv.h"
#include "ops/innerproduct.h"
#include "ops/input.h"
#include "ops/rows.h"
#include "ops/unary.h"

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define SHAPE3(c, h, w) ((q8_shape){3, {c, h, w}})

static q8_node *new_node(q8_arena *arena, const q8_op *op, const void *attr)
{
    q8_node *node = q8_node_new(arena, op, "layer", 1, 1);
    assert_non_null(node);
    if (attr)
        memcpy(node->attr, attr, op->attr_size);
    return node;
}

static void set_weight(q8_node *node, int slot, const float *data, size_t count)
{
    assert_int_equal(node->op->weights[slot].count(node->attr), count);
    node->weight[slot] = (q8_weight){.data = data, .count = count};
}

/* Infers and runs a node of one input and one output, and compares with what is expected. */
static void check_run(const q8_node *node, q8_shape in_shape, const float *in, q8_shape expected,
                      const float *values)
{
    static q8_err err;
    q8_shape shape;
    float data[256], *out = data;
    memset(&err, 0, sizeof(err));
    assert_int_equal(node->op->infer(node, &in_shape, &shape, &err), Q8_OK);
    assert_true(q8_shape_equal(&shape, &expected));
    assert_true(q8_shape_count(&shape) <= COUNT(data));
    const q8_forward f = {node, &in_shape, &shape, &in, &out};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    for (size_t i = 0; i < q8_shape_count(&shape); i++)
        assert_float_equal(data[i], values[i], 1e-5f);
}

static int setup(void **state)
{
    return (*state = q8_arena_open()) ? 0 : -1;
}

static int teardown(void **state)
{
    q8_arena_close((q8_arena **)state);
    return 0;
}

/* --- convolutions ----------------------------------------------------------------------------- */

static const float one_to_nine[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

/* One output, 2x2 kernel {1,2,3,4}, stride 1, no pads. */
static const q8_conv_attr small_conv = {
    .num_output = 1,
    .kernel_w = 2,
    .kernel_h = 2,
    .dilation_w = 1,
    .dilation_h = 1,
    .stride_w = 1,
    .stride_h = 1,
    .weight_data_size = 4,
    .group = 1,
};
static const float small_kernel[] = {1, 2, 3, 4};

static void conv_pads_and_strides(void **state)
{
    q8_conv_attr a = small_conv;
    a.pad_left = 1;
    a.pad_bottom = 2;
    a.stride_h = 2;
    a.bias_term = 1;
    q8_node *node = new_node(*state, &q8_op_convolution, &a);
    const float bias = 0.5f;
    set_weight(node, 0, small_kernel, 4);
    set_weight(node, 1, &bias, 1);
    const float expected[] = {
        0 + 2 * 1 + 0 + 4 * 4 + 0.5f,
        1 + 4 + 12 + 20 + 0.5f,
        2 + 6 + 15 + 24 + 0.5f,
        2 * 7 + 0.5f,
        7 + 16 + 0.5f,
        8 + 18 + 0.5f,
    };
    check_run(node, SHAPE3(1, 3, 3), one_to_nine, SHAPE3(1, 2, 3), expected);
}

static void conv_dilates(void **state)
{
    q8_conv_attr a = small_conv;
    a.dilation_w = a.dilation_h = 2;
    q8_node *node = new_node(*state, &q8_op_convolution, &a);
    set_weight(node, 0, small_kernel, 4);
    const float expected[] = {1 * 1 + 2 * 3 + 3 * 7 + 4 * 9};
    check_run(node, SHAPE3(1, 3, 3), one_to_nine, SHAPE3(1, 1, 1), expected);
}

static void conv_pads_with_a_value(void **state)
{
    q8_conv_attr a = small_conv;
    a.pad_top = 1;
    a.pad_value = 10;
    q8_node *node = new_node(*state, &q8_op_convolution, &a);
    set_weight(node, 0, small_kernel, 4);
    const float expected[] = {10 + 20 + 3 + 8, 1 + 4 + 9 + 16};
    const float in[] = {1, 2, 3, 4};
    check_run(node, SHAPE3(1, 2, 2), in, SHAPE3(1, 2, 1), expected);
}

static void conv_groups(void **state)
{
    /* Two groups of two inputs and one output, 1x1. */
    const q8_conv_attr a = {
        .num_output = 2,
        .kernel_w = 1,
        .kernel_h = 1,
        .dilation_w = 1,
        .dilation_h = 1,
        .stride_w = 1,
        .stride_h = 1,
        .weight_data_size = 4,
        .group = 2,
    };
    q8_node *node = new_node(*state, &q8_op_convolutiondepthwise, &a);
    set_weight(node, 0, small_kernel, 4);
    const float in[] = {1, 10, 100, 1000};
    const float expected[] = {1 + 20, 300 + 4000};
    check_run(node, SHAPE3(4, 1, 1), in, SHAPE3(2, 1, 1), expected);
    q8_linear view;
    const q8_shape shape = SHAPE3(4, 1, 1);
    assert_true(node->op->linear(node, &shape, &view));
    assert_int_equal(view.groups, 2);
    assert_int_equal(view.outputs, 1);
    assert_int_equal(view.inputs, 2);
    assert_int_equal(view.kernel, 1);
    assert_false(view.pads);
}

static void conv_activates(void **state)
{
    q8_conv_attr a = small_conv;
    const float limits[] = {-1, 50};
    a.activation = (q8_activation){.type = Q8_ACT_CLIP, .params = {2, limits}};
    q8_node *node = new_node(*state, &q8_op_convolution, &a);
    set_weight(node, 0, small_kernel, 4);
    const float expected[] = {37, 47, 50, 50};
    check_run(node, SHAPE3(1, 3, 3), one_to_nine, SHAPE3(1, 2, 2), expected);
}

static void deconv_overlaps_and_cuts(void **state)
{
    q8_node *node = new_node(*state, &q8_op_deconvolution, &small_conv);
    const float in[] = {1, 2, 3, 4};
    set_weight(node, 0, small_kernel, 4);
    const float all[] = {1, 2 + 2, 4, 3 + 3, 4 + 6 + 6 + 4, 8 + 8, 9, 12 + 12, 16};
    check_run(node, SHAPE3(1, 2, 2), in, SHAPE3(1, 3, 3), all);
    q8_conv_attr *a = node->attr;
    a->pad_top = a->pad_right = 1;
    const float cut[] = {6, 20, 9, 24};
    check_run(node, SHAPE3(1, 2, 2), in, SHAPE3(1, 2, 2), cut);
    a->output_pad_right = 1; /* what the right pad cut off comes back */
    const float extended[] = {6, 20, 16, 9, 24, 16};
    check_run(node, SHAPE3(1, 2, 2), in, SHAPE3(1, 2, 3), extended);
}

static void deconv_strides_and_dilates(void **state)
{
    q8_conv_attr a = small_conv;
    a.stride_w = 3;
    a.dilation_w = 2;
    a.kernel_h = 1;
    a.weight_data_size = 2;
    q8_node *node = new_node(*state, &q8_op_deconvolution, &a);
    set_weight(node, 0, small_kernel, 2);
    const float in[] = {1, 10};
    const float expected[] = {1, 0, 2, 10, 0, 20};
    check_run(node, SHAPE3(1, 1, 2), in, SHAPE3(1, 1, 6), expected);
    q8_linear view;
    const q8_shape shape = SHAPE3(1, 1, 2);
    assert_true(node->op->linear(node, &shape, &view));
    assert_true(view.pads); /* columns without a tap: a shift of the input is no bias */
}

static void deconv_groups_are_output_major(void **state)
{
    /* Two groups of two inputs and two outputs, 1x1: ncnn's [group][output][input]. */
    const q8_conv_attr a = {
        .num_output = 4,
        .kernel_w = 1,
        .kernel_h = 1,
        .dilation_w = 1,
        .dilation_h = 1,
        .stride_w = 1,
        .stride_h = 1,
        .weight_data_size = 8,
        .group = 2,
    };
    q8_node *node = new_node(*state, &q8_op_deconvolutiondepthwise, &a);
    const float weight[] = {1, 2, 3, 4, 5, 6, 7, 8}, in[] = {1, 10, 100, 1000};
    set_weight(node, 0, weight, 8);
    const float expected[] = {1 + 20, 3 + 40, 500 + 6000, 700 + 8000};
    check_run(node, SHAPE3(4, 1, 1), in, SHAPE3(4, 1, 1), expected);
}

/* Each sets one attribute of a valid convolution to something that must be refused. */
static void conv_refuses_hostile_attributes(void **state)
{
    static const struct {
        size_t offset;
        int value;
    } change[] = {
        {offsetof(q8_conv_attr, num_output), 0},
        {offsetof(q8_conv_attr, num_output), -1},
        {offsetof(q8_conv_attr, num_output), INT_MAX},
        {offsetof(q8_conv_attr, num_output), INT_MIN},
        {offsetof(q8_conv_attr, kernel_w), 0},
        {offsetof(q8_conv_attr, kernel_w), -2},
        {offsetof(q8_conv_attr, kernel_h), INT_MAX},
        {offsetof(q8_conv_attr, dilation_w), 0},
        {offsetof(q8_conv_attr, dilation_h), INT_MAX},
        {offsetof(q8_conv_attr, stride_w), 0},
        {offsetof(q8_conv_attr, stride_h), INT_MIN},
        {offsetof(q8_conv_attr, pad_left), -1},
        {offsetof(q8_conv_attr, pad_left), -233},
        {offsetof(q8_conv_attr, pad_top), INT_MAX},
        {offsetof(q8_conv_attr, pad_bottom), INT_MIN},
        {offsetof(q8_conv_attr, group), 0},
        {offsetof(q8_conv_attr, group), -1},
        {offsetof(q8_conv_attr, group), 2},
        {offsetof(q8_conv_attr, weight_data_size), 0},
        {offsetof(q8_conv_attr, weight_data_size), -1},
        {offsetof(q8_conv_attr, weight_data_size), INT_MAX},
        {offsetof(q8_conv_attr, activation.type), -1},
        {offsetof(q8_conv_attr, activation.type), 7},
        {offsetof(q8_conv_attr, activation.type), Q8_ACT_CLIP}, /* without its parameters */
        {offsetof(q8_conv_attr, dynamic_weight), 1},
        {offsetof(q8_conv_attr, output_pad_right), -1},
        {offsetof(q8_conv_attr, output_w), 7},
    };
    const q8_op *const ops[] = {&q8_op_convolution, &q8_op_convolutiondepthwise,
                                &q8_op_deconvolution, &q8_op_deconvolutiondepthwise};
    const q8_shape in = SHAPE3(1, 3, 3);
    for (size_t k = 0; k < COUNT(ops); k++) {
        q8_node *node = new_node(*state, ops[k], &small_conv);
        q8_err err = {0};
        q8_shape out;
        assert_int_equal(ops[k]->infer(node, &in, &out, &err), Q8_OK);
        for (size_t i = 0; i < COUNT(change); i++) {
            memcpy(node->attr, &small_conv, sizeof(small_conv));
            memcpy((char *)node->attr + change[i].offset, &change[i].value, sizeof(int));
            err = (q8_err){0};
            assert_int_not_equal(ops[k]->infer(node, &in, &out, &err), Q8_OK);
            assert_string_equal(err.layer, "layer");
            assert_true(err.text[0] != '\0');
        }
    }
}

/* When the size of the weights overflows, no weight_data_size matches. */
static void conv_refuses_overflowing_weights(void **state)
{
    q8_conv_attr a = small_conv;
    a.num_output = a.kernel_w = a.kernel_h = INT_MAX;
    a.pad_left = a.pad_top = INT_MAX;
    q8_node *node = new_node(*state, &q8_op_convolution, &a);
    q8_conv_attr *attr = node->attr;
    const int sizes[] = {-1, 0, 1, INT_MAX, INT_MIN};
    const q8_shape in = SHAPE3(1 << 10, 1 << 10, 1 << 10);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        q8_err err = {0};
        q8_shape out;
        attr->weight_data_size = sizes[i];
        assert_int_equal(node->op->infer(node, &in, &out, &err), Q8_EMODEL);
    }
}

static void conv_wants_rank_3_and_room(void **state)
{
    q8_node *node = new_node(*state, &q8_op_convolution, &small_conv);
    const q8_shape vector = {1, {9}}, tiny = SHAPE3(1, 1, 9);
    q8_err err = {0};
    q8_shape out;
    assert_int_equal(node->op->infer(node, &vector, &out, &err), Q8_EUNSUPPORTED);
    err = (q8_err){0};
    assert_int_equal(node->op->infer(node, &tiny, &out, &err), Q8_EMODEL);
}

static void int8_terms(void **state)
{
    q8_quant quant = {.n_weight_scales = 4};
    q8_conv_attr a = small_conv;
    a.num_output = a.group = 4;
    q8_node *conv = new_node(*state, &q8_op_convolution, &small_conv);
    q8_node *depthwise = new_node(*state, &q8_op_convolutiondepthwise, &a);
    q8_node *inner = new_node(*state, &q8_op_innerproduct, NULL);
    conv->quant = depthwise->quant = inner->quant = &quant;
    const int expected[2][2][2] = {{{2, 1}, {102, 101}}, {{2, 2}, {102, 102}}};
    for (int single = 0; single < 2; single++)
        for (int requantize = 0; requantize < 2; requantize++) {
            quant.n_weight_scales = single ? 1 : 4;
            quant.top_scale = requantize ? 3 : 0;
            conv->op->set_int8(conv);
            depthwise->op->set_int8(depthwise);
            inner->op->set_int8(inner);
            const int *term = expected[single][requantize];
            assert_int_equal(((q8_conv_attr *)conv->attr)->int8_scale_term, term[0]);
            assert_int_equal(((q8_conv_attr *)depthwise->attr)->int8_scale_term, term[1]);
            assert_int_equal(((q8_innerproduct_attr *)inner->attr)->int8_scale_term, 2);
        }
    assert_null(q8_op_deconvolution.set_int8);
    assert_null(q8_op_deconvolutiondepthwise.set_int8);
}

/* --- InnerProduct ----------------------------------------------------------------------------- */

static void innerproduct_flattens(void **state)
{
    const q8_innerproduct_attr a = {.num_output = 2,
                                    .bias_term = 1,
                                    .weight_data_size = 8,
                                    .activation = {.type = Q8_ACT_RELU}};
    q8_node *node = new_node(*state, &q8_op_innerproduct, &a);
    const float weight[] = {1, 2, 3, 4, -1, -1, -1, -1}, bias[] = {0.5f, 0.5f}, in[] = {1, 2, 3, 4};
    set_weight(node, 0, weight, 8);
    set_weight(node, 1, bias, 2);
    const float expected[] = {30.5f, 0};
    const q8_shape shapes[] = {SHAPE3(2, 1, 2), {2, {2, 2}}, {1, {4}}};
    for (size_t i = 0; i < COUNT(shapes); i++)
        check_run(node, shapes[i], in, (q8_shape){1, {2}}, expected);
    check_run(node, (q8_shape){2, {1, 4}}, in, (q8_shape){2, {1, 2}}, expected); /* as ncnn */
    q8_linear view;
    assert_true(node->op->linear(node, &shapes[0], &view));
    assert_int_equal(view.inputs, 2);
    assert_int_equal(view.kernel, 2);
    assert_int_equal(view.outputs, 2);
}

static void innerproduct_refuses_hostile_attributes(void **state)
{
    static const q8_innerproduct_attr bad[] = {
        {.num_output = 0, .weight_data_size = 4},
        {.num_output = -1, .weight_data_size = -4},
        {.num_output = 1, .weight_data_size = 5},
        {.num_output = 2, .weight_data_size = 4},
        {.num_output = INT_MAX, .weight_data_size = -4},
        {.num_output = INT_MAX, .weight_data_size = INT_MAX},
        {.num_output = 1 << 30, .weight_data_size = 0},
        {.num_output = 1, .weight_data_size = 4, .activation = {.type = Q8_ACT_LEAKY}},
    };
    const q8_shape in = {1, {4}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        q8_node *node = new_node(*state, &q8_op_innerproduct, &bad[i]);
        q8_err err = {0};
        q8_shape out;
        assert_int_equal(node->op->infer(node, &in, &out, &err), Q8_EMODEL);
    }
}

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
        cmocka_unit_test_setup_teardown(conv_pads_and_strides, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_dilates, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_pads_with_a_value, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_activates, setup, teardown),
        cmocka_unit_test_setup_teardown(deconv_overlaps_and_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(deconv_strides_and_dilates, setup, teardown),
        cmocka_unit_test_setup_teardown(deconv_groups_are_output_major, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_refuses_hostile_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_refuses_overflowing_weights, setup, teardown),
        cmocka_unit_test_setup_teardown(conv_wants_rank_3_and_room, setup, teardown),
        cmocka_unit_test_setup_teardown(int8_terms, setup, teardown),
        cmocka_unit_test_setup_teardown(innerproduct_flattens, setup, teardown),
        cmocka_unit_test_setup_teardown(innerproduct_refuses_hostile_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(batchnorm_normalises, setup, teardown),
        cmocka_unit_test_setup_teardown(scale_and_bias, setup, teardown),
        cmocka_unit_test_setup_teardown(per_channel_sizes_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(prelu_slopes, setup, teardown),
        cmocka_unit_test_setup_teardown(elements, setup, teardown),
        cmocka_unit_test_setup_teardown(views_agree_with_forward, setup, teardown),
        cmocka_unit_test_setup_teardown(identities, setup, teardown),
        cmocka_unit_test(activations),
        cmocka_unit_test_setup_teardown(input_shapes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
