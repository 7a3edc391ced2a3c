/* Networks of all generations, rules, and the places of what was upgraded. */
#include <glob.h>

#include "caffe/text.h"
#include "caffe/upgrade.h"
#include "test_caffe_util.h"

static const struct {
    const char *v1, *type;
} v1_types[] = {
    {"ABSVAL", "AbsVal"},
    {"ACCURACY", "Accuracy"},
    {"ARGMAX", "ArgMax"},
    {"BNLL", "BNLL"},
    {"CONCAT", "Concat"},
    {"CONTRASTIVE_LOSS", "ContrastiveLoss"},
    {"CONVOLUTION", "Convolution"},
    {"DATA", "Data"},
    {"DECONVOLUTION", "Deconvolution"},
    {"DROPOUT", "Dropout"},
    {"DUMMY_DATA", "DummyData"},
    {"ELTWISE", "Eltwise"},
    {"EUCLIDEAN_LOSS", "EuclideanLoss"},
    {"EXP", "Exp"},
    {"FLATTEN", "Flatten"},
    {"HDF5_DATA", "HDF5Data"},
    {"HDF5_OUTPUT", "HDF5Output"},
    {"HINGE_LOSS", "HingeLoss"},
    {"IM2COL", "Im2col"},
    {"IMAGE_DATA", "ImageData"},
    {"INFOGAIN_LOSS", "InfogainLoss"},
    {"INNER_PRODUCT", "InnerProduct"},
    {"LRN", "LRN"},
    {"MEMORY_DATA", "MemoryData"},
    {"MULTINOMIAL_LOGISTIC_LOSS", "MultinomialLogisticLoss"},
    {"MVN", "MVN"},
    {"POOLING", "Pooling"},
    {"POWER", "Power"},
    {"RELU", "ReLU"},
    {"SIGMOID", "Sigmoid"},
    {"SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss"},
    {"SILENCE", "Silence"},
    {"SLICE", "Slice"},
    {"SOFTMAX", "Softmax"},
    {"SOFTMAX_LOSS", "SoftmaxWithLoss"},
    {"SPLIT", "Split"},
    {"TANH", "TanH"},
    {"THRESHOLD", "Threshold"},
    {"WINDOW_DATA", "WindowData"},
};

/* Parses and upgrades, and no more: a network of one loss would not outlive the rest. */
static const Caffe__LayerParameter *upgrade_one(const char *text, struct reading *r)
{
    const q8_env env = {.user = r, .warn = keep_warning};
    *r = (struct reading){.arena = q8_arena_open()};
    q8_places *places = q8_places_new(r->arena);
    ProtobufCMessage *message;
    assert_int_equal(q8_text_parse(&message, &caffe__net_parameter__descriptor, "net.prototxt",
                                   text, strlen(text), places, r->arena, &env, &r->err),
                     Q8_OK);
    Caffe__NetParameter *net = (Caffe__NetParameter *)message;
    const q8_upgrade upgrade = {net, places, "net.prototxt", r->arena, &env, &r->err};
    assert_int_equal(q8_caffe_upgrade(&upgrade), Q8_OK);
    assert_int_equal(net->n_layer, 1);
    return net->layer[0];
}

static void v1_types_have_names(void **state)
{
    (void)state;
    const size_t n = sizeof(v1_types) / sizeof(v1_types[0]);
    assert_int_equal(n, 39); /* all of the enum but NONE */
    for (size_t i = 0; i < n; i++) {
        char text[128];
        struct reading r;
        snprintf(text, sizeof(text), "layers { type: %s }", v1_types[i].v1);
        assert_string_equal(upgrade_one(text, &r)->type, v1_types[i].type);
        assert_string_equal(r.warnings, "");
        end_reading(&r);
    }
}

static void types_in_odd_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *type, *warning;
    } cases[] = {
        {"layers { name: \"c\" type: 4 }", "Convolution", ""},
        {"layers { name: \"c\" type: \"CONVOLUTION\" }", "Convolution", ""},
        {"layers { name: \"c\" type: 40 }", "40", ""},
        {"layers { name: \"c\" type: PRELU }", "PRELU", ""}, /* a fork's */
        {"layers { name: \"c\" type: \"ReLU\" }", "ReLU",
         "net.prototxt:1:20: warning: layer 'c': type \"ReLU\" belongs into 'layer { }', not into "
         "the older 'layers { }'\n"},
        {"layer { name: \"c\" type: \"INNER_PRODUCT\" }", "InnerProduct",
         "net.prototxt:1:19: warning: layer 'c': type INNER_PRODUCT belongs into the older 'layers "
         "{ }'; read as \"InnerProduct\"\n"},
        {"layer { name: \"c\" type: RELU }", "ReLU",
         "net.prototxt:1:25: warning: 'type' takes a string in quotes, not 'RELU'\n"
         "net.prototxt:1:19: warning: layer 'c': type RELU belongs into the older 'layers { }'; "
         "read as \"ReLU\"\n"},
        {"layer { name: c type: LRN }", "LRN",
         "net.prototxt:1:15: warning: 'name' takes a string in quotes, not 'c'\n"
         "net.prototxt:1:23: warning: 'type' takes a string in quotes, not 'LRN'\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reading r;
        const Caffe__LayerParameter *layer = upgrade_one(cases[i].text, &r);
        assert_string_equal(layer->type, cases[i].type);
        assert_string_equal(layer->name, "c");
        assert_string_equal(r.warnings, cases[i].warning);
        end_reading(&r);
    }
}

