/* V0 networks: every field's place in today's messages, padding layers, binary weights. */
#include <unistd.h>

#include "import/import.h"
#include "test_caffe_util.h"
#include "weights.pb-c.h"

#define INPUT "input: \"data\" input_dim: [1, 2, 6, 6]\n"

static const struct {
    const char *v0, *type;
} types[] = {
    {"bnll", "BNLL"},
    {"concat", "Concat"},
    {"conv", "Convolution"},
    {"dropout", "Dropout"},
    {"flatten", "Flatten"},
    {"im2col", "Im2col"},
    {"innerproduct", "InnerProduct"},
    {"lrn", "LRN"},
    {"pool", "Pooling"},
    {"relu", "ReLU"},
    {"sigmoid", "Sigmoid"},
    {"softmax", "Softmax"},
    {"split", "Split"},
    {"tanh", "TanH"},
    {"softmax_loss", "Softmax"},
    {"fancy", "fancy"}, /* no such type: importing it will say so */
};

static void types_have_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "layers { layer { name: \"n\" type: \"%s\" } bottom: \"data\" top: \"t\" }",
                 types[i].v0);
        struct reading r = read_good(text);
        assert_string_equal(r.net->layer[0].type, types[i].type);
        assert_string_equal(r.net->layer[0].name, "n");
        end_reading(&r);
    }
    assert_error("layers { layer { name: \"n\" } top: \"t\" }",
                 "net.prototxt:1:1: error: layer 'n': type missing");
}

