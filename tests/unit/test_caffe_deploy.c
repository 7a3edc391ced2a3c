/* Networks as they are trained: what becomes of data layers, labels, losses, and what hangs on
 * them. */
#include "test_caffe_util.h"

/* "name:Type(bottoms>tops) ..." of what is left. */
static const char *summary(const q8_caffe_net *net, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = 0;
    for (int i = 0; i < net->n_layers; i++) {
        const Caffe__LayerParameter *p = net->layer[i].param;
        used += (size_t)snprintf(buf + used, size - used, "%s%s:%s(", i ? " " : "",
                                 net->layer[i].name, net->layer[i].type);
        for (size_t k = 0; k < p->n_bottom; k++)
            used += (size_t)snprintf(buf + used, size - used, "%s%s", k ? "," : "", p->bottom[k]);
        used += (size_t)snprintf(buf + used, size - used, ">");
        for (size_t k = 0; k < p->n_top; k++)
            used += (size_t)snprintf(buf + used, size - used, "%s%s", k ? "," : "", p->top[k]);
        used += (size_t)snprintf(buf + used, size - used, ")");
        assert_true(used < size);
    }
    return buf;
}

static struct reading read_as(const char *text, const char *expected)
{
    char left[1024];
    struct reading r = read_good(text);
    assert_string_equal(summary(r.net, left, sizeof(left)), expected);
    return r;
}

static void check(const char *text, const char *expected, const char *warnings)
{
    struct reading r = read_as(text, expected);
    assert_string_equal(r.warnings, warnings);
    end_reading(&r);
}

#define DATA                    "layer { name: \"d\" type: \"Data\" top: \"data\" top: \"label\" }\n"
#define FC                      "layer { name: \"f\" type: \"IP\" bottom: \"data\" top: \"fc\" }\n"
#define LAYER(name, type, rest) "layer { name: \"" name "\" type: \"" type "\" " rest " }\n"
#define W(line, name, text)     "net.prototxt:" #line ":1: warning: layer '" name "': " text "\n"
#define TRAINING(type)          "dropped: " type " is only used in training"

static void losses_become_what_they_contain(void **state)
{
    (void)state;
    check(DATA FC LAYER("l", "SoftmaxWithLoss", "bottom: \"fc\" bottom: \"label\" top: \"loss\""),
          "d:Input(>data) f:IP(data>fc) l:Softmax(fc>loss)",
          W(3, "l", "SoftmaxWithLoss is only used in training: read as Softmax"));
    check(DATA FC LAYER("l", "SoftmaxWithLoss",
                        "bottom: \"fc\" bottom: \"label\" top: \"loss\" top: \"prob\""),
          "d:Input(>data) f:IP(data>fc) l:Softmax(fc>prob)",
          W(3, "l", "SoftmaxWithLoss is only used in training: read as Softmax"));
    check(DATA FC LAYER("l", "SigmoidCrossEntropyLoss", "bottom: \"fc\" bottom: \"label\""),
          "d:Input(>data) f:IP(data>fc) l:Sigmoid(fc>l)",
          W(3, "l", "SigmoidCrossEntropyLoss is only used in training: read as Sigmoid"));
    /* It is there already, before or after. */
    check(DATA FC LAYER("l", "SoftmaxWithLoss", "bottom: \"fc\" bottom: \"label\"")
              LAYER("p", "Softmax", "bottom: \"fc\" top: \"prob\""),
          "d:Input(>data) f:IP(data>fc) p:Softmax(fc>prob)",
          W(3, "l", TRAINING("SoftmaxWithLoss")));
    check(DATA FC LAYER("l", "SoftmaxWithLoss", "bottom: \"fc\" bottom: \"label\" top: \"1\"")
              LAYER("m", "SoftmaxWithLoss", "bottom: \"fc\" bottom: \"label\" top: \"2\""),
          "d:Input(>data) f:IP(data>fc) l:Softmax(fc>1)",
          W(3, "l", "SoftmaxWithLoss is only used in training: read as Softmax")
              W(4, "m", TRAINING("SoftmaxWithLoss")));
}

