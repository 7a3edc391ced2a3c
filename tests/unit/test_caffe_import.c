/* Whole networks into graphs: weights shared by name, layers of one name, connections that are
 * wrong, types that are misspelt. Every message with its place. */
#include <unistd.h>

#include "import/import.h"
#include "test_caffe_util.h"
#include "weights.pb-c.h"

/* --- a caffemodel ----------------------------------------------------------------------------- */

enum { MAX_LAYERS = 6, MAX_BLOBS = 12, MAX_BYTES = 4096 };

struct model {
    Weights__Net net;
    Weights__Layer layer[MAX_LAYERS], *layers[MAX_LAYERS];
    Weights__Blob blob[MAX_BLOBS], *blobs[MAX_BLOBS];
    Weights__Shape shape[MAX_BLOBS];
    int64_t dim[MAX_BLOBS][4];
    float value[64];
    size_t n_blobs;
};

/* Blobs hold 1, 2, 3, ... after a first number of their own. */
static void open_model(struct model *m)
{
    memset(m, 0, sizeof(*m));
    weights__net__init(&m->net);
    m->net.layer = m->layers;
    for (int i = 0; i < 64; i++)
        m->value[i] = (float)i;
}

static void add_layer(struct model *m, const char *name)
{
    Weights__Layer *layer = &m->layer[m->net.n_layer];
    weights__layer__init(layer);
    layer->name = (char *)(uintptr_t)name;
    layer->blobs = &m->blobs[m->n_blobs];
    m->layers[m->net.n_layer++] = layer;
}