static void training_types_are_known(void **state)
{
    (void)state;
    static const char *const training[] = {"accuracy", "euclidean_loss", "infogain_loss",
                                           "multinomial_logistic_loss", "hdf5_output"};
    for (size_t i = 0; i < sizeof(training) / sizeof(training[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 INPUT "layers { layer { name: \"r\" type: \"relu\" } bottom: \"data\" top: \"r\" }"
                       "layers { layer { name: \"n\" type: \"%s\" } bottom: \"r\" top: \"t\" }",
                 training[i]);
        struct reading r = read_good(text);
        assert_int_equal(r.net->n_layers, 2);
        assert_non_null(strstr(r.warnings, "warning: layer 'n': dropped: "));
        end_reading(&r);
    }
}

static void fields_find_their_place(void **state)
{
    (void)state;
    struct reading r = read_good(
        INPUT
        "layers { bottom: \"data\" top: \"c\"\n"
        "  layer { name: \"c\" type: \"conv\" num_output: 5 biasterm: false\n"
        "    pad: 2 kernelsize: 3 group: 1 stride: 4 blobs { num: 2 data: [1, 2] }\n"
        "    weight_filler { type: \"xavier\" } blobs_lr: 1 weight_decay: 0 } }\n"
        "layers { bottom: \"c\" top: \"p\" layer { name: \"p\" type: \"pool\" pool: AVE\n"
        "    kernelsize: 6 stride: 2 pad: 1 } }\n"
        "layers { bottom: \"p\" top: \"n\" layer { name: \"n\" type: \"lrn\" local_size: 7\n"
        "    alpha: 0.5 beta: 0.25 k: 2 } }\n"
        "layers { bottom: \"n\" bottom: \"n\" top: \"j\" layer { name: \"j\" type: \"concat\"\n"
        "    concat_dim: 2 } }\n"
        "layers { bottom: \"j\" top: \"i\" layer { name: \"i\" type: \"innerproduct\"\n"
        "    num_output: 9 biasterm: true } }\n"
        "layers { bottom: \"i\" top: \"i\" layer { name: \"d\" type: \"dropout\"\n"
        "    dropout_ratio: 0.75 } }\n");
    assert_string_equal(r.warnings, "");
    assert_int_equal(r.net->n_layers, 7);
    const Caffe__LayerParameter *conv = r.net->layer[1].param;
    const Caffe__ConvolutionParameter *c = conv->convolution_param;
    assert_string_equal(conv->bottom[0], "data");
    assert_true(c->has_num_output && c->has_bias_term && !c->bias_term);
    assert_int_equal(c->num_output, 5);
    assert_true(c->n_pad == 1 && c->pad[0] == 2);
    assert_true(c->n_kernel_size == 1 && c->kernel_size[0] == 3);
    assert_true(c->n_stride == 1 && c->stride[0] == 4);
    assert_true(c->has_group && c->group == 1);
    assert_true(conv->n_blobs == 1 && conv->blobs[0]->data[1] == 2);
    assert_place(&r, conv, "", 0, 2, 1);
    assert_place(&r, conv, "type", 0, 3, 21);
    assert_place(&r, c, "num_output", 0, 3, 34);
    assert_place(&r, c, "kernel_size", 0, 4, 12);
    assert_place(&r, c, "", 0, 3, 34); /* as no one wrote it, where its first field is */
    const Caffe__PoolingParameter *p = r.net->layer[2].param->pooling_param;
    assert_int_equal(p->pool, CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE);
    assert_true(p->kernel_size == 6 && p->stride == 2 && p->pad == 1 && p->has_pad);
    const Caffe__LRNParameter *n = r.net->layer[3].param->lrn_param;
    assert_true(n->local_size == 7 && n->alpha == 0.5f && n->beta == 0.25f && n->k == 2);
    assert_int_equal(r.net->layer[4].param->concat_param->concat_dim, 2);
    assert_int_equal(r.net->layer[5].param->inner_product_param->num_output, 9);
    assert_true(r.net->layer[6].param->dropout_param->dropout_ratio == 0.75f);
    end_reading(&r);
}

static void fields_of_another_type_are_told(void **state)
{
    (void)state;
    struct reading r = read_good(
        "layers { bottom: \"data\" top: \"r\" layer { name: \"r\" type: \"relu\"\n pad: 1\n"
        "  blobs_lr: 1 new_num: 3 } }");
    assert_string_equal(r.warnings, "net.prototxt:2:2: warning: layer 'r': 'pad' means nothing in "
                                    "a layer of type 'relu'\n");
    end_reading(&r);
}

/* --- padding ---------------------------------------------------------------------------------- */

#define PADDING(tops)                                                                              \
    INPUT "layers { layer { name: \"pad\" type: \"padding\" pad: 3 }\n bottom: \"data\" " tops     \
          " }\n"

static void padding_goes_into_its_readers(void **state)
{
    (void)state;
    struct reading r =
        read_good(PADDING("top: \"x\"") "layers { layer { name: \"c\" type: \"conv\" kernelsize: 3 "
                                        "pad: 1 } bottom: \"x\" top: "
                                        "\"c\" }\n"
                                        "layers { layer { name: \"p\" type: \"pool\" kernelsize: 4 "
                                        "} bottom: \"x\" top: \"p\" }\n");
    assert_string_equal(r.warnings, "");
    assert_int_equal(r.net->n_layers, 3);
    const Caffe__LayerParameter *conv = r.net->layer[1].param, *pool = r.net->layer[2].param;
    assert_string_equal(conv->bottom[0], "data");
    assert_int_equal(conv->convolution_param->pad[0], 3);
    assert_place(&r, conv->convolution_param, "pad", 0, 2, 46);
    assert_string_equal(pool->bottom[0], "data");
    assert_int_equal(pool->pooling_param->pad, 3);
    end_reading(&r);
}

static void padding_in_the_wrong_place(void **state)
{
    (void)state;
    assert_error(PADDING("top: \"x\"") "layers { layer { type: \"relu\" } bottom: \"x\" }",
                 "net.prototxt:2:1: error: layer 'pad': a padding layer must come before a layer "
                 "of type 'conv' or 'pool', not 'relu'");
    assert_error(PADDING("top: \"x\"") "layers { layer { type: \"padding\" } bottom: \"x\" }",
                 "net.prototxt:2:1: error: layer 'pad': a padding layer must come before a layer "
                 "of type 'conv' or 'pool', not 'padding'");
    assert_error(PADDING("top: \"x\"") "layers { type: RELU bottom: \"x\" }",
                 "net.prototxt:2:1: error: layer 'pad': a padding layer must come before a layer "
                 "of type 'conv' or 'pool', not ''");
    assert_error(
        PADDING("top: \"x\" top: \"y\"") "layers { layer { type: \"conv\" } bottom: \"x\" }",
        "net.prototxt:2:1: error: layer 'pad': a padding layer has one bottom and one "
        "top, not 1 and 2");
    assert_error(
        PADDING("top: \"x\"") "layers { layer { type: \"conv\" } bottom: \"data\" bottom: \"x\" }",
        "net.prototxt:2:1: error: layer 'pad': the layer after it has 2 bottoms, not one");
}

/* --- binary weights --------------------------------------------------------------------------- */

static Weights__Blob legacy(int num, int channels, int height, int width, float *data)
{
    Weights__Blob blob = WEIGHTS__BLOB__INIT;
    blob.has_num = blob.has_channels = blob.has_height = blob.has_width = 1;
    blob.num = num;
    blob.channels = channels;
    blob.height = height;
    blob.width = width;
    blob.data = data;
    blob.n_data = (size_t)(num * channels * height * width);
    return blob;
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* A V0 prototxt with a V0 caffemodel, an inner product of the V1 generation among it. */
static void binary_weights_match_by_name(void **state)
{
    (void)state;
    static const char proto[] =
        PADDING("top: \"x\"") "layers { layer { name: \"c\" type: \"conv\" num_output: 2 "
                              "kernelsize: 1 stride: 12 }\n"
                              "  bottom: \"x\" top: \"c\" }\n"
                              "layers { layer { name: \"f\" type: \"innerproduct\" num_output: 2 "
                              "biasterm: false }\n"
                              "  bottom: \"c\" top: \"f\" }\n";
    float weight[] = {1, 2, 3, 4}, bias[] = {5, 6}, rows[] = {7, 8, 9, 10};
    Weights__Blob blob[] = {legacy(2, 2, 1, 1, weight), legacy(1, 1, 1, 2, bias),
                            legacy(1, 1, 2, 2, rows)};
    Weights__Blob *conv_blobs[] = {&blob[0], &blob[1]}, *fc_blobs[] = {&blob[2]};
    Weights__V0Layer v0 = WEIGHTS__V0_LAYER__INIT;
    Weights__V1Layer conv = WEIGHTS__V1_LAYER__INIT, fc = WEIGHTS__V1_LAYER__INIT;
    Weights__V1Layer *layers[] = {&fc, &conv};
    Weights__Net net = WEIGHTS__NET__INIT;
    char conv_name[] = "c", fc_name[] = "f";
    v0.name = conv_name;
    v0.blobs = conv_blobs;
    v0.n_blobs = 2;
    conv.v0 = &v0;
    fc.name = fc_name;
    fc.blobs = fc_blobs;
    fc.n_blobs = 1;
    net.v1_layer = layers;
    net.n_v1_layer = 2;
    unsigned char bytes[512];
    assert_true(weights__net__get_packed_size(&net) <= sizeof(bytes));
    char proto_path[64], model_path[64];
    snprintf(proto_path, sizeof(proto_path), "test_caffe_v0.%ld.prototxt", (long)getpid());
    snprintf(model_path, sizeof(model_path), "test_caffe_v0.%ld.caffemodel", (long)getpid());
    write_file(proto_path, proto, sizeof(proto) - 1);
    write_file(model_path, bytes, weights__net__pack(&net, bytes));

    q8_arena *arena = q8_arena_open();
    q8_err err = {0};
    q8_caffe_net *caffe;
    q8_graph *graph = NULL;
    const q8_import_opts opts = {0};
    q8_code code = q8_caffe_read(&caffe, proto_path, model_path, arena, NULL, &err);
    if (!code)
        code = q8_import_caffe(&graph, caffe, &opts, arena, NULL, &err);
    remove(proto_path);
    remove(model_path);
    if (code)
        fail_msg("%s", err.text);
    assert_int_equal(graph->n_nodes, 3);
    assert_memory_equal(graph->node[1]->weight[0].data, weight, sizeof(weight));
    assert_memory_equal(graph->node[1]->weight[1].data, bias, sizeof(bias));
    assert_memory_equal(graph->node[2]->weight[0].data, rows, sizeof(rows));
    q8_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(training_types_are_known),
        cmocka_unit_test(fields_find_their_place),
        cmocka_unit_test(fields_of_another_type_are_told),
        cmocka_unit_test(padding_goes_into_its_readers),
        cmocka_unit_test(padding_in_the_wrong_place),
        cmocka_unit_test(binary_weights_match_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