static void what_only_training_has_goes(void **state)
{
    (void)state;
    static const char *const types[] = {
        "Accuracy",
        "EuclideanLoss",
        "HingeLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
        "SmoothL1Loss",
        "CenterLoss",
        "TripletLoss",
        "MultiBoxLoss",
        "SoftmaxFocalLoss",
        "SegAccuracy",
        "DetectionEvaluate",
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char text[512], warning[128];
        snprintf(text, sizeof(text),
                 DATA FC "layer { name: \"l\" type: \"%s\" bottom: \"fc\" bottom: \"label\" top: "
                         "\"loss\" }",
                 types[i]);
        snprintf(warning, sizeof(warning), W(3, "l", TRAINING("%s")), types[i]);
        check(text, "d:Input(>data) f:IP(data>fc)", warning);
    }
    check(DATA FC LAYER("l", "Python",
                        "bottom: \"fc\" bottom: \"label\" python_param { layer: "
                        "\"PyramidLossLayer\" }"),
          "d:Input(>data) f:IP(data>fc)", W(3, "l", TRAINING("Python")));
    check(DATA FC LAYER("l", "Python", "bottom: \"fc\" loss_weight: 1"),
          "d:Input(>data) f:IP(data>fc)", W(3, "l", TRAINING("Python")));
    check(DATA FC LAYER("o", "HDF5Output", "bottom: \"fc\" bottom: \"label\""),
          "d:Input(>data) f:IP(data>fc)", W(3, "o", "dropped: it only writes a file"));
}

static void what_reads_labels_goes(void **state)
{
    (void)state;
    check(DATA FC LAYER("m", "ArgMax", "bottom: \"label\" top: \"best\"")
              LAYER("n", "Power", "bottom: \"best\" top: \"best\"")
                  LAYER("a", "Angular", "bottom: \"fc\" bottom: \"label\" top: \"margin\"")
                      LAYER("l", "SoftmaxWithLoss", "bottom: \"margin\" bottom: \"label\""),
          "d:Input(>data) f:IP(data>fc)",
          W(3, "m", "dropped: its bottom 'label' is only there in training")
              W(4, "n", "dropped: its bottom 'best' is only there in training")
                  W(5, "a", "dropped: its bottom 'label' is only there in training")
                      W(6, "l", TRAINING("SoftmaxWithLoss")));
    /* Labels by another layer. */
    check("layer { name: \"d\" type: \"Data\" top: \"data\" }\n" FC
          "layer { name: \"s\" type: \"Data\" top: \"segments\" }\n" LAYER(
              "l", "EuclideanLoss", "bottom: \"segments\" bottom: \"fc\""),
          "d:Input(>data) f:IP(data>fc)",
          W(4, "l", TRAINING("EuclideanLoss"))
              W(3, "s", "dropped: its data are only used in training"));
    /* A deploy file with a label among its inputs. */
    check("input: \"data\" input: \"label\" input_dim: [1, 1, 1, 4, 1, 1, 1, 1]\n" FC LAYER(
              "l", "SoftmaxWithLoss", "bottom: \"fc\" bottom: \"label\" top: \"prob\""),
          "data:Input(>data) f:IP(data>fc) l:Softmax(fc>prob)",
          W(3, "l",
            "SoftmaxWithLoss is only used in training: read as Softmax") "net.prototxt:1:15: "
                                                                         "warning: layer 'label': "
                                                                         "dropped: nothing that is "
                                                                         "left reads what it "
                                                                         "makes\n");
}

