/* Which files are samples of which input, how many, and what is refused. */
#include "test_picture.h"

#include <ftw.h>
#include <unistd.h>

#include "calib/samples.h"
#include "ops/input.h"
#include "ops/rows.h"

static char root[] = "/tmp/q8_samples_XXXXXX";
static q8_arena *arena;
static q8_graph *graph;

static const char *in_root(const char *prefix, const char *name)
{
    static char path[8][256];
    static int turn;
    char *p = path[turn++ % 8];
    snprintf(p, sizeof(path[0]), "%s%s/%s", prefix, root, name);
    return p;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int open_graph(void **state)
{
    (void)state;
    arena = q8_arena_open();
    graph = arena ? q8_graph_new(arena) : NULL;
    return graph ? 0 : -1;
}

static int close_graph(void **state)
{
    (void)state;
    q8_arena_close(&arena);
    return 0;
}

static void add_input(const char *name, q8_shape shape)
{
    q8_node *node = q8_node_new(arena, &q8_op_input, "layer", 0, 1);
    assert_non_null(node);
    node->out[0] = q8_graph_add_tensor(graph, name, &shape);
    assert_true(node->out[0] >= 0 && q8_graph_insert(graph, node, graph->n_nodes));
}

/* Bytes 0, 1, 2, … of a shape. */
static void write_npy(const char *name, const char *shape, int n)
{
    char header[96];
    FILE *file = fopen(in_root("", name), "wb");
    assert_non_null(file);
    snprintf(header, sizeof(header), "{'descr': '|u1', 'fortran_order': False, 'shape': (%s)}",
             shape);
    fprintf(file, "\x93NUMPY\1%c%c%c%-95s\n", 0, 96, 0, header);
    for (int i = 0; i < n; i++)
        fputc(i, file);
    assert_int_equal(fclose(file), 0);
}

/* A grey pixel. */
static void write_picture(const char *name, int value)
{
    FILE *file = fopen(in_root("", name), "wb");
    assert_non_null(file);
    fprintf(file, "P5 1 1 255 %c", value);
    assert_int_equal(fclose(file), 0);
}

static q8_samples *open_samples(const char *const *sources, size_t n, size_t limit)
{
    q8_samples *samples;
    q8_err err = {0};
    const q8_calib_opts opts = {.images = sources, .n_images = n, .limit = limit};
    if (q8_samples_open(&samples, graph, &opts, NULL, NULL, &err) != Q8_OK)
        fail_msg("%s: %s", err.file, err.text);
    return samples;
}

/* `expected`: the first value of each sample. */
static void check_first(q8_samples *samples, int input, const int *expected, size_t n)
{
    assert_int_equal(q8_samples_count(samples), n);
    for (size_t i = 0; i < n; i++) {
        float values[64];
        q8_err err = {0};
        assert_int_equal(q8_samples_read(samples, i, input, values, NULL, &err), Q8_OK);
        assert_true(values[0] == (float)expected[i]);
    }
}

static void tensors_and_pictures(void **state)
{
    (void)state;
    add_input("data", (q8_shape){3, {1, 1, 1}});
    write_picture("c.pgm", 200);
    write_npy("b.npy", "4, 1, 1, 1", 4);
    write_npy("a.npy", "1, 1, 1", 1);
    const char *sources[] = {in_root("", "c.pgm"), in_root("data=", "a.npy"),
                             in_root("layer=", "b.npy")};
    q8_samples *samples = open_samples(sources, 3, 0);
    check_first(samples, 0, (const int[]){200, 0, 0, 1, 2, 3}, 6);
    q8_samples_close(&samples);
    samples = open_samples(sources, 3, 2);
    check_first(samples, 0, (const int[]){0, 2}, 2);
    q8_samples_close(&samples);
    samples = open_samples(sources, 3, 7);
    assert_int_equal(q8_samples_count(samples), 6);
    q8_samples_close(&samples);
}

static void limits_are_evenly_spaced(void **state)
{
    (void)state;
    add_input("data", (q8_shape){1, {1}});
    write_npy("ten.npy", "10, 1", 10);
    const char *source = in_root("", "ten.npy");
    static const struct {
        size_t limit, n;
        int first[10];
    } cases[] = {{1, 1, {5}},
                 {3, 3, {1, 5, 8}},
                 {9, 9, {0, 1, 2, 3, 5, 6, 7, 8, 9}},
                 {11, 10, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        q8_samples *samples = open_samples(&source, 1, cases[i].limit);
        check_first(samples, 0, cases[i].first, cases[i].n);
        q8_samples_close(&samples);
    }
}

static void any_rank(void **state)
{
    (void)state;
    add_input("data", (q8_shape){4, {2, 1, 1, 2}});
    add_input("info", (q8_shape){1, {3}});
    write_npy("four.npy", "2, 1, 1, 2", 4);
    write_npy("five.npy", "1, 2, 1, 1, 2", 4);
    write_npy("one.npy", "3,", 3);
    write_npy("two.npy", "1, 3", 3);
    const char *sources[] = {in_root("info=", "one.npy"), in_root("data=", "four.npy"),
                             in_root("info=", "two.npy"), in_root("data=", "five.npy")};
    q8_samples *samples = open_samples(sources, 4, 0);
    assert_int_equal(q8_samples_inputs(samples), 2);
    check_first(samples, 0, (const int[]){0, 0}, 2);
    check_first(samples, 1, (const int[]){0, 0}, 2);
    q8_samples_close(&samples);
}

static void check_refused(const char *const *sources, size_t n, const char *file, const char *text)
{
    q8_samples *samples;
    q8_err err = {0};
    const q8_calib_opts opts = {.images = sources, .n_images = n};
    assert_int_equal(q8_samples_open(&samples, graph, &opts, NULL, NULL, &err), Q8_EINVAL);
    assert_null(samples);
    assert_string_equal(err.file, file);
    assert_string_equal(err.text, text);
}

static void check_one_refused(const char *source, const char *file, const char *text)
{
    check_refused(&source, 1, file, text);
}

static void wrong_tensors(void **state)
{
    (void)state;
    add_input("data", (q8_shape){3, {2, 1, 3}});
    static const char *const shapes[][3] = {{"2, 3, 1", "2x3x1"},
                                            {"2, 3", "2x3"},
                                            {"1, 1, 2, 1, 3", "1x1x2x1x3"},
                                            {"0, 2, 1, 3", "0x2x1x3"},
                                            {"", "one number"}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "a tensor of %s, but input 'data' takes 2x1x3, or Nx2x1x3 for N samples",
                 shapes[i][1]);
        write_npy("wrong.npy", shapes[i][0], 6);
        check_one_refused(in_root("", "wrong.npy"), in_root("", "wrong.npy"), text);
    }
    write_picture("c.pgm", 0);
    check_one_refused(in_root("", "c.pgm"), in_root("", "c.pgm"),
                      "a picture cannot be input 'data' of 2x1x3: that takes 1 or 3 channels x "
                      "height x width, or .npy tensors");
    /* One that cannot be read is a sample, to be skipped later. */
    FILE *file = fopen(in_root("", "wrong.npy"), "w");
    assert_non_null(file);
    fclose(file);
    const char *source = in_root("", "wrong.npy");
    q8_samples *samples = open_samples(&source, 1, 0);
    float values[6];
    q8_err err = {0};
    assert_int_equal(q8_samples_count(samples), 1);
    assert_int_equal(q8_samples_read(samples, 0, 0, values, NULL, &err), Q8_EFORMAT);
    assert_string_equal(err.file, source);
    q8_samples_close(&samples);
}

static void which_input(void **state)
{
    (void)state;
    char text[512];
    add_input("data", (q8_shape){3, {1, 1, 1}});
    write_picture("c.pgm", 0);
    write_npy("two.npy", "2, 3", 6);
    snprintf(text, sizeof(text),
             "'dat=%s/c.pgm': no input is called 'dat'; there is 'data' (1x1x1)", root);
    check_one_refused(in_root("dat=", "c.pgm"), "", text);
    add_input("info", (q8_shape){1, {3}});
    snprintf(text, sizeof(text),
             "'%s/c.pgm': the network has 2 inputs, so write INPUT=%s/c.pgm; there are 'data' "
             "(1x1x1), 'info' (3)",
             root, root);
    check_one_refused(in_root("", "c.pgm"), "", text);
    check_one_refused(in_root("data=", "c.pgm"), "",
                      "nothing was given for input 'info': write info=PATH; there are 'data' "
                      "(1x1x1), 'info' (3)");
    const char *sources[] = {in_root("data=", "c.pgm"), in_root("info=", "two.npy")};
    check_refused(sources, 2, "",
                  "1 samples for input 'data' but 2 for 'info': sample i of one belongs to sample "
                  "i of the other");
}

static void a_mean_without_pictures(void **state)
{
    (void)state;
    add_input("data", (q8_shape){1, {3}});
    write_npy("one.npy", "3,", 3);
    const char *source = in_root("", "one.npy");
    q8_samples *samples;
    const q8_preprocess pres[] = {{.n_mean = 1}, {.n_norm = 1}, {.mean_file = "x"}};
    for (size_t i = 0; i < sizeof(pres) / sizeof(pres[0]); i++) {
        q8_err err = {0};
        const q8_calib_opts opts = {.images = &source, .n_images = 1, .preprocess = pres[i]};
        assert_int_equal(q8_samples_open(&samples, graph, &opts, NULL, NULL, &err), Q8_EINVAL);
        assert_string_equal(err.text, "a mean or norm was given, but there are no pictures: .npy "
                                      "tensors are used as they are");
    }
}

/* The prototxt's mean is for the input it names, and for no other. */
static void a_transform_of_one_input(void **state)
{
    (void)state;
    const float mean = 10;
    add_input("data", (q8_shape){3, {1, 1, 1}});
    add_input("other", (q8_shape){3, {1, 1, 1}});
    write_picture("c.pgm", 50);
    q8_caffe_transform t = {.found = true, .scale = 2, .mean = &mean, .n_mean = 1};
    const char *sources[] = {in_root("data=", "c.pgm"), in_root("other=", "c.pgm")};
    const q8_calib_opts opts = {.images = sources, .n_images = 2};
    static const struct {
        const char *input;
        int first[2];
    } cases[] = {{"data", {80, 50}}, {"other", {50, 80}}, {NULL, {80, 80}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        q8_samples *samples;
        q8_err err = {0};
        t.input = cases[i].input;
        assert_int_equal(q8_samples_open(&samples, graph, &opts, &t, NULL, &err), Q8_OK);
        check_first(samples, 0, &cases[i].first[0], 1);
        check_first(samples, 1, &cases[i].first[1], 1);
        q8_samples_close(&samples);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_graph, close_graph)
    const struct CMUnitTest tests[] = {
        TEST(tensors_and_pictures),
        TEST(limits_are_evenly_spaced),
        TEST(any_rank),
        TEST(wrong_tensors),
        TEST(which_input),
        TEST(a_mean_without_pictures),
        TEST(a_transform_of_one_input),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