/* For the layer added last; n_dim 0: an empty one. Its numbers count up from `start`. */
static void add_blob(struct model *m, int start, int n_dim, int a, int b, int c, int d)
{
    const size_t i = m->n_blobs++;
    const int64_t dim[] = {a, b, c, d};
    weights__blob__init(&m->blob[i]);
    m->blobs[i] = &m->blob[i];
    m->layers[m->net.n_layer - 1]->n_blobs++;
    if (n_dim == 0)
        return;
    weights__shape__init(&m->shape[i]);
    memcpy(m->dim[i], dim, sizeof(dim));
    m->shape[i].dim = m->dim[i];
    m->shape[i].n_dim = (size_t)n_dim;
    m->blob[i].shape = &m->shape[i];
    m->blob[i].data = m->value + start;
    m->blob[i].n_data = 1;
    for (int k = 0; k < n_dim; k++)
        m->blob[i].n_data *= (size_t)dim[k];
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

struct imported {
    struct reading r;
    q8_graph *graph;
};

static struct imported import(const char *proto, struct model *m, int width, int height)
{
    char proto_path[64], model_path[64];
    unsigned char bytes[MAX_BYTES];
    const size_t size = m ? weights__net__get_packed_size(&m->net) : 0;
    assert_true(size <= sizeof(bytes));
    if (m)
        weights__net__pack(&m->net, bytes);
    snprintf(proto_path, sizeof(proto_path), "test_caffe_import.%ld.prototxt", (long)getpid());
    snprintf(model_path, sizeof(model_path), "test_caffe_import.%ld.caffemodel", (long)getpid());
    write_file(proto_path, proto, strlen(proto));
    if (m)
        write_file(model_path, bytes, size);

    struct imported made = {.r = {.arena = q8_arena_open()}};
    struct reading *r = &made.r;
    const q8_env env = {.user = r, .warn = keep_warning};
    const q8_import_opts opts = {.width = width, .height = height};
    r->code = q8_caffe_read(&r->net, proto_path, m ? model_path : NULL, r->arena, &env, &r->err);
    if (!r->code) {
        /* As the messages below have it. */
        r->net->proto_path = "net.prototxt";
        r->net->model_path = "net.caffemodel";
        for (int i = 0; i < r->net->n_layers; i++)
            r->net->layer[i].loc.file = "net.prototxt";
        r->code = q8_import_caffe(&made.graph, r->net, &opts, r->arena, &env, &r->err);
    }
    remove(proto_path);
    remove(model_path);
    if (r->code)
        q8_err_format(&r->err, "error", r->message, sizeof(r->message));
    return made;
}

static struct imported import_good(const char *proto, struct model *m)
{
    struct imported made = import(proto, m, 0, 0);
    if (made.r.code)
        fail_msg("%s", made.r.message);
    return made;
}

static void refused(const char *proto, struct model *m, const char *message)
{
    struct imported made = import(proto, m, 0, 0);
    assert_int_not_equal(made.r.code, Q8_OK);
    assert_string_equal(made.r.message, message);
    end_reading(&made.r);
}

#define INPUT "input: \"data\" input_dim: [5, 2, 4, 4]\n"
#define CONV(name, bottom, params, rest)                                                           \
    "layer { name: \"" name "\" type: \"Convolution\" bottom: \"" bottom "\" top: \"" name         \
    "\" " params " convolution_param { kernel_size: 1 " rest " } }\n"

/* --- shared weights --------------------------------------------------------------------------- */

static void weights_are_the_owners(void **state)
{
    (void)state;
    static const char proto[] =
        INPUT CONV("a", "data", "param { name: \"w\" } param { name: \"b\" }", "num_output: 2")
            CONV("b", "data", "param { name: \"w\" } param { name: \"b\" }", "num_output: 2")
                CONV("c", "data", "param { name: \"w\" }", "num_output: 2")
                    CONV("d", "data", "param { } param { name: \"b\" }", "num_output: 2");
    struct model m;
    open_model(&m);
    add_layer(&m, "a");
    add_blob(&m, 1, 4, 2, 2, 1, 1);
    add_blob(&m, 5, 1, 2, 0, 0, 0);
    /* Nothing of "b"; only the bias of "c"; the weights of "d". */
    add_layer(&m, "c");
    add_blob(&m, 0, 0, 0, 0, 0, 0);
    add_blob(&m, 10, 1, 2, 0, 0, 0);
    add_layer(&m, "d");
    add_blob(&m, 20, 4, 2, 2, 1, 1);
    struct imported made = import_good(proto, &m);
    static const float first[4][2] = {{1, 5}, {1, 5}, {1, 10}, {20, 5}};
    assert_int_equal(made.graph->n_nodes, 5);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++)
            assert_true(made.graph->node[i + 1]->weight[k].data[0] == first[i][k]);
    assert_string_equal(made.r.warnings, "");
    end_reading(&made.r);

    /* Caffe writes them for each layer; then they are its own. */
    add_layer(&m, "b");
    add_blob(&m, 30, 4, 2, 2, 1, 1);
    add_blob(&m, 40, 1, 2, 0, 0, 0);
    made = import_good(proto, &m);
    assert_true(made.graph->node[2]->weight[0].data[0] == 30);
    end_reading(&made.r);
}

static void modes_of_sharing(void **state)
{
    (void)state;
    struct model m;
    open_model(&m);
    add_layer(&m, "a");
    add_blob(&m, 1, 4, 4, 2, 1, 1);
    static const char with[] =
        INPUT CONV("a", "data", "param { name: \"w\" }", "num_output: 4 bias_term: false")
            CONV("b", "a", "param { name: \"w\" share_mode: PERMISSIVE }",
                 "num_output: 2 bias_term: false");
    struct imported made = import_good(with, &m);
    assert_true(made.graph->node[2]->weight[0].data == made.graph->node[1]->weight[0].data);
    end_reading(&made.r);
    refused(INPUT CONV("a", "data", "param { name: \"w\" }", "num_output: 4 bias_term: false")
                CONV("b", "a", "param { name: \"w\" }", "num_output: 2 bias_term: false"),
            &m,
            "net.prototxt:3:1: error: layer 'b': blob 0 is to be shared as 'w' with layer 'a' "
            "(line 2), whose is 4x2x1x1, but 2x4x1x1 is needed here");
    refused(INPUT CONV("a", "data", "param { name: \"w\" }", "num_output: 4 bias_term: false")
                CONV("b", "a", "param { name: \"w\" share_mode: PERMISSIVE }",
                     "num_output: 3 bias_term: false"),
            &m,
            "net.prototxt:3:1: error: layer 'b': blob 0 is to be shared as 'w' with layer 'a' "
            "(line 2), whose is 4x2x1x1, but 3x4x1x1 is needed here");
    refused(INPUT CONV("n", "data", "param { name: \"w\" }", "num_output: 4 bias_term: false")
                CONV("b", "data", "param { name: \"w\" }", "num_output: 4 bias_term: false"),
            &m, "net.prototxt:2:1: error: layer 'n': net.caffemodel has no weights for it");
    refused(INPUT
            "layer { name: \"s\" type: \"ReLU\" bottom: \"data\" top: \"s\" param { name: \"w\" } "
            "}\n" CONV("b", "data", "param { name: \"w\" }", "num_output: 4 bias_term: false"),
            &m,
            "net.prototxt:3:1: error: layer 'b': net.caffemodel has no blob 0 for it, nor for "
            "layer 's' (line 2), which it shares 'w' with");
}