static void dead_branches_go(void **state)
{
    (void)state;
    /* A target made of the input, and a name used again in place. */
    check(DATA FC LAYER("t", "Flatten", "bottom: \"data\" top: \"target\"")
              LAYER("u", "Power", "bottom: \"target\" top: \"target\"")
                  LAYER("l", "EuclideanLoss", "bottom: \"fc\" bottom: \"target\""),
          "d:Input(>data) f:IP(data>fc)",
          W(5, "l", TRAINING("EuclideanLoss"))
              W(3, "t", "dropped: nothing that is left reads what it makes")
                  W(4, "u", "dropped: nothing that is left reads what it makes"));
    /* An input is no prediction, wherever a loss has it. */
    check(DATA FC LAYER("l", "EuclideanLoss", "bottom: \"data\" bottom: \"fc\""),
          "d:Input(>data) f:IP(data>fc)", W(3, "l", TRAINING("EuclideanLoss")));
    check(
        "layer { name: \"d\" type: \"Python\" top: \"data\" top: \"im_info\" top: \"boxes\" }\n" FC
            LAYER("a", "Python", "bottom: \"fc\" bottom: \"im_info\" loss_weight: 1"),
        "d:Input(>data) f:IP(data>fc)", W(3, "a", TRAINING("Python")));
    check(
        "layer { name: \"d\" type: \"Python\" top: \"data\" top: \"im_info\" top: \"labels\" }\n" FC
            LAYER("a", "Python",
                  "bottom: \"fc\" bottom: \"labels\" bottom: \"im_info\" top: \"t\""),
        "d:Input(>data) f:IP(data>fc)",
        W(3, "a", "dropped: its bottom 'labels' is only there in training"));
    /* Silence wants nothing, but a slice cannot leave one part out. */
    struct reading r = read_as("input: \"data\" input_dim: [1, 4, 1, 1]\n" LAYER(
                                   "s", "Slice", "bottom: \"data\" top: \"a\" top: \"b\"")
                                   LAYER("q", "Silence", "bottom: \"b\"")
                                       LAYER("r", "ReLU", "bottom: \"a\" top: \"r\""),
                               "data:Input(>data) s:Slice(data>a,b) r:ReLU(a>r)");
    assert_string_equal(r.warnings, "");
    assert_int_equal(r.net->n_unwanted, 1);
    assert_string_equal(r.net->unwanted[0], "b");
    end_reading(&r);
    /* An Input of several tops keeps those that are read. */
    r = read_as("layer { name: \"i\" type: \"Input\" top: \"x\" top: \"y\" input_param { "
                "shape { dim: [1, 2] } shape { dim: [1, 3] } } }\n" LAYER(
                    "q", "Silence", "bottom: \"x\"") LAYER("r", "ReLU", "bottom: \"y\" top: \"r\""),
                "i:Input(>y) r:ReLU(y>r)");
    assert_int_equal(r.net->layer[0].param->input_param->n_shape, 1);
    assert_int_equal(r.net->layer[0].param->input_param->shape[0]->dim[1], 3);
    assert_place(&r, r.net->layer[0].param, "top", 0, 1, 42);
    end_reading(&r);
}

static void several_predictions_stay(void **state)
{
    (void)state;
    check(DATA LAYER("f", "IP", "bottom: \"data\" top: \"f1\"")
              LAYER("g", "IP", "bottom: \"data\" top: \"f2\"")
                  LAYER("l", "ContrastiveLoss", "bottom: \"f1\" bottom: \"f2\" bottom: \"label\""),
          "d:Input(>data) f:IP(data>f1) g:IP(data>f2)", W(4, "l", TRAINING("ContrastiveLoss")));
}

static void nothing_may_be_left(void **state)
{
    (void)state;
    static const char message[] = "net.prototxt: error: nothing is left of the network without "
                                  "what is only used in training";
    assert_error(DATA, message);
    assert_error(DATA LAYER("m", "ArgMax", "bottom: \"label\" top: \"best\""), message);
    assert_error(LAYER("l", "EuclideanLoss", "bottom: \"a\" bottom: \"b\""), message);
}

/* --- shapes ----------------------------------------------------------------------------------- */

