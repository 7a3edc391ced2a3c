/* Caffe's layers of elements, channels and reductions, read from a prototxt and run in plain C:
 * examples worked out by hand from Caffe's formulas, and where errors point. */
#include <stdio.h>

#include "caffe/net.h"
#include "import/import.h"
#include "op_fixture.h"

enum { LARGEST = 64 };

/* Blob i of any layer holds i + 1, i + 1.5, i + 2, … */
static q8_code get_ramp(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                        int n_dim, const float **data, q8_err *err)
{
    static float ramp[5][LARGEST];
    (void)user, (void)layer, (void)err;
    int count = 1;
    for (int i = 0; i < n_dim; i++)
        count *= dim[i];
    assert_in_range(count, 1, LARGEST);
    assert_in_range(index, 0, 4);
    for (int i = 0; i < LARGEST; i++)
        ramp[index][i] = (float)(index + 1) + 0.5F * (float)i;
    *data = ramp[index];
    return Q8_OK;
}

static q8_code import(q8_arena *arena, const char *text, q8_graph **graph, q8_err *err)
{
    const q8_weight_source weights = {.get = get_ramp};
    const q8_import_opts opts = {.weights = &weights};
    q8_caffe_net *net;
    memset(err, 0, sizeof(*err));
    q8_code code = q8_caffe_parse(&net, "net", text, strlen(text), arena, NULL, err);
    return code ? code : q8_import_caffe(graph, net, &opts, arena, NULL, err);
}

/* Input number n is filled with the n-th list. */
static void run_node(q8_arena *arena, const q8_graph *graph, const q8_node *node, float **value,
                     const float *input)
{
    static q8_err err;
    q8_shape in_shape[4], out_shape[2];
    const float *in[4];
    float *out[2];
    assert_true(node->n_in <= 4 && node->n_out <= 2);
    for (int i = 0; i < node->n_in; i++) {
        in_shape[i] = graph->tensor[node->in[i]].shape;
        in[i] = value[node->in[i]];
        assert_non_null(in[i]);
    }
    for (int i = 0; i < node->n_out; i++) {
        out_shape[i] = graph->tensor[node->out[i]].shape;
        out[i] = value[node->out[i]] =
            q8_arena_array(arena, q8_shape_count(&out_shape[i]), sizeof(float));
        assert_non_null(out[i]);
    }
    if (node->op == &q8_op_input) {
        memcpy(out[0], input, q8_shape_count(&out_shape[0]) * sizeof(float));
        return;
    }
    const q8_forward f = {node, in_shape, out_shape, in, out};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
}

/* Runs the network and compares its only, or its last, output. */
static void check_net(q8_arena *arena, const char *text, const float *const *inputs,
                      q8_shape expected, const float *values)
{
    static q8_err err;
    q8_graph *graph;
    char shape[64];
    if (import(arena, text, &graph, &err))
        fail_msg("%s: %d:%d: %s", text, err.line, err.column, err.text);
    float **value = q8_arena_array(arena, (size_t)graph->n_tensors, sizeof(*value));
    for (int i = 0; i < graph->n_nodes; i++) {
        const bool is_input = graph->node[i]->op == &q8_op_input;
        run_node(arena, graph, graph->node[i], value, is_input ? *inputs++ : NULL);
    }
    const int last = graph->output[graph->n_outputs - 1];
    if (!q8_shape_equal(&graph->tensor[last].shape, &expected))
        fail_msg("%s: shape %s", text, q8_shape_text(&graph->tensor[last].shape, shape));
    for (size_t i = 0; i < q8_shape_count(&expected); i++)
        if (!(value[last][i] - values[i] <= 1e-5F && values[i] - value[last][i] <= 1e-5F))
            fail_msg("%s: [%zu] is %g, not %g", text, i, (double)value[last][i], (double)values[i]);
}

#define INPUT(name, dims)                                                                          \
    "layer { name: '" name "' type: 'Input' top: '" name "' input_param { shape { dim: 1 " dims    \
    " } } }\n"
#define LAYER(type, param) "layer { name: 'x' type: '" type "' bottom: 'data' top: 'x'\n" param " }"
#define LAYER2(type, param)                                                                        \
    "layer { name: 'x' type: '" type "' bottom: 'data' bottom: 'more' top: 'x'\n" param " }"

#define DATA(...) ((const float *const[]){(const float[]){__VA_ARGS__}})
#define PICTURE   INPUT("data", "dim: 2 dim: 2 dim: 3")
#define VECTOR    INPUT("data", "dim: 3")

