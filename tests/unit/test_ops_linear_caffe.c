/* Caffe layers with weights, read from a prototxt: attributes, order of weights, and where errors
 * point. */
#include "caffe/net.h"
#include "import/import.h"
#include "op_fixture.h"
#include "ops/affine.h"
#include "ops/conv.h"
#include "ops/innerproduct.h"
#include "ops/input.h"
#include "ops/unary.h"

/* Weights 1, 2, 3, ...; those of a BatchNorm's blobs are set by a test. */
struct source {
    q8_arena *arena;
    float variance, factor;
};

static q8_code get_blob(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                        int n_dim, const float **data, q8_err *err)
{
    const struct source *s = user;
    size_t count = 1;
    for (int i = 0; i < n_dim; i++)
        count *= (size_t)dim[i];
    float *blob = q8_arena_array(s->arena, count, sizeof(*blob));
    assert_non_null(blob);
    for (size_t i = 0; i < count; i++)
        blob[i] = (float)(i + 1);
    if (strcmp(layer->type, "BatchNorm") == 0 && index == 1)
        blob[count - 1] = s->variance;
    if (strcmp(layer->type, "BatchNorm") == 0 && index == 2)
        blob[0] = s->factor;
    *data = blob;
    (void)err;
    return Q8_OK;
}

static q8_code import(q8_arena *arena, const char *text, q8_graph **graph, q8_err *err)
{
    struct source source = {.arena = arena, .variance = 8, .factor = 2};
    if (strstr(text, "no variance"))
        source.variance = -1;
    if (strstr(text, "no factor"))
        source.factor = 0;
    const q8_weight_source weights = {.user = &source, .get = get_blob};
    q8_import_opts opts = {.weights = &weights};
    if (strstr(text, "with size")) {
        opts.width = 12;
        opts.height = 10;
    }
    q8_caffe_net *net;
    memset(err, 0, sizeof(*err));
    q8_code code = q8_caffe_parse(&net, "net", text, strlen(text), arena, NULL, err);
    return code ? code : q8_import_caffe(graph, net, &opts, arena, NULL, err);
}

/* The graph of a net whose input has `dims` and whose layer 'x' is `body`. */
static q8_code import_layer(q8_arena *arena, const char *dims, const char *body, q8_graph **graph,
                            q8_err *err)
{
    const char *text = q8_arena_printf(arena,
                                       "layer { name: 'data' type: 'Input' top: 'data'\n"
                                       "  input_param { shape { %s } } }\n"
                                       "layer { name: 'x' bottom: 'data' top: 'x'\n%s }\n",
                                       dims, body);
    return import(arena, text, graph, err);
}

static q8_graph *must_import(q8_arena *arena, const char *dims, const char *body)
{
    static q8_err err;
    q8_graph *graph = NULL;
    const q8_code code = import_layer(arena, dims, body, &graph, &err);
    if (code)
        fail_msg("%d:%d: %s", err.line, err.column, err.text);
    return graph;
}

/* The node of layer 'x' itself. */
static const q8_node *node_of(const q8_graph *graph, const q8_op *op)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (strcmp(graph->node[i]->name, "x") == 0) {
            assert_ptr_equal(graph->node[i]->op, op);
            return graph->node[i];
        }
    fail_msg("no node");
    return NULL;
}

static void check_weight(const q8_node *node, int slot, const float *expected, size_t count)
{
    assert_int_equal(node->weight[slot].count, count);
    for (size_t i = 0; i < count; i++)
        assert_float_equal(node->weight[slot].data[i], expected[i], 1e-6f);
}

static const char picture[] = "dim: 1 dim: 4 dim: 9 dim: 7";

