/* A pass over real (tiny) picture files: same result on any number of threads, bad pictures, stops.
 */
#include "calib/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "calib/preprocess.h"
#include "ops/conv.h"
#include "ops/input.h"
#include "ops/rows.h"

enum { PICTURES = 23, SIZE = 12 };

/* Input -> ReLU, and pictures 00.ppm, 01.ppm, … in a folder of their own. */
struct fixture {
    char folder[64];
    q8_arena *arena;
    q8_graph *graph;
    bool wanted[4];
};

static void picture_path(const struct fixture *f, int i, char *path, size_t size)
{
    snprintf(path, size, "%s/%02d.ppm", f->folder, i);
}

static void write_picture(const struct fixture *f, int i, const char *instead)
{
    char path[128];
    picture_path(f, i, path, sizeof(path));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (instead) {
        fputs(instead, file);
    } else {
        fprintf(file, "P6\n%d %d\n255\n", SIZE + i, SIZE);
        for (int k = 0; k < 3 * (SIZE + i) * SIZE; k++)
            fputc((k * k * 7 + i * 31) & 255, file);
    }
    assert_int_equal(fclose(file), 0);
}

/* A tensor of one colour that fits the picture of the same number. */
static void write_tensor(const char *folder, int i, int bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%02d.npy", folder, i);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "\x93NUMPY\1%c%c%c%-79s\n", 0, 80, 0,
            "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 12, 12)}");
    for (int k = 0; k < bytes; k++)
        fputc(i, file);
    assert_int_equal(fclose(file), 0);
}

static q8_node *add_node(struct fixture *f, const q8_op *op, const char *name, int in, int out)
{
    q8_node *node = q8_node_new(f->arena, op, name, in >= 0, out >= 0);
    assert_non_null(node);
    if (in >= 0)
        node->in[0] = in;
    if (out >= 0)
        node->out[0] = out;
    assert_true(q8_graph_insert(f->graph, node, f->graph->n_nodes));
    return node;
}

static void add_input(struct fixture *f, q8_shape shape)
{
    const int tensor = q8_graph_add_tensor(f->graph, "data", &shape);
    assert_true(tensor >= 0);
    q8_input_attr *a = add_node(f, &q8_op_input, "data", -1, tensor)->attr;
    a->c = shape.dim[0];
    a->h = shape.dim[1];
    a->w = shape.dim[2];
}

static int open_graph(struct fixture *f, int channels)
{
    const q8_shape shape = {3, {channels, SIZE, SIZE}};
    f->arena = q8_arena_open();
    assert_non_null(f->arena);
    f->graph = q8_graph_new(f->arena);
    assert_non_null(f->graph);
    add_input(f, shape);
    assert_int_equal(q8_graph_add_tensor(f->graph, "relu", &shape), 1);
    add_node(f, &q8_op_relu, "relu", 0, 1);
    static int output[] = {1};
    f->graph->output = output;
    f->graph->n_outputs = 1;
    f->wanted[0] = f->wanted[1] = true;
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    strcpy(f->folder, "/tmp/test_calibrate_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    for (int i = 0; i < PICTURES; i++)
        write_picture(f, i, NULL);
    *state = f;
    return open_graph(f, 3);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < PICTURES; i++) {
        char path[128];
        picture_path(f, i, path, sizeof(path));
        unlink(path);
    }
    rmdir(f->folder);
    q8_arena_close(&f->arena);
    free(f);
    return 0;
}

/* What the callbacks saw. */
struct seen {
    char warnings[8192];
    size_t done, total;
    volatile int cancel;
    size_t cancel_at;
};

static void on_warn(void *user, const q8_err *what)
{
    struct seen *seen = user;
    char line[1024];
    q8_err_format(what, "warning", line, sizeof(line));
    assert_true(strlen(seen->warnings) + strlen(line) + 2 < sizeof(seen->warnings));
    strcat(seen->warnings, line);
    strcat(seen->warnings, "\n");
}