/* --- layers of one name ----------------------------------------------------------------------- */

static void one_name_for_several_layers(void **state)
{
    (void)state;
    struct model m;
    open_model(&m);
    add_layer(&m, "a");
    add_blob(&m, 1, 4, 2, 2, 1, 1);
    struct imported made = import_good(
        INPUT "layer { name: \"a\" type: \"ReLU\" bottom: \"data\" top: \"data\" }\n" CONV(
            "a", "data", "", "num_output: 2 bias_term: false"),
        &m);
    end_reading(&made.r);
    refused(
        INPUT CONV(
            "a", "data", "",
            "num_output: 2 bias_term: false") "layer { name: \"a\" type: \"Convolution\" bottom: "
                                              "\"a\" top: \"b\" convolution_param "
                                              "{ kernel_size: 1 num_output: 2 bias_term: false } }",
        &m,
        "net.prototxt:3:1: error: layer 'a': the layer in line 2 has this name and weights "
        "too: layers find theirs by name, so give one of them another, in the caffemodel too");
}

/* --- connections ------------------------------------------------------------------------------ */

#define RELU(name, bottom, top)                                                                    \
    "layer { name: \"" name "\" type: \"ReLU\" bottom: \"" bottom "\" top: \"" top "\" }\n"

static void connections_that_are_wrong(void **state)
{
    (void)state;
    refused(INPUT RELU("a", "dtaa", "a"), NULL,
            "net.prototxt:2:32: error: layer 'a': bottom 'dtaa' is not made by any layer before "
            "this one");
    refused(INPUT RELU("a", "b", "a") RELU("b", "a", "b"), NULL,
            "net.prototxt:2:32: error: layer 'a': bottom 'b' is made by a later layer, 'b' (line "
            "3): a layer must come after those it reads");
    refused(INPUT RELU("a", "a", "a"), NULL,
            "net.prototxt:2:32: error: layer 'a': bottom 'a' is made by the layer itself");
    refused("layer { name: \"d\" type: \"Data\" top: \"data\" include { phase: TRAIN } }\n" RELU(
                "a", "data", "a"),
            NULL,
            "net.prototxt:2:32: error: layer 'a': bottom 'data' is made by layer 'd' (line 1) "
            "only, which is not part of the network in phase TEST");
    refused(INPUT RELU("a", "data", "a") RELU("b", "data", "a"), NULL,
            "net.prototxt:3:47: error: layer 'b': top 'a' is already made by layer 'a'");
    refused(INPUT "layer { name: \"s\" type: \"Split\" bottom: \"data\" top: \"x\" top: \"x\" }",
            NULL, "net.prototxt:2:57: error: layer 's': top 'x' is already made by layer 's'");
    refused(
        INPUT "layer { name: \"i\" type: \"Input\" top: \"data\" input_param { shape { dim: [1, "
              "2] } } }",
        NULL, "net.prototxt:2:33: error: layer 'i': top 'data' is already made by layer 'data'");
}