static void v1_layers_become_layers(void **state)
{
    (void)state;
    struct reading r =
        read_good("layers {\n"
                  "  name: \"conv\" type: CONVOLUTION\n"
                  "  bottom: \"data\" bottom: \"more\" top: \"conv\"\n"
                  "  param: \"shared\" blob_share_mode: PERMISSIVE\n"
                  "  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0\n"
                  "  convolution_param { num_output: 96\n"
                  "    kernel_size: 11 }\n"
                  "}\n"
                  "layers { name: \"out\" type: ACCURACY include { phase: TRAIN } }\n"
                  "layers { name: \"drop\" type: DROPOUT exclude { phase: TRAIN } }\n");
    assert_string_equal(r.warnings, "");
    assert_int_equal(r.net->n_layers, 2);
    assert_string_equal(r.net->layer[1].name, "drop");
    const q8_caffe_layer *layer = &r.net->layer[0];
    const Caffe__LayerParameter *p = layer->param;
    assert_string_equal(layer->name, "conv");
    assert_int_equal(layer->loc.line, 1);
    assert_int_equal(p->n_bottom, 2);
    assert_string_equal(p->bottom[1], "more");
    assert_string_equal(p->top[0], "conv");
    assert_int_equal(p->n_param, 1);
    assert_string_equal(p->param[0]->name, "shared");
    assert_int_equal(p->param[0]->share_mode, CAFFE__PARAM_SPEC__DIM_CHECK_MODE__PERMISSIVE);
    assert_place(&r, p, "param", 0, 4, 3);
    assert_int_equal(p->convolution_param->num_output, 96);
    assert_place(&r, p, "", 0, 1, 1);
    assert_place(&r, p, "type", 0, 2, 16);
    assert_place(&r, p, "bottom", 1, 3, 18);
    assert_place(&r, p, "convolution_param", 0, 6, 3);
    assert_place(&r, p->convolution_param, "kernel_size", 0, 7, 5);
    end_reading(&r);
}

static void old_formats_that_are_refused(void **state)
{
    (void)state;
    assert_error("layer { type: \"A\" }\nlayers { type: RELU }",
                 "net.prototxt:2:1: error: both 'layer' and the older 'layers' are used: the file "
                 "mixes two formats");
    assert_error("layers { bottom: \"x\" }", "net.prototxt:1:1: error: type missing");
}

static void header_with_dims(void **state)
{
    (void)state;
    struct reading r = read_good("input: \"data\"\n"
                                 "input_dim: 1 input_dim: 3\n"
                                 "input_dim: 12 input_dim: 13\n"
                                 "input: \"info\"\n"
                                 "input_dim: [1, 1,\n"
                                 " 1, 3]\n"
                                 "layers { name: \"r\" type: RELU }\n");
    assert_int_equal(r.net->n_layers, 3);
    const q8_caffe_layer *info = &r.net->layer[1];
    assert_string_equal(r.net->layer[0].name, "data");
    assert_string_equal(info->name, "info");
    assert_string_equal(info->type, "Input");
    assert_int_equal(info->param->n_top, 1);
    assert_string_equal(info->param->top[0], "info");
    assert_int_equal(info->loc.line, 4);
    assert_int_equal(info->param->input_param->n_shape, 1);
    const Caffe__BlobShape *shape = info->param->input_param->shape[0];
    assert_int_equal(shape->n_dim, 4);
    assert_int_equal(shape->dim[3], 3);
    assert_place(&r, info->param, "top", 0, 4, 1);
    assert_place(&r, info->param->input_param, "shape", 0, 5, 13);
    assert_place(&r, shape, "dim", 3, 6, 5);
    assert_int_equal(r.net->layer[0].param->input_param->shape[0]->dim[3], 13);
    assert_place(&r, r.net->layer[0].param->input_param->shape[0], "dim", 2, 3, 1);
    assert_string_equal(r.net->layer[2].type, "ReLU");
    end_reading(&r);
}

static void header_with_shapes(void **state)
{
    (void)state;
    struct reading r = read_good("input: \"a\"\ninput: \"b\"\n"
                                 "input_shape { dim: 1 dim: 2 }\n"
                                 "input_shape { dim: [3, 4, 5] }\n"
                                 "layer { name: \"r\" type: \"ReLU\" }\n");
    assert_int_equal(r.net->n_layers, 3);
    const Caffe__BlobShape *shape = r.net->layer[1].param->input_param->shape[0];
    assert_string_equal(r.net->layer[1].name, "b");
    assert_int_equal(r.net->layer[1].loc.line, 2);
    assert_int_equal(shape->n_dim, 3);
    assert_int_equal(shape->dim[2], 5);
    assert_place(&r, shape, "dim", 2, 4, 27);
    assert_place(&r, r.net->layer[1].param->input_param, "shape", 0, 4, 1);
    end_reading(&r);
}