static void convolution_windows(void **state)
{
    /* kernel, stride, pad, dilation; height before width */
    const struct {
        const char *text;
        int expected[8];
    } cases[] = {
        {"kernel_size: 3", {3, 3, 1, 1, 0, 0, 1, 1}},
        {"kernel_size: 3 kernel_size: 2", {3, 2, 1, 1, 0, 0, 1, 1}},
        {"kernel_h: 2 kernel_w: 5 pad_w: 2", {2, 5, 1, 1, 0, 2, 1, 1}},
        {"kernel_size: 3 pad: 2 stride: 3 dilation: 2", {3, 3, 3, 3, 2, 2, 2, 2}},
        {"kernel_size: 3 pad: [1, 2] stride: [3, 2] dilation: [1, 3]", {3, 3, 3, 2, 1, 2, 1, 3}},
        {"kernel_size: 1 stride_h: 2 stride_w: 3 pad_h: 1", {1, 1, 2, 3, 1, 0, 1, 1}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *body = q8_arena_printf(
            *state, "type: 'Convolution' convolution_param { num_output: 6 %s }", cases[i].text);
        const q8_graph *graph = must_import(*state, picture, body);
        const q8_conv_attr *a = node_of(graph, &q8_op_convolution)->attr;
        const int got[] = {a->kernel_h, a->kernel_w, a->stride_h,   a->stride_w,
                           a->pad_top,  a->pad_left, a->dilation_h, a->dilation_w};
        assert_memory_equal(got, cases[i].expected, sizeof(got));
        assert_int_equal(a->pad_bottom, a->pad_top);
        assert_int_equal(a->pad_right, a->pad_left);
        assert_int_equal(a->num_output, 6);
        assert_int_equal(a->weight_data_size, 6 * 4 * a->kernel_h * a->kernel_w);
        assert_int_equal(a->bias_term, 1);
    }
}

static void groups_decide_the_type(void **state)
{
    const struct {
        const char *body;
        const q8_op *op;
        int num_output, group;
    } cases[] = {
        {"type: 'Convolution' convolution_param { num_output: 6 kernel_size: 1 group: 2 }",
         &q8_op_convolutiondepthwise, 6, 2},
        {"type: 'Deconvolution' convolution_param { num_output: 6 kernel_size: 1 group: 2 }",
         &q8_op_deconvolutiondepthwise, 6, 2},
        {"type: 'Deconvolution' convolution_param { num_output: 6 kernel_size: 1 }",
         &q8_op_deconvolution, 6, 1},
        {"type: 'ConvolutionDepthwise' convolution_param { kernel_size: 1 }",
         &q8_op_convolutiondepthwise, 4, 4},
        {"type: 'DepthwiseConvolution' convolution_param { num_output: 8 kernel_size: 1 }",
         &q8_op_convolutiondepthwise, 8, 4},
        {"type: 'DepthwiseConvolution' convolution_param { kernel_size: 1 group: 2 }",
         &q8_op_convolutiondepthwise, 4, 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const q8_graph *graph = must_import(*state, picture, cases[i].body);
        const q8_conv_attr *a = node_of(graph, cases[i].op)->attr;
        assert_int_equal(a->num_output, cases[i].num_output);
        assert_int_equal(a->group, cases[i].group);
    }
}

/* Caffe stores [group][input][output][kernel], ncnn [group][output][input][kernel]. */
static void deconvolution_weights_are_reordered(void **state)
{
    const q8_graph *graph = must_import(*state, picture,
                                        "type: 'Deconvolution' convolution_param { num_output: 6 "
                                        "kernel_h: 1 kernel_w: 2 group: 2 }");
    const q8_node *node = node_of(graph, &q8_op_deconvolutiondepthwise);
    const float expected[] = {1,  2,  7,  8,  3,  4,  9,  10, 5,  6,  11, 12,
                              13, 14, 19, 20, 15, 16, 21, 22, 17, 18, 23, 24};
    const float bias[] = {1, 2, 3, 4, 5, 6};
    check_weight(node, 0, expected, 24);
    check_weight(node, 1, bias, 6);
}

static void innerproduct_weights(void **state)
{
    const char *format = "type: 'InnerProduct' inner_product_param { num_output: 2 %s }";
    const float straight[] = {1, 2, 3, 4, 5, 6}, transposed[] = {1, 3, 5, 2, 4, 6};
    const q8_node *node = node_of(
        must_import(*state, "dim: 1 dim: 3", q8_arena_printf(*state, format, "bias_term: false")),
        &q8_op_innerproduct);
    check_weight(node, 0, straight, 6);
    check_weight(node, 1, NULL, 0);
    node = node_of(must_import(*state, "dim: 1 dim: 3 dim: 1",
                               q8_arena_printf(*state, format, "transpose: true")),
                   &q8_op_innerproduct);
    check_weight(node, 0, transposed, 6);
    check_weight(node, 1, straight, 2);
}

/* ncnn would keep a single row at rank 2, Caffe's output is a vector. */
static void innerproduct_of_one_row_is_a_vector(void **state)
{
    const q8_graph *graph =
        must_import(*state, "dim: 1 dim: 1 dim: 3",
                    "type: 'InnerProduct' inner_product_param { num_output: 2 }");
    const q8_node *node = node_of(graph, &q8_op_innerproduct);
    const q8_shape expected = {1, {2}};
    assert_true(q8_shape_equal(&graph->tensor[node->out[0]].shape, &expected));
}

static void batchnorm_divides_by_the_factor(void **state)
{
    const q8_node *node =
        node_of(must_import(*state, "dim: 1 dim: 2", "type: 'BatchNorm'"), &q8_op_batchnorm);
    const float ones[] = {1, 1}, mean[] = {0.5f, 1}, variance[] = {0.5f, 4}, zeros[] = {0, 0};
    check_weight(node, 0, ones, 2);
    check_weight(node, 1, mean, 2);
    check_weight(node, 2, variance, 2);
    check_weight(node, 3, zeros, 2);
    assert_float_equal(((const q8_batchnorm_attr *)node->attr)->eps, 1e-5f, 0);
    node = node_of(must_import(*state, "dim: 1 dim: 2", "type: 'BatchNorm' # no factor\n"),
                   &q8_op_batchnorm);
    check_weight(node, 1, zeros, 2);
    check_weight(node, 2, zeros, 2);
}

static void scale_and_bias_layers(void **state)
{
    const float own[] = {1, 2, 3, 4}, ones[] = {1, 1, 1, 1};
    const q8_node *node = node_of(
        must_import(*state, picture, "type: 'Scale' scale_param { axis: -3 bias_term: true }"),
        &q8_op_scale);
    check_weight(node, 0, own, 4);
    check_weight(node, 1, own, 4);
    node = node_of(must_import(*state, picture, "type: 'Scale' scale_param { num_axes: 0 }"),
                   &q8_op_scale);
    check_weight(node, 0, ones, 4);
    check_weight(node, 1, NULL, 0);
    node = node_of(must_import(*state, picture, "type: 'Bias'"), &q8_op_bias);
    check_weight(node, 0, own, 4);
    node = node_of(must_import(*state, "dim: 1 dim: 4", "type: 'Bias'"), &q8_op_scale);
    check_weight(node, 0, ones, 4);
    check_weight(node, 1, own, 4);
}

static void element_layers(void **state)
{
    const q8_graph *graph = must_import(*state, picture, "type: 'ReLU6'");
    const q8_clip_attr *clip = node_of(graph, &q8_op_clip)->attr;
    assert_float_equal(clip->min, 0, 0);
    assert_float_equal(clip->max, 6, 0);
    graph = must_import(*state, picture,
                        "type: 'Dropout' dropout_param { dropout_ratio: 0.25 scale_train: false }");
    const q8_dropout_attr *dropout = node_of(graph, &q8_op_dropout)->attr;
    assert_float_equal(dropout->scale, 0.75f, 0);
    graph = must_import(*state, picture, "type: 'PReLU' prelu_param { channel_shared: true }");
    check_weight(node_of(graph, &q8_op_prelu), 0, (const float[]){1}, 1);
    graph = must_import(*state, picture, "type: 'Power' power_param { power: 2 shift: 3 }");
    const q8_power_attr *power = node_of(graph, &q8_op_power)->attr;
    assert_float_equal(power->scale, 1, 0);
    assert_float_equal(power->shift, 3, 0);
}

static void inputs_with_several_tops(void **state)
{
    static q8_err err;
    q8_graph *graph;
    const char *two = "layer { name: 'in' type: 'Input' top: 'a' top: 'b' input_param {"
                      " shape { dim: 5 dim: 3 } shape { dim: 1 dim: 2 dim: 4 } } }";
    assert_int_equal(import(*state, two, &graph, &err), Q8_OK);
    const q8_shape a = {1, {3}}, b = {2, {2, 4}};
    assert_int_equal(graph->n_nodes, 2);
    assert_string_equal(graph->node[0]->name, "in_a");
    assert_string_equal(graph->node[1]->name, "in_b");
    assert_true(q8_shape_equal(&graph->tensor[graph->node[0]->out[0]].shape, &a));
    assert_true(q8_shape_equal(&graph->tensor[graph->node[1]->out[0]].shape, &b));
    graph = must_import(*state, "dim: 1 dim: 3 dim: -1 dim: 0", "type: 'ReLU' # with size\n");
    const q8_shape sized = {3, {3, 10, 12}};
    assert_true(q8_shape_equal(&graph->tensor[graph->node[0]->out[0]].shape, &sized));
}

/* What is wrong, where (line 4 is the body's first), and what is said about it. */
static void errors_point_at_the_field(void **state)
{
#define CONV(text) "type: 'Convolution'\nconvolution_param {\n" text "\n}"
    const struct {
        const char *dims, *body;
        q8_code code;
        int line;
        const char *words;
    } cases[] = {
        {picture, "type: 'Convolution'", Q8_EMODEL, 3, "num_output missing"},
        {picture, CONV("kernel_size: 3"), Q8_EMODEL, 5, "num_output missing"},
        {picture, CONV("num_output: 0 kernel_size: 3"), Q8_EMODEL, 6, "num_output is 0"},
        {picture, CONV("num_output: 6"), Q8_EMODEL, 5, "kernel_size missing"},
        {picture, CONV("num_output: 6 kernel_h: 3"), Q8_EMODEL, 6, "kernel_w missing"},
        {picture, CONV("num_output: 6\nkernel_size: 3\nkernel_w: 3"), Q8_EMODEL, 8, "both"},
        {picture, CONV("num_output: 6\nkernel_size: 0"), Q8_EMODEL, 7, "kernel_size is 0"},
        {picture, CONV("num_output: 6 kernel_size: 3\nstride: 0"), Q8_EMODEL, 7, "stride is 0"},
        {picture, CONV("num_output: 6 kernel_size: [3, 3, 3]"), Q8_EUNSUPPORTED, 6, "3 values"},
        {picture, CONV("num_output: 6 kernel_size: 3\npad: 4294967295"), Q8_EMODEL, 7, "pad is"},
        {picture, CONV("num_output: 6 kernel_size: 3\ngroup: 3"), Q8_EMODEL, 7, "3 groups"},
        {picture, CONV("num_output: 6 kernel_size: 3\ngroup: 4"), Q8_EMODEL, 7, "4 groups"},
        {picture, CONV("num_output: 6 kernel_size: 3\ngroup: 0"), Q8_EMODEL, 7, "group is 0"},
        {picture, CONV("num_output: 6 kernel_size: 3\naxis: 2"), Q8_EUNSUPPORTED, 7, "axis 2"},
        {picture, CONV("num_output: 6\nkernel_size: 10"), Q8_EMODEL, 7, "larger than the input's"},
        {picture, CONV("num_output: 16777216\nkernel_size: 4096"), Q8_EMODEL, 6, "too many"},
        {"dim: 1 dim: 4", CONV("num_output: 6 kernel_size: 1"), Q8_EUNSUPPORTED, 3, "not channels"},
        {picture, "bottom: 'data' type: 'Convolution'", Q8_EUNSUPPORTED, 3, "2 bottoms"},
        {picture, "type: 'InnerProduct'", Q8_EMODEL, 3, "num_output missing"},
        {picture, "type: 'InnerProduct' inner_product_param { num_output: 2\naxis: 0 }",
         Q8_EUNSUPPORTED, 5, "axis 0 is the batch"},
        {picture, "type: 'InnerProduct' inner_product_param { num_output: 2\naxis: 4 }", Q8_EMODEL,
         5, "axis 4 is out of range"},
        {picture, "type: 'BatchNorm' # no variance\n", Q8_EMODEL, 3, "variance of channel 3"},
        {picture, "type: 'Scale' bottom: 'data' bottom: 'data'", Q8_EUNSUPPORTED, 3, "3 bottoms"},
        {picture, "type: 'Scale'\nscale_param { num_axes: 4 }", Q8_EMODEL, 5, "num_axes 4"},
        {picture, "type: 'Bias'\nbias_param { axis: 0 }", Q8_EUNSUPPORTED, 5, "batch"},
        {picture, "type: 'Clip'", Q8_EMODEL, 3, "clip_param missing"},
        {"", "type: 'ReLU'", Q8_EUNSUPPORTED, 2, "0 dims"},
        {"dim: 1 dim: 0 dim: 9 dim: 9", "type: 'ReLU'", Q8_EMODEL, 2, "dim 1 of the input is 0"},
        {"dim: 1 dim: 3 dim: 0 dim: 9", "type: 'ReLU'", Q8_EMODEL, 1, "--size"},
        {"dim: 1 dim: 3 dim: 9 dim: 9 dim: 9", "type: 'ReLU'", Q8_EUNSUPPORTED, 2, "5 dims"},
        {"dim: 1 dim: 9999999999", "type: 'ReLU'", Q8_EMODEL, 2, "9999999999"},
    };
#undef CONV
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static q8_err err;
        q8_graph *graph;
        const q8_code code = import_layer(*state, cases[i].dims, cases[i].body, &graph, &err);
        if (code != cases[i].code || err.line != cases[i].line || !strstr(err.text, cases[i].words))
            fail_msg("case %zu: code %d, line %d: %s", i, code, err.line, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(convolution_windows),
        ARENA_TEST(groups_decide_the_type),
        ARENA_TEST(deconvolution_weights_are_reordered),
        ARENA_TEST(innerproduct_weights),
        ARENA_TEST(innerproduct_of_one_row_is_a_vector),
        ARENA_TEST(batchnorm_divides_by_the_factor),
        ARENA_TEST(scale_and_bias_layers),
        ARENA_TEST(element_layers),
        ARENA_TEST(inputs_with_several_tops),
        ARENA_TEST(errors_point_at_the_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