static const float picture[] = {1, -2, 3, -4, 5, -6, 0, 4, 2, 9, -1, 1};
static const float *const one_picture[] = {picture};

static const q8_shape vector3 = {1, {3}}, whole = {3, {2, 2, 3}};

/* --- functions of an element ------------------------------------------------------------------ */

static void elements(void **state)
{
    const struct {
        const char *text;
        float values[3];
    } cases[] = {
        {VECTOR LAYER("AbsVal", ""), {2, 0, 1}},
        {VECTOR LAYER("BNLL", ""), {0.126928F, 0.693147F, 1.313262F}},
        {VECTOR LAYER("ELU", ""), {-0.864665F, 0, 1}},
        {VECTOR LAYER("ELU", "elu_param { alpha: 0.5 }"), {-0.432332F, 0, 1}},
        {VECTOR LAYER("Exp", ""), {0.135335F, 1, 2.718282F}},
        {VECTOR LAYER("Exp", "exp_param { base: 2 scale: 2 shift: 1 }"), {0.125F, 2, 8}},
        {VECTOR LAYER("Log", "log_param { shift: 3 }"), {0, 1.098612F, 1.386294F}},
        {VECTOR LAYER("Log", "log_param { base: 10 scale: 3 shift: 7 }"), {0, 0.845098F, 1}},
        {VECTOR LAYER("Swish", ""), {-0.238406F, 0, 0.731059F}},
        {VECTOR LAYER("Swish", "swish_param { beta: 2 }"), {-0.035972F, 0, 0.880797F}},
        {VECTOR LAYER("Threshold", ""), {0, 0, 1}},
        {VECTOR LAYER("Threshold", "threshold_param { threshold: -2 }"), {0, 1, 1}},
        {VECTOR LAYER("ReLU6", "relu6_param { negative_slope: 0.25 }"), {-0.5F, 0, 1}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_net(*state, cases[i].text, DATA(-2, 0, 1), vector3, cases[i].values);
}

/* --- reductions ------------------------------------------------------------------------------- */

static void reductions(void **state)
{
    const struct {
        const char *text;
        q8_shape shape;
        float values[4];
    } cases[] = {
        {PICTURE LAYER("Reduction", ""), {1, {1}}, {12}},
        {PICTURE LAYER("Reduction", "reduction_param { axis: 1 }"), {1, {1}}, {12}},
        {PICTURE LAYER("Reduction", "reduction_param { axis: 2 coeff: 2 }"), {1, {2}}, {-6, 30}},
        {PICTURE LAYER("Reduction", "reduction_param { axis: -1 }"), {2, {2, 2}}, {2, -5, 6, 9}},
        {PICTURE LAYER("Reduction", "reduction_param { axis: 2 operation: ASUM }"),
         {1, {2}},
         {21, 17}},
        {PICTURE LAYER("Reduction", "reduction_param { axis: 3 operation: SUMSQ }"),
         {2, {2, 2}},
         {14, 77, 20, 83}},
        {PICTURE LAYER("Reduction", "reduction_param { axis: 2 operation: MEAN coeff: 3 }"),
         {1, {2}},
         {-1.5F, 7.5F}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_net(*state, cases[i].text, one_picture, cases[i].shape, cases[i].values);
}

/* Caffe's shapes: at least three axes with the batch, as many as the input's otherwise. */
static void argmax(void **state)
{
    const struct {
        const char *text;
        q8_shape shape;
        float values[6];
    } cases[] = {
        {PICTURE LAYER("ArgMax", ""), {3, {1, 1, 1}}, {9}},
        {PICTURE LAYER("ArgMax", "argmax_param { out_max_val: true }"), {3, {2, 1, 1}}, {9, 9}},
        {PICTURE LAYER("ArgMax", "argmax_param { axis: 1 }"), {3, {1, 2, 3}}, {0, 1, 0, 1, 0, 1}},
        {PICTURE LAYER("ArgMax", "argmax_param { axis: -1 }"), {3, {2, 2, 1}}, {2, 1, 1, 0}},
        {PICTURE LAYER("ArgMax", "argmax_param { axis: 3 out_max_val: true }"),
         {3, {2, 2, 1}},
         {3, 5, 4, 9}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_net(*state, cases[i].text, one_picture, cases[i].shape, cases[i].values);
    check_net(*state, VECTOR LAYER("ArgMax", "argmax_param { out_max_val: true }"), DATA(1, -3, 0),
              (q8_shape){2, {2, 1}}, (const float[]){0, 1});
    check_net(*state, VECTOR LAYER("ArgMax", "argmax_param { axis: 1 }"), DATA(-7, -7, -8),
              (q8_shape){1, {1}}, (const float[]){1}); /* of equal ones the last */
}

static void mvn(void **state)
{
    check_net(*state, INPUT("data", "dim: 2 dim: 2") LAYER("MVN", ""), DATA(1, 3, -2, 8),
              SHAPE3(2, 2, 1), (const float[]){-1, 1, -1, 1});
    check_net(*state,
              INPUT("data", "dim: 2 dim: 1 dim: 2")
                  LAYER("MVN", "mvn_param { across_channels: true eps: 1 }"),
              DATA(0, 4, 4, 0), SHAPE3(2, 1, 2),
              (const float[]){-0.666667F, 0.666667F, 0.666667F, -0.666667F});
    check_net(*state,
              INPUT("data", "dim: 2 dim: 1 dim: 2")
                  LAYER("MVN", "mvn_param { normalize_variance: false }"),
              DATA(1, 3, -2, 8), SHAPE3(2, 1, 2), (const float[]){-1, 1, -5, 5});
}

/* --- copies and tables ------------------------------------------------------------------------ */

static void tile(void **state)
{
    const float in[] = {1, 2, 3, 4}, *const inputs[] = {in};
    const float along[] = {1, 2, 1, 2, 3, 4, 3, 4}, down[] = {1, 2, 3, 4, 1, 2, 3, 4};
    check_net(*state,
              INPUT("data", "dim: 2 dim: 2") LAYER("Tile", "tile_param { axis: 2 tiles: 2 }"),
              inputs, (q8_shape){2, {2, 4}}, along);
    check_net(*state, INPUT("data", "dim: 2 dim: 2") LAYER("Tile", "tile_param { tiles: 2 }"),
              inputs, (q8_shape){2, {4, 2}}, down);
}

/* The table's row r begins with 1 + r; the bias with 2. */
static void embed(void **state)
{
    const float expected[] = {5, 6, 3, 4, 4, 5};
    check_net(*state, VECTOR LAYER("Embed", "embed_param { num_output: 2 input_dim: 3 }"),
              DATA(2, 0, 1), (q8_shape){2, {3, 2}}, expected);
    const float without[] = {3, 3.5F, 1, 1.5F, 3, 3.5F}; /* indices outside are moved inside */
    check_net(*state,
              VECTOR LAYER("Embed", "embed_param { num_output: 2 input_dim: 3 bias_term: false }"),
              DATA(7, -1, 2), (q8_shape){2, {3, 2}}, without);
}

static void parameter(void **state)
{
    static const char text[] =
        VECTOR "layer { name: 'more' type: 'Parameter' top: 'more'"
               " parameter_param { shape { dim: 1 dim: 3 } } }\n" LAYER2("Eltwise", "");
    check_net(*state, text, DATA(10, 20, 30), vector3, (const float[]){11, 21.5F, 32});
}

/* --- factors and sums ------------------------------------------------------------------------- */

static void scale_axes(void **state)
{
    const float in[] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}, *const inputs[] = {in};
    const struct {
        const char *text;
        float values[12];
    } cases[] = {
        {PICTURE LAYER("Scale", ""), {1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3}},
        {PICTURE LAYER("Scale", "scale_param { num_axes: 0 bias_term: true }"),
         {3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4}},
        {PICTURE LAYER("Scale", "scale_param { axis: -1 }"),
         {1, 1.5F, 2, 1, 1.5F, 2, 2, 3, 4, 2, 3, 4}},
        {PICTURE LAYER("Scale", "scale_param { axis: 2 bias_term: true }"),
         {3, 3, 3, 4, 4, 4, 4, 4, 4, 5.5F, 5.5F, 5.5F}},
        {PICTURE LAYER("Scale", "scale_param { num_axes: 2 }"),
         {1, 1, 1, 1.5F, 1.5F, 1.5F, 4, 4, 4, 5, 5, 5}},
        {PICTURE LAYER("Scale", "scale_param { num_axes: -1 }"),
         {1, 1.5F, 2, 2.5F, 3, 3.5F, 8, 9, 10, 11, 12, 13}},
        {PICTURE LAYER("Bias", "bias_param { axis: 2 num_axes: 2 }"),
         {2, 2.5F, 3, 3.5F, 4, 4.5F, 3, 3.5F, 4, 4.5F, 5, 5.5F}},
        {PICTURE LAYER("Bias", "bias_param { axis: 3 }"),
         {2, 2.5F, 3, 2, 2.5F, 3, 3, 3.5F, 4, 3, 3.5F, 4}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_net(*state, cases[i].text, inputs, whole, cases[i].values);
}

#define GATE "dim: 2"

static void two_bottoms(void **state)
{
    const float in[] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}, gate[] = {3, 5, 1, 2};
    const float *const inputs[] = {in, gate};
    const struct {
        const char *text;
        float values[12];
    } cases[] = {
        {PICTURE INPUT("more", GATE) LAYER2("Scale", "scale_param { axis: 0 }"),
         {3, 3, 3, 3, 3, 3, 10, 10, 10, 10, 10, 10}},
        {PICTURE INPUT("more", "dim: 2 dim: 1 dim: 1") LAYER2("Scale", "scale_param { axis: 0 }"),
         {3, 3, 3, 3, 3, 3, 10, 10, 10, 10, 10, 10}},
        {PICTURE INPUT("more", GATE) LAYER2("Scale", "scale_param { axis: 0 bias_term: true }"),
         {4, 4, 4, 4, 4, 4, 11.5F, 11.5F, 11.5F, 11.5F, 11.5F, 11.5F}},
        {PICTURE INPUT("more", "dim: 2 dim: 2") LAYER2("Scale", "scale_param { axis: 0 }"),
         {3, 3, 3, 5, 5, 5, 2, 2, 2, 4, 4, 4}},
        {PICTURE INPUT("more", GATE) LAYER2("Bias", "bias_param { axis: 0 }"),
         {4, 4, 4, 4, 4, 4, 7, 7, 7, 7, 7, 7}},
        {PICTURE INPUT("more", "dim: 1 dim: 2 dim: 1") LAYER2("Eltwise", ""),
         {4, 4, 4, 6, 6, 6, 5, 5, 5, 7, 7, 7}},
        {PICTURE INPUT("more", GATE) LAYER2("Eltwise", "eltwise_param { coeff: 2 coeff: -1 }"),
         {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}},
        {PICTURE INPUT("more", GATE) LAYER2("Eltwise", "eltwise_param { operation: MAX }"),
         {3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_net(*state, cases[i].text, inputs, whole, cases[i].values);
}

static void axpy(void **state)
{
    static const char text[] =
        INPUT("scale", "dim: 2") PICTURE "layer { name: 'x' type: 'Axpy' bottom: 'scale'"
                                         " bottom: 'data' bottom: 'data' top: 'x' }";
    const float scale[] = {1, -1}, *const inputs[] = {scale, picture};
    check_net(*state, text, inputs, whole,
              (const float[]){2, -4, 6, -8, 10, -12, 0, 0, 0, 0, 0, 0});
}

/* The ramp gives a channel c of blob i the value i + 1 + c/2. */
static void stored_statistics(void **state)
{
    const float in[] = {1, 2, 4}, *const inputs[] = {in};
    const struct {
        const char *text;
        float values[3];
    } cases[] = {
        {VECTOR LAYER("BN", "bn_param { bn_mode: INFERENCE }"), {3, 5.5F, 11}},
        {VECTOR LAYER("BN", "bn_param { frozen: true eps: 0 }"), {1, 1.43934F, 3}},
        {VECTOR LAYER("BatchNorm", "batch_norm_param { scale_bias: true eps: 0 }"),
         {8.265986F, 12.894251F, 22.666667F}},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_net(*state, cases[i].text, inputs, vector3, cases[i].values);
}

/* --- errors ----------------------------------------------------------------------------------- */

static void errors_point_at_the_field(void **state)
{
    const struct {
        const char *inputs, *type, *param, *at;
        q8_code code;
    } cases[] = {
        {PICTURE, "ArgMax", "argmax_param { top_k: 3 }", "top_k", Q8_EUNSUPPORTED},
        {PICTURE, "ArgMax", "argmax_param { axis: 4 }", "axis", Q8_EMODEL},
        {PICTURE, "ArgMax", "argmax_param { axis: 0 }", "axis", Q8_EUNSUPPORTED},
        {PICTURE, "Exp", "exp_param { base: -2 }", "base", Q8_EMODEL},
        {PICTURE, "Log", "log_param { scale: 1 base: 1 }", "base", Q8_EMODEL},
        {PICTURE, "Log", "log_param { base: 0 }", "base", Q8_EMODEL},
        {PICTURE, "Reduction", "reduction_param { axis: 7 }", "axis", Q8_EMODEL},
        {PICTURE, "Tile", "tile_param { axis: 2 }", "tile_param", Q8_EMODEL},
        {PICTURE, "Tile", "tile_param { tiles: 0 }", "tiles", Q8_EMODEL},
        {PICTURE, "Tile", "tile_param { axis: 0 tiles: 2 }", "axis", Q8_EUNSUPPORTED},
        {PICTURE, "Tile", "tile_param { tiles: 2000000000 }", "layer", Q8_EMODEL},
        {PICTURE, "Embed", "embed_param { num_output: 2 input_dim: 2 }", "bottom", Q8_EUNSUPPORTED},
        {VECTOR, "Embed", "embed_param { input_dim: 2 }", "layer", Q8_EMODEL},
        {VECTOR, "Embed", "embed_param { num_output: 2 }", "layer", Q8_EMODEL},
        {VECTOR, "Embed", "embed_param { num_output: 0 input_dim: 2 }", "num_output", Q8_EMODEL},
        {VECTOR, "Embed", "embed_param { num_output: 9000000 input_dim: 9000000 }", "input_dim",
         Q8_EMODEL},
        {PICTURE, "BN", "bn_param { bn_mode: LEARN }", "bn_mode", Q8_EUNSUPPORTED},
        {PICTURE, "Scale", "scale_param { axis: 3 num_axes: 2 }", "num_axes", Q8_EMODEL},
        {PICTURE, "Scale", "scale_param { num_axes: -2 }", "num_axes", Q8_EMODEL},
        {PICTURE, "Bias", "bias_param { axis: 4 }", "axis", Q8_EMODEL},
        {PICTURE, "Parameter", "", "layer", Q8_EMODEL},
        {PICTURE, "Parameter", "parameter_param { shape { dim: 0 } }", "dim", Q8_EMODEL},
        {PICTURE, "Parameter", "parameter_param { shape { dim: 2 dim: 3 dim: 1 dim: 1 } }", "dim",
         Q8_EUNSUPPORTED},
        {PICTURE, "Parameter",
         "parameter_param { shape { dim: 2000000000 dim: 2000000000 dim: 2000000000 } }", "dim",
         Q8_EMODEL},
        {PICTURE, "Axpy", "", "bottom", Q8_EMODEL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        static q8_err err;
        q8_graph *graph = NULL;
        const char *layer =
            q8_arena_printf(*state, "layer { bottom: 'data' name: 'x' type: '%s' %s top: 'x' }",
                            cases[i].type, cases[i].param);
        const char *text = q8_arena_printf(*state, "%s%s", cases[i].inputs, layer);
        if (import(*state, text, &graph, &err) != cases[i].code)
            fail_msg("%s: %d %s", layer, err.code, err.text);
        assert_int_equal(err.line, 2);
        if (err.column != (int)(strstr(layer, cases[i].at) - layer) + 1)
            fail_msg("%s: column %d: %s", layer, err.column, err.text);
    }
}

static void shapes_that_do_not_fit(void **state)
{
    static const char *const cases[] = {
        PICTURE INPUT("more", "dim: 3") LAYER2("Scale", "scale_param { axis: 0 }"),
        PICTURE INPUT("more", "dim: 2 dim: 3") LAYER2("Scale", "scale_param { axis: 0 }"),
        PICTURE INPUT("more", "dim: 2 dim: 3") LAYER2("Bias", "bias_param { axis: 3 }"),
        PICTURE INPUT("more", "dim: 2") LAYER2("Scale", "scale_param { axis: -5 }"),
        PICTURE INPUT("more", "dim: 3") LAYER2("Eltwise", ""),
        PICTURE INPUT("more", "dim: 2 dim: 2") LAYER2("Eltwise", ""),
        PICTURE INPUT("more", "dim: 2 dim: 2 dim: 2") LAYER2("Eltwise", ""),
        PICTURE INPUT("more", "dim: 2") LAYER2("Swish", ""),
        PICTURE INPUT("more", "dim: 2") LAYER2("Reduction", ""),
        PICTURE INPUT("more", "dim: 2") LAYER2("AbsVal", ""),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        static q8_err err;
        q8_graph *graph = NULL;
        if (import(*state, cases[i], &graph, &err) == Q8_OK)
            fail_msg("%s is accepted", cases[i]);
        assert_in_range(err.line, 3, 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(elements),
        ARENA_TEST(reductions),
        ARENA_TEST(argmax),
        ARENA_TEST(mvn),
        ARENA_TEST(tile),
        ARENA_TEST(embed),
        ARENA_TEST(parameter),
        ARENA_TEST(scale_axes),
        ARENA_TEST(two_bottoms),
        ARENA_TEST(axpy),
        ARENA_TEST(stored_statistics),
        ARENA_TEST(errors_point_at_the_field),
        ARENA_TEST(shapes_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
