/* Caffemodels: every form of blob, matching by name, and bytes that are damaged or no model. */
#include <math.h>
#include <unistd.h>

#include "caffe/weights.h"
#include "test_caffe_util.h"
#include "weights.pb-c.h"

/* --- a model to write ------------------------------------------------------------------------- */

struct written {
    char proto[64], model[64];
};

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static struct written write_pair(const char *proto, const void *model, size_t size)
{
    struct written w;
    snprintf(w.proto, sizeof(w.proto), "test_caffe_weights.%ld.prototxt", (long)getpid());
    snprintf(w.model, sizeof(w.model), "test_caffe_weights.%ld.caffemodel", (long)getpid());
    write_file(w.proto, proto, strlen(proto));
    write_file(w.model, model, size);
    return w;
}

/* Reads a prototxt and the bytes of a model as files. */
static struct reading read_pair(const char *proto, const void *model, size_t size)
{
    struct reading r = {.arena = q8_arena_open()};
    const q8_env env = {.user = &r, .warn = keep_warning};
    const struct written w = write_pair(proto, model, size);
    r.code = q8_caffe_read(&r.net, w.proto, w.model, r.arena, &env, &r.err);
    remove(w.proto);
    remove(w.model);
    assert_int_equal(r.code == Q8_OK, r.net != NULL);
    if (r.code) {
        const char *name = strcmp(r.err.file, w.model) == 0 ? "model" : "proto";
        snprintf(r.err.file, sizeof(r.err.file), "%s", name);
        char *at = strstr(r.err.text, w.model); /* "blob 0 of FILE has" */
        if (at) {
            memmove(at + 5, at + strlen(w.model), strlen(at + strlen(w.model)) + 1);
            memcpy(at, "model", 5);
        }
        q8_err_format(&r.err, "error", r.message, sizeof(r.message));
    }
    return r;
}

enum { MAX_LAYERS = 8, MAX_BLOBS = 8 };

/* A net of layers with one list of blobs each, built on the stack. */
struct model {
    Weights__Net net;
    Weights__Layer layer[MAX_LAYERS], *layers[MAX_LAYERS];
    Weights__V1Layer v1[MAX_LAYERS], *v1s[MAX_LAYERS];
    unsigned char bytes[4096];
    size_t size;
};

static void open_model(struct model *m)
{
    memset(m, 0, sizeof(*m));
    weights__net__init(&m->net);
    m->net.layer = m->layers;
    m->net.v1_layer = m->v1s;
}

static Weights__Layer *add_layer(struct model *m, const char *name, Weights__Blob **blobs, size_t n)
{
    Weights__Layer *layer = &m->layer[m->net.n_layer];
    weights__layer__init(layer);
    layer->name = (char *)(uintptr_t)name;
    layer->blobs = blobs;
    layer->n_blobs = n;
    m->layers[m->net.n_layer++] = layer;
    return layer;
}

static void pack_model(struct model *m)
{
    m->size = weights__net__get_packed_size(&m->net);
    assert_true(m->size <= sizeof(m->bytes));
    weights__net__pack(&m->net, m->bytes);
}

static struct reading read_model(struct model *m, const char *proto)
{
    pack_model(m);
    return read_pair(proto, m->bytes, m->size);
}

static Weights__Blob shaped(Weights__Shape *shape, int64_t *dim, size_t n_dim, float *data,
                            size_t n)
{
    Weights__Blob blob = WEIGHTS__BLOB__INIT;
    *shape = (Weights__Shape)WEIGHTS__SHAPE__INIT;
    shape->dim = dim;
    shape->n_dim = n_dim;
    blob.shape = shape;
    blob.data = data;
    blob.n_data = n;
    return blob;
}

/* --- forms of blobs --------------------------------------------------------------------------- */

#define ONE_LAYER "layer { name: \"a\" type: \"Test\" }"