static void outputs_are_what_nothing_reads(void **state)
{
    (void)state;
    struct imported made = import_good(
        INPUT RELU("a", "data", "a") RELU("b", "a", "a") RELU(
            "c", "data",
            "c") "layer { name: \"s\" type: \"Split\" bottom: \"data\" top: \"x\" top: \"y\" }\n"
                 "layer { name: \"q\" type: \"Silence\" bottom: \"y\" }\n",
        NULL);
    assert_int_equal(made.graph->n_outputs, 3);
    static const char *const names[] = {"a", "c", "x"};
    for (int i = 0; i < 3; i++)
        assert_string_equal(made.graph->tensor[made.graph->output[i]].name, names[i]);
    end_reading(&made.r);
}

/* --- data layers ------------------------------------------------------------------------------ */

static void sizes_of_data_layers(void **state)
{
    (void)state;
    static const char proto[] = "layer { name: \"mnist\" type: \"Data\" top: \"data\" }\n" CONV(
        "a", "data", "", "num_output: 3 bias_term: false");
    struct model m;
    open_model(&m);
    add_layer(&m, "a");
    add_blob(&m, 1, 4, 3, 1, 1, 1);
    refused(proto, &m,
            "net.prototxt:1:1: error: layer 'mnist': the input's width or height is not known; "
            "give it with --size");
    /* The weights tell that the pictures are gray. */
    struct imported made = import(proto, &m, 7, 6);
    if (made.r.code)
        fail_msg("%s", made.r.message);
    const q8_shape gray = {3, {1, 6, 7}};
    assert_true(q8_shape_equal(&made.graph->tensor[made.graph->node[0]->out[0]].shape, &gray));
    end_reading(&made.r);
}

/* --- types ------------------------------------------------------------------------------------ */

static void unknown_types_are_listed(void **state)
{
    (void)state;
    refused(INPUT "layer { name: \"a\" type: \"Batchnorm\" bottom: \"data\" top: \"a\" }\n"
                  "layer { name: \"b\" type: \"ReLu\" bottom: \"a\" top: \"b\" }\n"
                  "layer { name: \"c\" type: \"Convolutoin\" bottom: \"b\" top: \"c\" }\n"
                  "layer { name: \"d\" type: \"InnerProduct_\" bottom: \"c\" top: \"d\" }\n"
                  "layer { name: \"e\" type: \"CapsuleRouting\" bottom: \"d\" top: \"e\" }\n",
            NULL,
            "net.prototxt:2:1: error: 5 layers of a type this program does not know:\n"
            "  net.prototxt:2: layer 'a' has type 'Batchnorm' (did you mean 'BatchNorm'?)\n"
            "  net.prototxt:3: layer 'b' has type 'ReLu' (did you mean 'ReLU'?)\n"
            "  net.prototxt:4: layer 'c' has type 'Convolutoin' (did you mean 'Convolution'?)\n"
            "  net.prototxt:5: layer 'd' has type 'InnerProduct_' (did you mean 'InnerProduct'?)\n"
            "  net.prototxt:6: layer 'e' has type 'CapsuleRouting'\n"
            "  what can be done: end the network before such a layer and do its work in the "
            "program that runs it, or write it with the layer types that docs/layers.md lists");
    refused(INPUT "layer { name: \"a\" type: \"PRELU\" bottom: \"data\" top: \"a\" }", NULL,
            "net.prototxt:2:1: error: 1 layer of a type this program does not know:\n"
            "  net.prototxt:2: layer 'a' has type 'PRELU' (did you mean 'PReLU'?)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_the_owners),
        cmocka_unit_test(modes_of_sharing),
        cmocka_unit_test(one_name_for_several_layers),
        cmocka_unit_test(connections_that_are_wrong),
        cmocka_unit_test(outputs_are_what_nothing_reads),
        cmocka_unit_test(sizes_of_data_layers),
        cmocka_unit_test(unknown_types_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