static void header_that_does_not_add_up(void **state)
{
    (void)state;
    assert_error(
        "input: \"a\" layer { type: \"A\" }",
        "net.prototxt:1:1: error: the input's shape is missing: write input_shape { dim: 1 "
        "dim: 3 dim: HEIGHT dim: WIDTH }");
    assert_error("input: \"a\" input_dim: [1, 3, 8] layer { type: \"A\" }",
                 "net.prototxt:1:1: error: 1 input takes 4 input_dim, but there are 3");
    assert_error("input: [\"a\", \"b\"] input_shape { dim: 1 } layer { type: \"A\" }",
                 "net.prototxt:1:9: error: 2 input, but 1 input_shape");
}

static void rules_choose_the_layers_of_test(void **state)
{
    (void)state;
    static const struct {
        const char *rules;
        int kept;
    } cases[] = {
        {"", 1},
        {"phase: TRAIN", 1}, /* the layer's own phase is no rule */
        {"include { phase: TRAIN }", 0},
        {"include { phase: TEST }", 1},
        {"include { phase: 1 }", 1},
        {"include { }", 1},
        {"include { phase: TRAIN } include { phase: TEST }", 1},
        {"exclude { phase: TRAIN }", 1},
        {"exclude { phase: TEST }", 0},
        {"exclude { }", 0},
        {"exclude { phase: TRAIN } exclude { phase: TEST }", 0},
        {"include { min_level: 0 max_level: 0 }", 1},
        {"include { min_level: 1 }", 0},
        {"include { max_level: -1 }", 0},
        {"include { stage: \"deploy\" }", 1},
        {"include { stage: \"deploy\" stage: \"val\" }", 0},
        {"include { stage: \"val\" }", 0},
        {"include { not_stage: \"val\" }", 1},
        {"include { not_stage: [\"val\", \"deploy\"] }", 0},
        {"exclude { phase: TEST stage: \"val\" }", 1},
        {"exclude { phase: TEST not_stage: \"val\" }", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        /* The phase that the file claims to be in does not count. */
        snprintf(text, sizeof(text),
                 "state { phase: TRAIN stage: \"deploy\" } layer { type: \"A\" %s }",
                 cases[i].rules);
        struct reading r = read_good(text);
        if (r.net->n_layers != cases[i].kept)
            fail_msg("%s: %d layers", cases[i].rules, r.net->n_layers);
        end_reading(&r);
    }
    assert_error("layer { name: \"x\" include { phase: TEST } exclude { phase: TEST } }",
                 "net.prototxt:1:1: error: layer 'x': both include and exclude rules");
}

static void a_network_without_a_name(void **state)
{
    (void)state;
    struct reading r = read_good("layer { type: \"A\" }");
    assert_string_equal(r.net->name, "");
    assert_string_equal(r.net->layer[0].name, "");
    assert_null(r.net->layer[0].blob);
    assert_string_equal(r.net->proto_path, "net.prototxt");
    end_reading(&r);
}

/* Real files beside the project, if they are there. */
static void real_networks_are_read_without_a_warning(void **state)
{
    (void)state;
    char pattern[1024];
    const char *slash = strrchr(__FILE__, '/');
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%.*s/../../../shared/data/*/*.prototxt",
             slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".");
    if (glob(pattern, 0, NULL, &found) != 0) {
        print_message("skipped: no %s\n", pattern);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct reading r = {.arena = q8_arena_open()};
        const q8_env env = {.user = &r, .warn = keep_warning};
        char model[1024];
        const char *path = found.gl_pathv[i];
        snprintf(model, sizeof(model), "%.*scaffemodel", (int)(strrchr(path, '.') + 1 - path),
                 path);
        FILE *f = fopen(model, "rb");
        if (f)
            fclose(f);
        q8_caffe_net *net;
        if (q8_caffe_read(&net, path, f ? model : NULL, r.arena, &env, &r.err))
            fail_msg("%s: %s", r.err.file, r.err.text);
        assert_string_equal(r.warnings, "");
        assert_true(net->n_layers > 10);
        for (int k = 0; k < net->n_layers; k++)
            if (f && strcmp(net->layer[k].type, "Convolution") == 0)
                assert_true(net->layer[k].n_blobs >= 1 && net->layer[k].blob[0].n_dim == 4);
        end_reading(&r);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_types_have_names),
        cmocka_unit_test(types_in_odd_spellings),
        cmocka_unit_test(v1_layers_become_layers),
        cmocka_unit_test(old_formats_that_are_refused),
        cmocka_unit_test(header_with_dims),
        cmocka_unit_test(header_with_shapes),
        cmocka_unit_test(header_that_does_not_add_up),
        cmocka_unit_test(rules_choose_the_layers_of_test),
        cmocka_unit_test(a_network_without_a_name),
        cmocka_unit_test(real_networks_are_read_without_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