static void shapes_that_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *layer;
        int64_t dim[4];
    } cases[] = {
        {"type: \"Data\" transform_param { crop_size: 227 }", {1, 3, 227, 227}},
        {"type: \"Data\" transform_param { crop_size: 28 force_gray: true }", {1, 1, 28, 28}},
        {"type: \"Data\" transform_param { mean_value: [1, 2, 3, 4] }", {1, 4, 0, 0}},
        {"type: \"Data\" data_param { crop_size: 9 }", {1, 3, 0, 0}}, /* V1 only */
        {"type: \"ImageData\" image_data_param { new_height: 5 new_width: 6 }", {1, 3, 5, 6}},
        {"type: \"ImageData\" transform_param { crop_size: 4 } image_data_param { new_height: 5 "
         "new_width: 6 is_color: false }",
         {1, 1, 4, 4}},
        {"type: \"AnnotatedData\" transform_param { resize_param { height: 300 width: 200 } }",
         {1, 3, 300, 200}},
        {"type: \"WindowData\" transform_param { crop_size: 227 }", {1, 3, 227, 227}},
        {"type: \"MemoryData\" memory_data_param { batch_size: 9 channels: 2 height: 3 width: 4 }",
         {1, 2, 3, 4}},
        {"type: \"DummyData\" dummy_data_param { shape { dim: [7, 2, 3, 4] } }", {7, 2, 3, 4}},
        {"type: \"DummyData\" dummy_data_param { num: 7 channels: 2 height: 3 width: 4 }",
         {7, 2, 3, 4}},
        {"type: \"HDF5Data\"", {1, 3, 0, 0}},
        {"type: \"Python\" python_param { layer: \"Reader\" }", {1, 3, 0, 0}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "layer { name: \"d\" top: \"data\" %s }\n" FC, cases[i].layer);
        struct reading r = read_as(text, "d:Input(>data) f:IP(data>fc)");
        assert_string_equal(r.warnings, "");
        const Caffe__InputParameter *input = r.net->layer[0].param->input_param;
        assert_int_equal(input->n_shape, 1);
        assert_int_equal(input->shape[0]->n_dim, 4);
        for (int k = 0; k < 4; k++)
            if (input->shape[0]->dim[k] != cases[i].dim[k])
                fail_msg("%s: dim %d is %lld", cases[i].layer, k,
                         (long long)input->shape[0]->dim[k]);
        end_reading(&r);
    }
}

static void tops_that_are_no_pictures(void **state)
{
    (void)state;
    struct reading r = read_as(
        "layer { name: \"d\" type: \"Python\" top: \"data\" top: \"im_info\" top: \"gt_boxes\" "
        "}\n" FC LAYER("p", "Proposal", "bottom: \"fc\" bottom: \"im_info\" top: \"rois\"")
            LAYER("l", "SmoothL1Loss", "bottom: \"rois\" bottom: \"gt_boxes\""),
        "d:Input(>data,im_info) f:IP(data>fc) p:Proposal(fc,im_info>rois)");
    const Caffe__InputParameter *input = r.net->layer[0].param->input_param;
    assert_int_equal(input->n_shape, 2);
    assert_int_equal(input->shape[1]->n_dim, 2);
    assert_int_equal(input->shape[1]->dim[1], 3);
    end_reading(&r);
    /* One shape for all tops, or one for each. */
    r = read_as("layer { name: \"d\" type: \"DummyData\" top: \"x\" top: \"y\" top: \"label\" "
                "dummy_data_param { num: 1 channels: 2 channels: 3 channels: 1 height: 4 width: 5 "
                "} }\n" LAYER("s", "Concat", "bottom: \"y\" bottom: \"x\" top: \"s\"")
                    LAYER("l", "EuclideanLoss", "bottom: \"s\" bottom: \"label\""),
                "d:Input(>x,y) s:Concat(y,x>s)");
    assert_int_equal(r.net->layer[0].param->input_param->shape[1]->dim[1], 3);
    assert_int_equal(r.net->layer[0].param->input_param->shape[1]->dim[3], 5);
    end_reading(&r);
}

