/* Convolutions, deconvolutions and InnerProduct: examples worked out by hand, and attributes as a
 * hostile .param could have them. */
#include <limits.h>

#include "op_fixture.h"
#include "ops/conv.h"
#include "ops/innerproduct.h"

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
    q8_node *node = new_node(*state, &q8_op_convolution, &a);
    q8_conv_attr *attr = node->attr;
    const int sizes[] = {-1, 0, 1, INT_MAX, INT_MIN};
    const q8_shape in = SHAPE3(1 << 10, 1 << 10, 1 << 10);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        q8_err err = {0};
        q8_shape out;
        attr->weight_data_size = sizes[i];
        assert_int_equal(node->op->infer(node, &in, &out, &err), Q8_EMODEL);
        assert_non_null(strstr(err.text, "weights do not fit"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(conv_pads_and_strides),
        ARENA_TEST(conv_dilates),
        ARENA_TEST(conv_pads_with_a_value),
        ARENA_TEST(conv_groups),
        ARENA_TEST(conv_activates),
        ARENA_TEST(deconv_overlaps_and_cuts),
        ARENA_TEST(deconv_strides_and_dilates),
        ARENA_TEST(deconv_groups_are_output_major),
        ARENA_TEST(conv_refuses_hostile_attributes),
        ARENA_TEST(conv_refuses_overflowing_weights),
        ARENA_TEST(conv_wants_rank_3_and_room),
        ARENA_TEST(int8_terms),
        ARENA_TEST(innerproduct_flattens),
        ARENA_TEST(innerproduct_refuses_hostile_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