static void every_form_of_blob(void **state)
{
    (void)state;
    float six[] = {1, 2, 3, -4, 5, 0.1f};
    double doubles[] = {0.5, -1e-50};
    int64_t dim23[] = {2, 3};
    /* 1, -2, the smallest half, the largest, 0.333.., -0 */
    unsigned char halves[] = {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00,
                              0xff, 0x7b, 0x55, 0x35, 0x00, 0x80};
    Weights__Shape shape;
    Weights__Blob by_shape = shaped(&shape, dim23, 2, six, 6);
    Weights__Blob legacy = WEIGHTS__BLOB__INIT, in_double, raw, scalar = WEIGHTS__BLOB__INIT;
    legacy.has_num = legacy.has_channels = legacy.has_height = legacy.has_width = 1;
    legacy.num = legacy.channels = 1;
    legacy.height = 2;
    legacy.width = 3;
    in_double = raw = legacy;
    legacy.data = six;
    legacy.n_data = 6;
    in_double.height = 1;
    in_double.width = 2;
    in_double.double_data = doubles;
    in_double.n_double_data = 2;
    raw.has_raw_data = raw.has_raw_data_type = 1;
    raw.raw_data_type = 2;
    raw.raw_data = (ProtobufCBinaryData){sizeof(halves), halves};
    scalar.data = six + 4;
    scalar.n_data = 1;

    Weights__Blob *blobs[] = {&by_shape, &legacy, &in_double, &raw, &scalar};
    struct model m;
    open_model(&m);
    add_layer(&m, "a", blobs, 5);
    struct reading r = read_model(&m, ONE_LAYER);
    if (r.code)
        fail_msg("%s", r.message);
    assert_int_equal(r.net->layer[0].n_blobs, 5);
    const q8_caffe_blob *b = r.net->layer[0].blob;
    assert_int_equal(b[0].n_dim, 2);
    assert_int_equal(b[0].dim[1], 3);
    assert_int_equal(b[0].count, 6);
    assert_memory_equal(b[0].data, six, sizeof(six));
    assert_int_equal(b[1].n_dim, 4);
    assert_int_equal(b[1].dim[3], 3);
    assert_memory_equal(b[1].data, six, sizeof(six));
    assert_int_equal(b[2].count, 2);
    assert_true(b[2].data[0] == 0.5f && b[2].data[1] == 0);
    const float expected[] = {1, -2, 0x1p-24f, 65504, 0x1.554p-2f, -0.0f};
    assert_int_equal(b[3].count, 6);
    assert_memory_equal(b[3].data, expected, sizeof(expected));
    assert_int_equal(b[4].n_dim, 0);
    assert_int_equal(b[4].count, 1);
    assert_true(b[4].data[0] == 5);
    end_reading(&r);
}

static void raw_floats_and_doubles(void **state)
{
    (void)state;
    const float f[] = {1.5f, -0.1f};
    const double d[] = {-2.5, 0.1};
    int64_t dim = 2;
    for (int type = 0; type < 2; type++) {
        Weights__Shape shape;
        Weights__Blob blob = shaped(&shape, &dim, 1, NULL, 0), *blobs[] = {&blob};
        blob.has_raw_data = blob.has_raw_data_type = 1;
        blob.raw_data_type = type;
        blob.raw_data.data = (uint8_t *)(uintptr_t)(type ? (const void *)f : (const void *)d);
        blob.raw_data.len = type ? sizeof(f) : sizeof(d);
        struct model m;
        open_model(&m);
        add_layer(&m, "a", blobs, 1);
        struct reading r = read_model(&m, ONE_LAYER);
        assert_int_equal(r.code, Q8_OK);
        assert_true(r.net->layer[0].blob[0].data[0] == (type ? 1.5f : -2.5f));
        assert_true(r.net->layer[0].blob[0].data[1] == (type ? -0.1f : 0.1f));
        end_reading(&r);
    }
}