static void on_progress(void *user, const char *stage, size_t done, size_t total)
{
    struct seen *seen = user;
    if (strcmp(stage, "calibrate") == 0 && done == seen->done + 1)
        seen->done = done;
    seen->total = total;
    if (done == seen->cancel_at)
        __atomic_store_n(&seen->cancel, 1, __ATOMIC_RELAXED);
}

struct how {
    int threads;
    bool strict;
    size_t cancel_at;
    float norm;
    const char *checkpoint;
    double seconds; /* between them */
};

static q8_code run(struct fixture *f, const struct how *how, q8_calibration *cal, struct seen *seen,
                   q8_err *err)
{
    const char *images[] = {f->folder};
    const q8_calib_opts opts = {
        .images = images,
        .n_images = 1,
        .strict = how->strict,
        .preprocess = {.n_mean = 1, .n_norm = 1, .mean = {100}, .norm = {how->norm}},
        .checkpoint_seconds = how->seconds,
    };
    q8_checkpoint checkpoint = {.path = how->checkpoint,
                                .subject = {f->graph, f->wanted, 1, 2, "a network"}};
    const q8_env env = {.user = seen,
                        .warn = on_warn,
                        .progress = on_progress,
                        .cancel = &seen->cancel,
                        .threads = how->threads};
    memset(seen, 0, sizeof(*seen));
    memset(err, 0, sizeof(*err));
    seen->cancel_at = how->cancel_at;
    const q8_calibration_of what = {.graph = f->graph,
                                    .wanted = f->wanted,
                                    .opts = &opts,
                                    .backend = Q8_BACKEND_PLAIN,
                                    .checkpoint = how->checkpoint ? &checkpoint : NULL};
    const q8_code code = q8_calibration_run(cal, &what, &env, err);
    q8_checkpoint_close(&checkpoint);
    return code;
}

static void assert_same(const q8_calibration *a, const q8_calibration *b)
{
    assert_int_equal(a->used, b->used);
    assert_int_equal(a->skipped, b->skipped);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (int t = 0; t < a->n_tensors; t++) {
        const q8_stats *x = a->stats[t], *y = b->stats[t];
        assert_memory_equal(&x->hist, &y->hist, sizeof(x->hist));
        assert_memory_equal(&x->min, &y->min, sizeof(x->min));
        assert_memory_equal(&x->max, &y->max, sizeof(x->max));
        assert_int_equal(x->count, y->count);
        assert_memory_equal(x->channel_absmax, y->channel_absmax,
                            (size_t)x->channels * sizeof(float));
    }
}

/* The input's statistics, picture after picture. */
static void test_against_serial(void **state)
{
    struct fixture *f = *state;
    static const struct how how = {.threads = 2, .norm = 0.5f};
    const q8_preprocess pre = {.n_mean = 1, .n_norm = 1, .mean = {100}, .norm = {0.5f}};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_OK);
    assert_int_equal(cal.used, PICTURES);
    assert_int_equal(cal.skipped, 0);
    assert_int_equal(seen.done, PICTURES);
    assert_int_equal(seen.total, PICTURES);
    assert_string_equal(seen.warnings, "");
    q8_prep prep;
    q8_stats want;
    assert_int_equal(
        q8_prep_open(&prep, &pre, NULL, &f->graph->tensor[0].shape, f->arena, NULL, &err), Q8_OK);
    assert_int_equal(q8_stats_init(&want, 3, &err), Q8_OK);
    for (int i = 0; i < PICTURES; i++) {
        char path[128];
        float input[3 * SIZE * SIZE];
        q8_picture picture = {0}, resized = {0};
        picture_path(f, i, path, sizeof(path));
        assert_int_equal(q8_picture_read(&picture, path, &err), Q8_OK);
        assert_int_equal(q8_prep_picture(&prep, &picture, &resized, input, &err), Q8_OK);
        const q8_view view = {input, 1, {3, {3, SIZE, SIZE}}, 1, NULL};
        q8_stats_add(&want, &view);
        q8_picture_free(&picture);
        q8_picture_free(&resized);
    }
    const q8_stats *got = cal.stats[0];
    assert_memory_equal(&got->hist, &want.hist, sizeof(want.hist));
    assert_int_equal(got->count, want.count);
    assert_true(got->min == want.min && got->min < 0 && got->max == want.max);
    assert_true(cal.stats[1]->min == 0 && cal.stats[1]->max == want.max);
    q8_stats_free(&want);
    q8_calibration_free(&cal);
}

