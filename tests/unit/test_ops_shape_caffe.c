/* Caffe's pooling, normalisation, shape and SSD layers, read from a prototxt: what they become, and
 * where errors point. That the results are Caffe's and ncnn's is the corpus's task. */
#include "caffe/net.h"
#include "import/import.h"
#include "op_fixture.h"
#include "ops/pooling.h"
#include "ops/simple.h"

static const char one_input[] = "layer { name: 'data' type: 'Input' top: 'data'"
                                " input_param { shape { dim: 1 dim: 4 dim: 9 dim: 7 } } }\n";
static const char two_inputs[] = "layer { name: 'data' type: 'Input' top: 'data'"
                                 " input_param { shape { dim: 1 dim: 4 dim: 9 dim: 7 } } }"
                                 "layer { name: 'more' type: 'Input' top: 'more'"
                                 " input_param { shape { dim: 1 dim: 3 dim: 5 dim: 6 } } }\n";

static q8_code get_ones(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                        int n_dim, const float **data, q8_err *err)
{
    static const float ones[] = {1, 1, 1, 1};
    (void)user, (void)layer, (void)index, (void)err;
    assert_int_equal(n_dim, 1);
    assert_in_range(dim[0], 1, 4);
    *data = ones;
    return Q8_OK;
}

/* The layer starts in column 1 of line 2. */
static q8_code import(q8_arena *arena, const char *inputs, const char *layer, q8_graph **graph,
                      q8_err *err)
{
    const q8_weight_source weights = {.get = get_ones};
    const q8_import_opts opts = {.weights = &weights};
    const char *text = q8_arena_printf(arena, "%s%s", inputs, layer);
    q8_caffe_net *net;
    memset(err, 0, sizeof(*err));
    q8_code code = q8_caffe_parse(&net, "net", text, strlen(text), arena, NULL, err);
    return code ? code : q8_import_caffe(graph, net, &opts, arena, NULL, err);
}

static const q8_graph *must_import(q8_arena *arena, const char *inputs, const char *layer)
{
    static q8_err err;
    q8_graph *graph = NULL;
    if (import(arena, inputs, layer, &graph, &err))
        fail_msg("%s: %d:%d: %s", layer, err.line, err.column, err.text);
    return graph;
}

static const q8_node *last_node(const q8_graph *graph)
{
    return graph->node[graph->n_nodes - 1];
}

static const q8_shape *out_shape(const q8_graph *graph)
{
    return &graph->tensor[last_node(graph)->out[0]].shape;
}

/* An int attribute by ncnn's key. */
static int get_int(const q8_node *node, int key)
{
    for (int i = 0; i < node->op->n_fields; i++)
        if (node->op->fields[i].key == key)
            return *(const int *)((const char *)node->attr + node->op->fields[i].offset);
    fail_msg("no key %d", key);
    return 0;
}

static const char *layer_of(q8_arena *arena, const char *type, const char *param)
{
    return q8_arena_printf(arena, "layer { name: 'x' type: '%s' bottom: 'data' top: 'x'\n%s }\n",
                           type, param);
}