static void blobs_that_are_wrong(void **state)
{
    (void)state;
    float data[] = {1, 2, 3, NAN};
    static const struct {
        int64_t dim[9];
        size_t n_dim, n_data;
        const char *message;
    } cases[] = {
        {{2, 2}, 2, 3, "blob 0 of model has shape 2x2, which is 4 elements, but holds 3"},
        {{2}, 1, 3, "blob 0 of model has shape 2, which is 2 elements, but holds 3"},
        {{0}, 1, 3, "blob 0 of model has shape 0, which is 0 elements, but holds 3"},
        {{3}, 1, 0, "blob 0 of model holds no data"},
        {{1, -3}, 2, 3, "blob 0 of model has a negative dimension, -3"},
        {{INT64_MIN}, 1, 3, "blob 0 of model has a negative dimension, -9223372036854775808"},
        {{INT64_MAX}, 1, 3, "blob 0 of model has a shape of more than 2147483647 elements"},
        {{65536, 65536}, 2, 3, "blob 0 of model has a shape of more than 2147483647 elements"},
        {{4294967296, 4294967296, 4294967296, 4294967296},
         4,
         3,
         "blob 0 of model has a shape of more than 2147483647 elements"},
        {{1, 1, 1, 1, 1, 1, 1, 1, 3}, 9, 3, "blob 0 of model has 9 dimensions, more than 8"},
        {{4}, 1, 4, "blob 0 of model: element 3 is not a finite number"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[256];
        int64_t dim[9];
        memcpy(dim, cases[i].dim, sizeof(dim));
        Weights__Shape shape;
        Weights__Blob blob = shaped(&shape, dim, cases[i].n_dim, data, cases[i].n_data);
        Weights__Blob *blobs[] = {&blob};
        struct model m;
        open_model(&m);
        add_layer(&m, "a", blobs, 1);
        struct reading r = read_model(&m, ONE_LAYER);
        assert_int_equal(r.code, Q8_EMODEL);
        snprintf(expected, sizeof(expected), "proto:1:1: error: layer 'a': %s", cases[i].message);
        assert_string_equal(r.message, expected);
        end_reading(&r);
    }
}

static void raw_blobs_that_are_wrong(void **state)
{
    (void)state;
    unsigned char bytes[7] = {0};
    int64_t dim = 3;
    static const struct {
        int type;
        size_t size;
        const char *message;
    } cases[] = {
        {3, 6, "proto:1:1: error: layer 'a': blob 0 of model holds raw data of an unknown type, 3"},
        {-1, 6,
         "proto:1:1: error: layer 'a': blob 0 of model holds raw data of an unknown type, -1"},
        {2, 7,
         "proto:1:1: error: layer 'a': blob 0 of model holds 7 raw bytes, not a multiple of 2"},
        {1, 4,
         "proto:1:1: error: layer 'a': blob 0 of model has shape 3, which is 3 elements, but holds "
         "1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Weights__Shape shape;
        Weights__Blob blob = shaped(&shape, &dim, 1, NULL, 0), *blobs[] = {&blob};
        blob.has_raw_data = blob.has_raw_data_type = 1;
        blob.raw_data_type = cases[i].type;
        blob.raw_data = (ProtobufCBinaryData){cases[i].size, bytes};
        struct model m;
        open_model(&m);
        add_layer(&m, "a", blobs, 1);
        struct reading r = read_model(&m, ONE_LAYER);
        assert_string_equal(r.message, cases[i].message);
        end_reading(&r);
    }
}

/* --- matching --------------------------------------------------------------------------------- */

static void layers_are_matched_by_name(void **state)
{
    (void)state;
    float one = 1, two = 2, three = 3, wrong = INFINITY;
    int64_t dim = 1;
    Weights__Shape shapes[4];
    Weights__Blob blob1 = shaped(&shapes[0], &dim, 1, &one, 1);
    Weights__Blob blob2 = shaped(&shapes[1], &dim, 1, &two, 1);
    Weights__Blob blob3 = shaped(&shapes[2], &dim, 1, &three, 1);
    Weights__Blob bad = shaped(&shapes[3], &dim, 1, &wrong, 1);
    Weights__Blob *first[] = {&blob1}, *second[] = {&blob2}, *third[] = {&blob3},
                  *unused[] = {&bad};
    struct model m;
    open_model(&m);
    add_layer(&m, "twice", NULL, 0); /* as a training-time layer without weights */
    add_layer(&m, "loss", unused, 1);
    add_layer(&m, "b", second, 1);
    add_layer(&m, "twice", first, 1);
    add_layer(&m, "twice", third, 1);
    add_layer(&m, NULL, third, 1);
    struct reading r = read_model(&m, "layer { name: \"twice\" type: \"T\" }\n"
                                      "layer { name: \"other\" type: \"T\" }\n"
                                      "layer { type: \"T\" }\n"
                                      "layer { name: \"b\" type: \"T\" }\n");
    assert_int_equal(r.code, Q8_OK);
    assert_true(r.net->layer[0].blob[0].data[0] == 1);
    assert_null(r.net->layer[1].blob);
    assert_null(r.net->layer[2].blob);
    assert_true(r.net->layer[3].blob[0].data[0] == 2);
    assert_non_null(strstr(r.warnings,
                           "warning: layer 'twice': the file has several layers of this "
                           "name: the first one counts\n"));
    assert_ptr_equal(strchr(r.warnings, '\n'), strrchr(r.warnings, '\n'));
    end_reading(&r);
}

static void older_generations(void **state)
{
    (void)state;
    float one = 1, two = 2;
    int64_t dim = 1;
    Weights__Shape shapes[2];
    Weights__Blob blob1 = shaped(&shapes[0], &dim, 1, &one, 1);
    Weights__Blob blob2 = shaped(&shapes[1], &dim, 1, &two, 1);
    Weights__Blob *first[] = {&blob1}, *second[] = {&blob2};
    Weights__V0Layer v0 = WEIGHTS__V0_LAYER__INIT;
    char name0[] = "v0", name1[] = "v1";
    v0.name = name0;
    v0.blobs = first;
    v0.n_blobs = 1;
    struct model m;
    open_model(&m);
    weights__v1_layer__init(&m.v1[0]);
    weights__v1_layer__init(&m.v1[1]);
    m.v1[0].v0 = &v0;
    m.v1[1].name = name1;
    m.v1[1].blobs = second;
    m.v1[1].n_blobs = 1;
    m.v1s[0] = &m.v1[0];
    m.v1s[1] = &m.v1[1];
    m.net.n_v1_layer = 2;
    struct reading r =
        read_model(&m, "layer { name: \"v0\" type: \"T\" } layer { name: \"v1\" type: \"T\" }");
    assert_int_equal(r.code, Q8_OK);
    assert_true(r.net->layer[0].blob[0].data[0] == 1);
    assert_true(r.net->layer[1].blob[0].data[0] == 2);
    end_reading(&r);
}

static void blobs_in_the_prototxt(void **state)
{
    (void)state;
    float one = 1;
    int64_t dim = 1;
    Weights__Shape shape;
    Weights__Blob blob = shaped(&shape, &dim, 1, &one, 1), *blobs[] = {&blob};
    struct model m;
    open_model(&m);
    add_layer(&m, "a", blobs, 1);
    struct reading r = read_model(
        &m, "layer { name: \"a\" type: \"T\" blobs { shape { dim: 1 } data: 5 } }\n"
            "layer { name: \"b\" type: \"T\" blobs { shape { dim: 2 } data: [6, 7] } }\n");
    assert_int_equal(r.code, Q8_OK);
    assert_true(r.net->layer[0].blob[0].data[0] == 1); /* the caffemodel's */
    assert_true(r.net->layer[1].blob[0].data[1] == 7);
    end_reading(&r);
    r = read_pair("layer { name: \"b\" type: \"T\" blobs { num: 3 data: 6 } }\n", m.bytes, m.size);
    assert_string_equal(r.message,
                        "proto:1:1: error: layer 'b': blob 0 has shape 3x0x0x0, which is "
                        "0 elements, but holds 1");
    end_reading(&r);
}

/* --- bytes that are no model ------------------------------------------------------------------ */

static void assert_refused(const void *bytes, size_t size, const char *message)
{
    struct reading r = read_pair(ONE_LAYER, bytes, size);
    assert_int_equal(r.code, Q8_EFORMAT);
    assert_string_equal(r.message, message);
    end_reading(&r);
}

#define REFUSED(bytes, message) assert_refused(bytes, sizeof(bytes) - 1, "model: error: " message)

static void mistakes_are_named(void **state)
{
    (void)state;
    REFUSED("", "an empty file, not a caffemodel");
    REFUSED("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
            "a git-lfs pointer (`git lfs pull` gets the file itself), not a caffemodel");
    REFUSED("\x89HDF\r\n\x1a\n\0\0\0", "an HDF5 file, not a caffemodel");
    REFUSED("PK\x03\x04\0\0", "a zip archive, not a caffemodel");
    REFUSED("\x1f\x8b\x08\0\0", "a gzip archive, not a caffemodel");
    REFUSED("\n<HTML lang=en>", "an HTML page (a download that failed?), not a caffemodel");
    REFUSED("name: \"x\"\nlayer {\n}\n", "a text file, not a caffemodel (is this the prototxt?)");
    /* A mean file: num 1, channels 3 and some data. */
    REFUSED("\x08\x01\x10\x03\x2a\x04\0\0\0\0",
            "not a caffemodel, or truncated (byte 0: a field of "
            "the wrong type)");
    REFUSED("\x0a\x01x", "no layers in it: not a caffemodel");
}

static void breaks_are_located(void **state)
{
    (void)state;
    /* layer: tag 100, name "a", one blob with data of 4 bytes at offset 8 */
    REFUSED("\xa2\x06\x0b\x0a\x01"
            "a\x3a\x06\x2a\x04\0\0\0",
            "not a caffemodel, or truncated (byte 0: a field is longer than what is left)");
    REFUSED("\xa2\x06\x0b\x0a\x01"
            "a\x3a\x06\x2a\x05\0\0\0\0",
            "not a caffemodel, or truncated (byte 8: a field is longer than what is left)");
    REFUSED("\xa2\x06\x0b\x0a\x01"
            "a\x3a\x06\x2a\x03\0\0\0\x08",
            "not a caffemodel, or truncated (byte 8: an array ends inside a number)");
    REFUSED("\xa2\x06\x02\x08\x80",
            "not a caffemodel, or truncated (byte 3: a number without an end)");
    REFUSED("\xa2\x06\x02\x08\x01", "not a caffemodel, or truncated (byte 3: a field of the wrong "
                                    "type)");
    REFUSED("\xa2\x06\x01\x0b",
            "not a caffemodel, or truncated (byte 3: a field of no known type)");
    REFUSED("\xa2\x06\x01\x02", "not a caffemodel, or truncated (byte 3: no field begins here)");
    REFUSED("\xa2\x06\x02\x0a\x80",
            "not a caffemodel, or truncated (byte 3: a length without an end)");
    REFUSED("\xff\xff\xff\xff\xff\xff",
            "not a caffemodel, or truncated (byte 0: no field begins here)");
    /* Merging many sub-messages would take quadratic memory. */
    REFUSED("\xa2\x06\x0a\x3a\x08\x3a\x02\x08\x01\x3a\x02\x08\x01",
            "not a caffemodel, or truncated (byte 9: a part that may occur once occurs twice)");
}

static void millions_of_empty_parts(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    unsigned char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i += 3)
        memcpy(bytes + i, "\xa2\x06", 3); /* an empty layer */
    assert_refused(bytes, SIZE,
                   "model: error: not a caffemodel: it is made of millions of tiny fields");
    free(bytes);
}

/* A model that uses every field of the schema. */
static void fill_sample(struct model *m)
{
    static float six[] = {1, 2, 3, -4, 5, 6};
    static double doubles[] = {0.5, 2};
    static int64_t dim[] = {2, 3};
    static unsigned char halves[] = {0x00, 0x3c, 0x00, 0xc0};
    static Weights__Shape shape;
    static Weights__Blob a, b, c;
    static Weights__Blob *blobs[] = {&a, &b, &c};
    a = shaped(&shape, dim, 2, six, 6);
    b = c = (Weights__Blob)WEIGHTS__BLOB__INIT;
    b.has_num = b.has_channels = b.has_height = b.has_width = 1;
    b.num = 2;
    b.channels = b.height = b.width = 1;
    c = b;
    b.double_data = doubles;
    b.n_double_data = 2;
    c.has_raw_data = c.has_raw_data_type = 1;
    c.raw_data_type = 2;
    c.raw_data = (ProtobufCBinaryData){sizeof(halves), halves};
    static char name[] = "net", type[] = "Test", v1_name[] = "b";
    open_model(m);
    m->net.name = name;
    add_layer(m, "a", blobs, 3)->type = type;
    weights__v1_layer__init(&m->v1[0]);
    m->v1[0].name = v1_name;
    m->v1[0].blobs = blobs;
    m->v1[0].n_blobs = 3;
    m->v1s[0] = &m->v1[0];
    m->net.n_v1_layer = 1;
    pack_model(m);
}

/* What the reader does with a model in memory: it may fail, with a message, and nothing else. */
static q8_code try_bytes(const unsigned char *bytes, size_t size)
{
    q8_arena *arena = q8_arena_open();
    q8_weights weights;
    q8_err err = {0};
    unsigned char *copy = malloc(size ? size : 1);
    assert_true(arena && copy);
    memcpy(copy, bytes, size);
    const q8_code code = q8_weights_parse(&weights, "model", copy, size, arena, &err);
    free(copy);
    assert_int_equal(code, err.code);
    assert_true(code == Q8_OK || code == Q8_EFORMAT);
    q8_arena_close(&arena);
    return code;
}

static void survives_every_truncation(void **state)
{
    (void)state;
    struct model m;
    fill_sample(&m);
    assert_int_equal(try_bytes(m.bytes, m.size), Q8_OK);
    int good = 0;
    for (size_t size = 0; size < m.size; size++)
        good += try_bytes(m.bytes, size) == Q8_OK;
    /* Between the two layers nothing tells that something is missing. */
    assert_int_equal(good, 1);
}

static void survives_damage(void **state)
{
    (void)state;
    struct model m;
    fill_sample(&m);
    unsigned seed = 7;
    for (int round = 0; round < 50000; round++) {
        unsigned char bytes[sizeof(m.bytes)];
        memcpy(bytes, m.bytes, m.size);
        for (int k = 0; k <= round % 3; k++) {
            seed = seed * 1103515245u + 12345u;
            const size_t at = (seed >> 8) % m.size;
            seed = seed * 1103515245u + 12345u;
            bytes[at] = (unsigned char)(seed >> 16);
        }
        try_bytes(bytes, m.size);
    }
}

/* The same, through the conversion of the blobs. */
static void survives_damage_up_to_the_blobs(void **state)
{
    (void)state;
    struct model m;
    fill_sample(&m);
    for (size_t at = 0; at < m.size; at++)
        for (int bit = 0; bit < 8; bit++) {
            m.bytes[at] ^= (unsigned char)(1 << bit);
            struct reading r = read_pair("layer { name: \"a\" type: \"T\" }", m.bytes, m.size);
            end_reading(&r);
            m.bytes[at] ^= (unsigned char)(1 << bit);
        }
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    q8_arena *arena = q8_arena_open();
    q8_caffe_net *net;
    q8_err err = {0};
    assert_int_equal(q8_caffe_read(&net, "no/such.prototxt", NULL, arena, NULL, &err), Q8_EIO);
    assert_string_equal(err.file, "no/such.prototxt");
    assert_null(net);
    q8_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_blob),
        cmocka_unit_test(raw_floats_and_doubles),
        cmocka_unit_test(blobs_that_are_wrong),
        cmocka_unit_test(raw_blobs_that_are_wrong),
        cmocka_unit_test(layers_are_matched_by_name),
        cmocka_unit_test(older_generations),
        cmocka_unit_test(blobs_in_the_prototxt),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(breaks_are_located),
        cmocka_unit_test(millions_of_empty_parts),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(survives_damage_up_to_the_blobs),
        cmocka_unit_test(files_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