/* A layer with more weights than the network has activations: its output is not wanted. */
static void add_large_layer(struct fixture *f)
{
    enum { OUTPUTS = 8, WEIGHTS = OUTPUTS * 3 * SIZE * SIZE };
    const q8_shape shape = {3, {OUTPUTS, 1, 1}};
    const int out = q8_graph_add_tensor(f->graph, "large", &shape);
    q8_node *node = add_node(f, &q8_op_convolution, "large", 1, out);
    q8_conv_attr *a = node->attr;
    a->num_output = OUTPUTS;
    a->kernel_w = a->kernel_h = SIZE;
    a->weight_data_size = WEIGHTS;
    node->weight[0] = (q8_weight){q8_arena_array(f->arena, WEIGHTS, sizeof(float)), WEIGHTS};
    assert_non_null(node->weight[0].data);
}

static void test_batches_do_not_show(void **state)
{
    struct fixture *f = *state;
    write_picture(f, 3, "P6\nnonsense");
    write_picture(f, 22, "P6\n3 3\n255\n");
    struct how how = {.threads = 1, .norm = 1};
    q8_calibration alone;
    struct seen one;
    q8_err err;
    assert_int_equal(q8_exec_best_batch(f->graph), 1);
    assert_int_equal(run(f, &how, &alone, &one, &err), Q8_OK);
    add_large_layer(f);
    assert_int_equal(q8_exec_best_batch(f->graph), 4);
    for (how.threads = 1; how.threads < 9; how.threads++) {
        q8_calibration many;
        struct seen seen;
        assert_int_equal(run(f, &how, &many, &seen, &err), Q8_OK);
        many.n_tensors = alone.n_tensors;
        assert_same(&alone, &many);
        assert_string_equal(one.warnings, seen.warnings);
        q8_calibration_free(&many);
    }
    q8_calibration_free(&alone);
}

static void test_threads_do_not_show(void **state)
{
    struct fixture *f = *state;
    write_picture(f, 3, "P6\nnonsense");
    write_picture(f, 11, "P6\n3 3\n255\n");
    struct how how = {.threads = 1, .norm = 1};
    q8_calibration one;
    struct seen serial;
    q8_err err;
    assert_int_equal(run(f, &how, &one, &serial, &err), Q8_OK);
    assert_int_equal(one.used, PICTURES - 2);
    assert_int_equal(one.skipped, 2);
    const char *first = strstr(serial.warnings, "/03.ppm: warning: skipped: ");
    const char *second = strstr(serial.warnings, "/11.ppm: warning: skipped: ");
    assert_non_null(first);
    assert_true(second > first);
    for (how.threads = 0; how.threads < 40; how.threads++) {
        q8_calibration many;
        struct seen seen;
        assert_int_equal(run(f, &how, &many, &seen, &err), Q8_OK);
        assert_same(&many, &one);
        assert_string_equal(seen.warnings, serial.warnings);
        assert_int_equal(seen.done, PICTURES);
        q8_calibration_free(&many);
    }
    q8_calibration_free(&one);
}

static void test_strict_names_the_first(void **state)
{
    struct fixture *f = *state;
    for (int i = 7; i < PICTURES; i += 2)
        write_picture(f, i, "P6\nnonsense");
    for (int round = 0; round < 60; round++) {
        const struct how how = {.threads = 1 + round % 9, .strict = true, .norm = 1};
        q8_calibration cal;
        struct seen seen;
        q8_err err;
        assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EFORMAT);
        assert_non_null(strstr(err.file, "/07.ppm"));
        assert_string_equal(seen.warnings, "");
        assert_null(cal.stats);
    }
}