/* --- preprocessing ---------------------------------------------------------------------------- */

static void transforms_are_found(void **state)
{
    (void)state;
    struct reading r = read_good(
        "layer { name: \"t\" type: \"Data\" top: \"data\" include { phase: TRAIN }\n"
        "  transform_param { scale: 9 } }\n"
        "layer { name: \"d\" type: \"ImageData\" top: \"data\" top: \"label\"\n"
        "  include { phase: TEST } image_data_param { new_height: 256 new_width: 250 }\n"
        "  transform_param { scale: 0.5 mean_value: 1 mean_value: 2 crop_size: 227 } }\n" FC
        "layer { name: \"later\" type: \"Data\" top: \"more\" transform_param { scale: 3 } }\n"
        "layer { name: \"m\" type: \"ReLU\" bottom: \"more\" top: \"m\" }\n");
    const q8_caffe_transform *t = &r.net->transform;
    assert_true(t->found && t->scale == 0.5f && t->n_mean == 2 && t->mean[1] == 2);
    assert_int_equal(t->crop_size, 227);
    assert_int_equal(t->resize_height, 256);
    assert_int_equal(t->resize_width, 250);
    assert_string_equal(t->input, "data");
    assert_null(t->mean_file);
    assert_int_equal(t->loc.line, 5);
    assert_int_equal(t->loc.column, 3);
    end_reading(&r);
}

static void older_transforms_are_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "layers { name: \"d\" type: DATA top: \"data\"\n"
        "  data_param { scale: 0.5 mean_file: \"m\" crop_size: 9 mirror: true } }\n",
        "layers { name: \"d\" type: IMAGE_DATA top: \"data\" transform_param { crop_size: 8 }\n"
        "  image_data_param { scale: 0.5 mean_file: \"m\" crop_size: 9 } }\n",
        "layers { name: \"d\" type: WINDOW_DATA top: \"data\"\n"
        "  window_data_param { scale: 0.5 mean_file: \"m\" crop_size: 9 } }\n",
        "layers { layer { name: \"d\" type: \"data\"\n"
        "  scale: 0.5 meanfile: \"m\" cropsize: 9 mirror: true } top: \"data\" }\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "%slayers { type: RELU bottom: \"data\" top: \"r\" }",
                 texts[i]);
        struct reading r = read_good(text);
        const q8_caffe_transform *t = &r.net->transform;
        assert_true(t->found && t->scale == 0.5f && t->n_mean == 0 && t->crop_size == 9);
        assert_string_equal(t->mean_file, "m");
        assert_int_equal(t->loc.line, i == 1 ? 1 : 2);
        assert_int_equal(r.net->layer[0].param->input_param->shape[0]->dim[2], 9);
        end_reading(&r);
    }
}

static void no_transform(void **state)
{
    (void)state;
    struct reading r = read_good("input: \"data\" input_dim: [1, 3, 4, 4]\n" FC);
    assert_false(r.net->transform.found);
    assert_true(r.net->transform.scale == 1);
    end_reading(&r);
    /* Forks give it to an Input. */
    r = read_good(
        "layer { name: \"i\" type: \"Input\" top: \"data\" input_param { shape { dim: [1, "
        "3, 4, 4] } }\n transform_param { mean_value: 128 } }\n" FC);
    assert_true(r.net->transform.found && r.net->transform.n_mean == 1);
    end_reading(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_become_what_they_contain),
        cmocka_unit_test(what_only_training_has_goes),
        cmocka_unit_test(what_reads_labels_goes),
        cmocka_unit_test(dead_branches_go),
        cmocka_unit_test(several_predictions_stay),
        cmocka_unit_test(nothing_may_be_left),
        cmocka_unit_test(shapes_that_are_known),
        cmocka_unit_test(tops_that_are_no_pictures),
        cmocka_unit_test(transforms_are_found),
        cmocka_unit_test(older_transforms_are_found),
        cmocka_unit_test(no_transform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