static void pooling(void **state)
{
    const struct {
        const char *param;
        int mode, right, bottom, include, out_h, out_w, pads;
    } cases[] = {
        {"kernel_size: 3 stride: 2", 0, 0, 0, 0, 4, 3, 0},
        {"kernel_size: 2 stride: 2 round_mode: FLOOR", 1, 0, 0, 0, 4, 3, 0},
        {"kernel_size: 2 stride: 2 ceil_mode: false", 1, 0, 0, 0, 4, 3, 0},
        {"kernel_size: 2 stride: 2", 0, 0, 0, 0, 5, 4, 0},
        {"kernel_size: 3 stride: 2 pad: 1", 1, 1, 1, 0, 5, 4, 0},
        {"kernel_size: 2 stride: 2 pad: 1", 1, 0, 0, 0, 5, 4, 0},
        {"pool: AVE kernel_size: 3 stride: 2 pad: 1", 1, 1, 1, 1, 5, 4, 0},
        {"pool: AVE kernel_size: 4 stride: 2 pad: 1", 0, 0, 0, 0, 5, 4, 1},
        {"pool: AVE kernel_h: 1 kernel_w: 3 stride: 1", 0, 0, 0, 0, 9, 5, 0},
        {"kernel_size: 9 stride: 3", 1, 2, 0, 0, 1, 1, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *param = q8_arena_printf(*state, "pooling_param { %s }", cases[i].param);
        const q8_graph *graph = must_import(*state, one_input, layer_of(*state, "Pooling", param));
        const q8_node *node = last_node(graph);
        const q8_pooling_attr *a = node->attr;
        assert_int_equal(graph->n_nodes, 2 + cases[i].pads);
        assert_int_equal(a->mode, cases[i].mode);
        assert_int_equal(a->pad_right, cases[i].right);
        assert_int_equal(a->pad_bottom, cases[i].bottom);
        assert_int_equal(a->count_include_pad, cases[i].include);
        const q8_shape expected = SHAPE3(4, cases[i].out_h, cases[i].out_w);
        assert_true(q8_shape_equal(out_shape(graph), &expected));
    }
}

static void crop_size(void **state)
{
    const char *layer = "layer { name: 'x' type: 'Crop' bottom: 'data' bottom: 'more' top: 'x'"
                        " crop_param { axis: 2 offset: 4 offset: 1 } }";
    const q8_graph *graph = must_import(*state, two_inputs, layer);
    const q8_node *node = last_node(graph);
    const int expected[][2] = {{0, 1}, {1, 4}, {2, 0}, {3, 6}, {4, 5}, {5, -233}};
    assert_int_equal(node->n_in, 1); /* 3 channels there, 4 here: ncnn would crop them too */
    for (size_t i = 0; i < COUNT(expected); i++)
        assert_int_equal(get_int(node, expected[i][0]), expected[i][1]);
    assert_true(q8_shape_equal(out_shape(graph), &SHAPE3(4, 5, 6)));
}

static void reshape_dims(void **state)
{
    const struct {
        const char *type, *param;
        int c, h, w;
    } cases[] = {
        {"Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 7 } }", -233, -1, 7},
        {"Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: -1 } }", -233, 4, -1},
        {"Reshape", "reshape_param { shape { dim: 1 dim: -1 } }", -233, -233, -1},
        {"Reshape", "reshape_param { shape { dim: 7 dim: 9 dim: 4 } axis: 1 }", 7, 9, 4},
        {"Reshape", "reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 }", -233, -1, 7},
        {"Flatten", "flatten_param { axis: -2 }", -233, 4, -1},
        {"Flatten", "flatten_param { end_axis: 2 }", -233, -1, 7},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *layer = layer_of(*state, cases[i].type, cases[i].param);
        const q8_node *node = last_node(must_import(*state, one_input, layer));
        const q8_reshape_attr *a = node->attr;
        assert_ptr_equal(node->op, &q8_op_reshape);
        assert_int_equal(a->c, cases[i].c);
        assert_int_equal(a->h, cases[i].h);
        assert_int_equal(a->w, cases[i].w);
    }
}

static void permute_orders(void **state)
{
    const char *const orders[] = {"0 1 2 3", "0 1 3 2", "0 2 1 3", "0 2 3 1", "0 3 1 2", "0 3 2 1"};
    for (int i = 0; i < 6; i++) {
        const char *o = orders[i];
        const char *param =
            q8_arena_printf(*state, "permute_param { order: %c order: %c order: %c order: %c }",
                            o[0], o[2], o[4], o[6]);
        const char *layer = layer_of(*state, "Permute", param);
        assert_int_equal(get_int(last_node(must_import(*state, one_input, layer)), 0), i);
    }
}

static void within_channel_has_no_k(void **state)
{
    const char *layer = layer_of(*state, "LRN", "lrn_param { norm_region: WITHIN_CHANNEL k: 5 }");
    const q8_lrn_attr *a = last_node(must_import(*state, one_input, layer))->attr;
    assert_int_equal(a->region, Q8_LRN_WITHIN_CHANNEL);
    assert_float_equal(a->bias, 1, 0);
    layer = layer_of(*state, "LRN", "lrn_param { k: 5 }");
    a = last_node(must_import(*state, one_input, layer))->attr;
    assert_float_equal(a->bias, 5, 0);
}

static void priors_of_duplicate_ratios(void **state)
{
    const struct {
        const char *param;
        int boxes;
    } cases[] = {
        {"min_size: 2", 1},
        {"min_size: 2 max_size: 3", 2},
        {"min_size: 2 aspect_ratio: 1 aspect_ratio: 2", 3},
        {"min_size: 2 aspect_ratio: 2 aspect_ratio: 0.5 aspect_ratio: 2", 3},
        {"min_size: 2 aspect_ratio: 2 aspect_ratio: 0.5 flip: false", 3},
        {"min_size: 2 min_size: 3 aspect_ratio: 2 aspect_ratio: 3", 10},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *layer = q8_arena_printf(
            *state,
            "layer { name: 'x' type: 'PriorBox' bottom: 'data' bottom: 'more' top: 'x'"
            " prior_box_param { %s } }",
            cases[i].param);
        const q8_graph *graph = must_import(*state, two_inputs, layer);
        assert_true(q8_shape_equal(out_shape(graph), &(q8_shape){2, {2, 4 * 63 * cases[i].boxes}}));
    }
}

/* Each error points to its field in line 3, after so many characters, or to the layer in line 2. */
static void errors_point_to_fields(void **state)
{
    const struct {
        const char *type, *param, *field; /* NULL: the layer */
        q8_code code;
    } cases[] = {
        {"Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", "pool:", Q8_EUNSUPPORTED},
        {"Pooling", "pooling_param { kernel_size: 0 }", "kernel_size", Q8_EMODEL},
        {"Pooling", "pooling_param { kernel_size: 2 stride: 0 }", "stride", Q8_EMODEL},
        {"Pooling", "pooling_param { kernel_size: 2 stride: 4000000000 }", "stride", Q8_EMODEL},
        {"Pooling", "pooling_param { kernel_h: 2 }", "kernel_h", Q8_EMODEL},
        {"Pooling", "pooling_param { kernel_size: 2 pad: 2 }", "pad: 2", Q8_EMODEL},
        {"Pooling", "pooling_param { kernel_size: 10 }", "kernel_size", Q8_EMODEL},
        {"Pooling", "pooling_param { kernel_size: 1 stride: 5 }", "stride", Q8_EMODEL},
        {"Pooling", "pooling_param { global_pooling: true kernel_size: 2 }", "global", Q8_EMODEL},
        {"Pooling", "pooling_param { }", "pooling_param", Q8_EMODEL},
        {"Pooling", "", NULL, Q8_EMODEL},
        {"LRN", "lrn_param { local_size: 4 }", "local_size", Q8_EMODEL},
        {"Softmax", "softmax_param { axis: 4 }", "axis", Q8_EMODEL},
        {"Softmax", "softmax_param { axis: 0 }", "axis", Q8_EUNSUPPORTED},
        {"Concat", "concat_param { concat_dim: 0 }", "concat_dim", Q8_EUNSUPPORTED},
        {"Concat", "concat_param { concat_dim: 4294967295 }", "concat_dim", Q8_EMODEL},
        {"Slice", "slice_param { slice_point: 2 }", "slice_point", Q8_EMODEL},
        {"Slice", "top: 'y' slice_param { slice_point: 4 }", "slice_point", Q8_EMODEL},
        {"Slice", "top: 'y' top: 'z'", NULL, Q8_EMODEL},
        {"Flatten", "flatten_param { axis: 0 }", "axis", Q8_EUNSUPPORTED},
        {"Flatten", "flatten_param { axis: 3 end_axis: 1 }", "end_axis", Q8_EMODEL},
        {"Reshape", "reshape_param { shape { dim: -1 dim: 7 } }", "shape {", Q8_EUNSUPPORTED},
        {"Reshape", "reshape_param { shape { dim: 4 dim: -1 } }", "shape {", Q8_EUNSUPPORTED},
        {"Reshape", "reshape_param { shape { dim: 1 } num_axes: 0 }", "shape {", Q8_EUNSUPPORTED},
        {"Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: -1 } }", "shape {", Q8_EMODEL},
        {"Reshape", "reshape_param { shape { dim: 0 dim: -2 } }", "shape {", Q8_EMODEL},
        {"Reshape", "reshape_param { axis: 6 }", "axis", Q8_EMODEL},
        {"Reshape", "reshape_param { num_axes: 2147483647 }", "num_axes", Q8_EMODEL},
        {"Permute", "permute_param { order: 1 order: 0 }", "order", Q8_EUNSUPPORTED},
        {"Permute", "permute_param { order: 0 order: 0 }", "order", Q8_EMODEL},
        {"Permute", "permute_param { order: 0 order: 4 }", "order", Q8_EMODEL},
        {"Crop", "bottom: 'data' crop_param { axis: 2 offset: 1 }", "offset", Q8_EMODEL},
        {"Crop", "bottom: 'data' crop_param { offset: 0 offset: 0 offset: 0 }", "offset",
         Q8_EMODEL},
        {"Eltwise", "bottom: 'data' eltwise_param { coeff: 1 }", "coeff", Q8_EMODEL},
        {"Eltwise", "bottom: 'data' eltwise_param { operation: MAX coeff: 1 coeff: 1 }", "coeff",
         Q8_EMODEL},
        {"ShuffleChannel", "shuffle_channel_param { group: 0 }", "group", Q8_EMODEL},
        {"ShuffleChannel", "shuffle_channel_param { group: 3 }", NULL, Q8_EMODEL},
        {"PriorBox", "bottom: 'data' prior_box_param { }", "prior_box_param", Q8_EMODEL},
        {"PriorBox", "bottom: 'data' prior_box_param { min_size: 0 }", "min_size", Q8_EMODEL},
        {"PriorBox", "bottom: 'data' prior_box_param { min_size: 3 max_size: 2 }", "max_size",
         Q8_EMODEL},
        {"PriorBox", "bottom: 'data' prior_box_param { min_size: 3 step: -1 }", "step", Q8_EMODEL},
        {"DetectionOutput",
         "bottom: 'data' bottom: 'data' detection_output_param { num_classes: 3 }",
         "detection_output_param", Q8_EUNSUPPORTED},
        {"DetectionOutput",
         "detection_output_param { num_classes: 3 background_label_id: 1 code_type: CENTER_SIZE }",
         "background_label_id", Q8_EUNSUPPORTED},
        {"DetectionOutput", "detection_output_param { num_classes: 1 }", "num_classes", Q8_EMODEL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        static q8_err err;
        q8_graph *graph;
        const char *layer = layer_of(*state, cases[i].type, cases[i].param);
        const q8_code code = import(*state, one_input, layer, &graph, &err);
        const char *at = cases[i].field ? strstr(cases[i].param, cases[i].field) : NULL;
        const int line = at ? 3 : 2, column = at ? (int)(at - cases[i].param) + 1 : 1;
        if (code != cases[i].code || (code && (err.line != line || err.column != column)))
            fail_msg("%s %s: code %d at %d:%d instead of %d at %d:%d: %s", cases[i].type,
                     cases[i].param, (int)code, err.line, err.column, (int)cases[i].code, line,
                     column, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(pooling),
        ARENA_TEST(crop_size),
        ARENA_TEST(reshape_dims),
        ARENA_TEST(permute_orders),
        ARENA_TEST(within_channel_has_no_k),
        ARENA_TEST(priors_of_duplicate_ratios),
        ARENA_TEST(errors_point_to_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