static void test_none_usable(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < PICTURES; i++)
        write_picture(f, i, "nothing");
    const struct how how = {.threads = 3, .norm = 1};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EFORMAT);
    assert_string_equal(err.text, "none of the 23 samples can be used");
    assert_null(cal.stats);
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    const struct how how = {.threads = 2, .cancel_at = 5, .norm = 1};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EINTR);
    assert_in_range(seen.done, 5, PICTURES - 1);
    assert_null(cal.stats);
    q8_calibration_free(&cal);
}

/* Stopped after any picture, on any number of threads, and gone on with on any other. */
static void test_goes_on_from_a_checkpoint(void **state)
{
    struct fixture *f = *state;
    char path[80];
    struct seen whole_seen;
    q8_calibration whole;
    q8_err err;
    snprintf(path, sizeof(path), "%s.partial", f->folder);
    write_picture(f, 3, "P6\nnonsense");
    write_picture(f, 17, "P6\n3 3\n255\n");
    assert_int_equal(run(f, &(struct how){.threads = 1, .norm = 1}, &whole, &whole_seen, &err),
                     Q8_OK);
    for (int i = 0; i < 2 * PICTURES; i += 7) {
        struct how how = {.threads = 1 + i % 3,
                          .norm = 1,
                          .cancel_at = 1 + (size_t)i / 2,
                          .checkpoint = path,
                          .seconds = i % 2 ? 0 : 1000};
        q8_calibration cal;
        struct seen seen;
        const q8_code code = run(f, &how, &cal, &seen, &err);
        assert_true(code == Q8_EINTR || seen.done == PICTURES);
        assert_int_equal(access(path, F_OK), 0);
        q8_calibration_free(&cal);
        how.threads = 1 + i % 4;
        how.cancel_at = 0;
        assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_OK);
        assert_same(&cal, &whole);
        assert_string_equal(seen.warnings, whole_seen.warnings);
        q8_calibration_free(&cal);
        assert_int_equal(unlink(path), 0);
    }
    q8_calibration_free(&whole);
}

static void test_checkpoints_of_something_else(void **state)
{
    struct fixture *f = *state;
    char path[80];
    struct how how = {.threads = 2, .norm = 1, .cancel_at = 5, .checkpoint = path};
    struct seen seen;
    q8_calibration cal;
    q8_err err;
    snprintf(path, sizeof(path), "%s.partial", f->folder);
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EINTR);
    how.cancel_at = 0;
    how.norm = 0.5f;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EINVAL);
    assert_string_equal(err.file, path);
    assert_non_null(strstr(err.text, "mean 100, norm 1, bgr, stretch, and not mean 100, norm 0.5"));
    how.norm = 1;
    how.strict = true;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "no --strict"));
    how.strict = false;
    write_picture(f, 20, "P6\nof another size");
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "other pictures"));
    assert_null(cal.stats);
    assert_int_equal(unlink(path), 0);
}

/* A refused picture ends a strict run; what was done before it is kept. */
static void test_strict_with_checkpoints(void **state)
{
    struct fixture *f = *state;
    char path[80];
    struct how how = {.threads = 2, .norm = 1, .strict = true, .checkpoint = path};
    struct seen seen;
    q8_calibration cal;
    q8_err err;
    snprintf(path, sizeof(path), "%s.partial", f->folder);
    write_picture(f, 11, "P6\nnonsense");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_EFORMAT);
        assert_non_null(strstr(err.file, "/11.ppm"));
        assert_int_equal(access(path, F_OK), 0);
    }
    assert_int_equal(unlink(path), 0);
}

static void test_nothing_wanted(void **state)
{
    struct fixture *f = *state;
    const struct how how = {.norm = 1};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    f->wanted[0] = f->wanted[1] = false;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_OK);
    assert_int_equal(cal.used, 0);
    q8_calibration_free(&cal);
}

static void test_only_wanted_tensors(void **state)
{
    struct fixture *f = *state;
    const struct how how = {.norm = 1};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    f->wanted[0] = false;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_OK);
    assert_null(cal.stats[0]);
    assert_int_equal(cal.stats[1]->count, PICTURES * 3 * SIZE * SIZE);
    q8_calibration_free(&cal);
}

static void test_not_finite(void **state)
{
    struct fixture *f = *state;
    const struct how how = {.threads = 2, .norm = 3e38f};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    assert_int_equal(run(f, &how, &cal, &seen, &err), Q8_OK);
    assert_non_null(strstr(seen.warnings, "values of 'data' are NaN or infinite"));
    assert_non_null(strstr(seen.warnings, "values of 'relu' are NaN or infinite"));
    q8_calibration_free(&cal);
}

static void assert_refused(struct fixture *f, q8_code code, const char *text)
{
    const struct how how = {.norm = 1};
    q8_calibration cal;
    struct seen seen;
    q8_err err;
    assert_int_equal(run(f, &how, &cal, &seen, &err), code);
    assert_non_null(strstr(err.text, text));
    assert_null(cal.stats);
}

static void test_inputs_it_cannot_feed(void **state)
{
    struct fixture *f = *state;
    f->graph->n_nodes = 0;
    assert_refused(f, Q8_EMODEL, "the network has no input");
    q8_arena_close(&f->arena);
    open_graph(f, 2);
    assert_refused(f, Q8_EINVAL, "a picture cannot be input 'data' of 2x12x12");
}

/* Two inputs, the second of tensors: a sample goes when either of its files cannot be read. */
static void test_two_inputs(void **state)
{
    struct fixture *f = *state;
    char folder[] = "/tmp/test_calibrate_XXXXXX", images[2][128], path[128];
    assert_non_null(mkdtemp(folder));
    add_input(f, (q8_shape){3, {3, SIZE, SIZE}});
    f->graph->tensor[2].name = "other";
    f->wanted[2] = true;
    write_picture(f, 3, "P6\nnonsense");
    for (int i = 0; i < PICTURES; i++)
        write_tensor(folder, i, i == 11 ? 0 : 3 * SIZE * SIZE);
    snprintf(images[0], sizeof(images[0]), "other=%s", folder);
    snprintf(images[1], sizeof(images[1]), "data=%s", f->folder);
    const char *sources[] = {images[0], images[1]};
    const q8_calib_opts opts = {.images = sources, .n_images = 2};
    const q8_calibration_of what = {
        .graph = f->graph, .wanted = f->wanted, .opts = &opts, .backend = Q8_BACKEND_PLAIN};
    for (int threads = 1; threads < 9; threads++) {
        q8_calibration cal;
        struct seen seen = {0};
        q8_err err = {0};
        const q8_env env = {.user = &seen, .warn = on_warn, .threads = threads};
        if (q8_calibration_run(&cal, &what, &env, &err) != Q8_OK)
            fail_msg("%s", err.text);
        assert_int_equal(cal.used, PICTURES - 2);
        assert_int_equal(cal.skipped, 2);
        const char *second = strstr(seen.warnings, "/11.npy: warning: skipped: truncated");
        assert_true(second > strstr(seen.warnings, "/03.ppm: warning: skipped: "));
        /* 0 to 22 without 3 and 11. */
        assert_true(cal.stats[2]->min == 0 && cal.stats[2]->max == PICTURES - 1);
        assert_int_equal(cal.stats[2]->hist.zeros, 3 * SIZE * SIZE);
        assert_int_equal(cal.stats[0]->count, (PICTURES - 2) * 3 * SIZE * SIZE);
        q8_calibration_free(&cal);
    }
    for (int i = 0; i < PICTURES; i++) {
        snprintf(path, sizeof(path), "%s/%02d.npy", folder, i);
        unlink(path);
    }
    rmdir(folder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_against_serial),
        TEST(test_threads_do_not_show),
        TEST(test_strict_names_the_first),
        TEST(test_none_usable),
        TEST(test_cancel),
        TEST(test_goes_on_from_a_checkpoint),
        TEST(test_checkpoints_of_something_else),
        TEST(test_strict_with_checkpoints),
        TEST(test_nothing_wanted),
        TEST(test_only_wanted_tensors),
        TEST(test_not_finite),
        TEST(test_inputs_it_cannot_feed),
        TEST(test_batches_do_not_show),
        TEST(test_two_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
