/* Files of statistics: what is written comes back, damage and other networks are told apart. */
#include "calib/stats_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/pack.h"
#include "ops/input.h"
#include "ops/rows.h"

/* An input of 3x2x2, and what is observed of it. */
struct fixture {
    q8_arena *arena;
    q8_graph *graph;
    bool wanted[1];
    q8_stats_subject subject;
    q8_calibration cal;
    q8_origin origin;
    q8_buf bytes;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const q8_shape shape = {3, {3, 2, 2}};
    static const float data[12] = {1, 0, -2, 0.5f, 3, 3, 3, 3, 0, 0, 0, 1e-3f};
    assert_non_null(f);
    f->arena = q8_arena_open();
    f->graph = q8_graph_new(f->arena);
    assert_non_null(f->graph);
    assert_int_equal(q8_graph_add_tensor(f->graph, "data", &shape), 0);
    q8_node *node = q8_node_new(f->arena, &q8_op_input, "data", 0, 1);
    assert_non_null(node);
    assert_true(q8_graph_insert(f->graph, node, 0));
    f->wanted[0] = true;
    f->subject = (q8_stats_subject){f->graph, f->wanted, 17, 18, "data 3x2x2"};
    f->cal = (q8_calibration){.n_tensors = 1, .used = 2, .skipped = 1};
    f->cal.stats = calloc(2, sizeof(*f->cal.stats));
    assert_non_null(f->cal.stats);
    f->cal.stats[0] = calloc(1, sizeof(**f->cal.stats));
    assert_non_null(f->cal.stats[0]);
    assert_int_equal(q8_stats_init(f->cal.stats[0], 3, NULL), Q8_OK);
    const q8_view view = {.data = data, .shape = shape, .batch = 1, .block = 1};
    q8_stats_add(f->cal.stats[0], &view);
    q8_stats_add(f->cal.stats[0], &view);
    f->origin.n_inputs = 1;
    f->origin.input = calloc(1, sizeof(*f->origin.input));
    assert_non_null(f->origin.input);
    f->origin.input[0] = (q8_prep_id){.pictures = true,
                                      .channels = 3,
                                      .resize = Q8_RESIZE_CROP,
                                      .mean = {104, 117, 123.5f},
                                      .norm = {1, 1, 1, 1},
                                      .mean_plane = 0};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    q8_calibration_free(&f->cal);
    q8_origin_free(&f->origin);
    q8_buf_free(&f->bytes);
    q8_arena_close(&f->arena);
    free(f);
    return 0;
}

static q8_loop_state some_state(void)
{
    q8_loop_state state = {.next = 3, .used = 2};
    const q8_unread unread = {
        .index = 1, .code = Q8_EFORMAT, .text = "not a picture", .file = "b.jpg", .layer = ""};
    assert_int_equal(q8_loop_state_add(&state, &unread, NULL), Q8_OK);
    return state;
}

/* Reads the fixture's bytes; what is read is thrown away. */
static q8_code read_back(struct fixture *f, size_t size, q8_stats_progress *progress, q8_err *err)
{
    q8_calibration cal;
    q8_origin origin;
    unsigned char *exact = malloc(size + 1); /* of its own, so that reading past it is seen */
    assert_non_null(exact);
    if (size)
        memcpy(exact, f->bytes.data, size);
    *err = (q8_err){0};
    const q8_code code =
        q8_stats_unpack(&cal, &origin, progress, "x.stats", exact, size, &f->subject, err);
    if (code) {
        assert_null(cal.stats);
        assert_null(origin.input);
        assert_string_equal(err->file, "x.stats");
    }
    q8_calibration_free(&cal);
    q8_origin_free(&origin);
    free(exact);
    return code;
}

static void comes_back(void **state)
{
    struct fixture *f = *state;
    q8_calibration cal;
    q8_origin origin;
    q8_buf again = {0};
    q8_err err = {0};
    assert_int_equal(q8_stats_pack(&f->bytes, &f->subject, &f->origin, &f->cal, NULL, &err), Q8_OK);
    assert_int_equal(
        q8_stats_unpack(&cal, &origin, NULL, "x", f->bytes.data, f->bytes.size, &f->subject, &err),
        Q8_OK);
    assert_int_equal(cal.used, 2);
    assert_int_equal(cal.skipped, 1);
    assert_int_equal(origin.n_inputs, 1);
    assert_int_equal(q8_origin_differs(&origin, &f->origin), -1);
    assert_int_equal(origin.n_parts, 1);
    assert_int_equal(q8_stats_pack(&again, &f->subject, &origin, &cal, NULL, &err), Q8_OK);
    assert_int_equal(again.size, f->bytes.size);
    assert_memory_equal(again.data, f->bytes.data, again.size);
    q8_buf_free(&again);
    q8_calibration_free(&cal);
    q8_origin_free(&origin);
}

static void checkpoints_come_back(void **state)
{
    struct fixture *f = *state;
    q8_err err = {0};
    q8_stats_progress progress = {
        .samples = 5, .strict = true, .n_samples = 9, .state = some_state()};
    assert_int_equal(q8_stats_pack(&f->bytes, &f->subject, &f->origin, &f->cal, &progress, &err),
                     Q8_OK);
    q8_loop_state_free(&progress.state);
    assert_int_equal(read_back(f, f->bytes.size, &progress, &err), Q8_OK);
    assert_int_equal(progress.samples, 5);
    assert_true(progress.strict);
    assert_int_equal(progress.n_samples, 9);
    assert_int_equal(progress.state.next, 3);
    assert_int_equal(progress.state.used, 2);
    assert_int_equal(progress.state.n_unread, 1);
    assert_int_equal(progress.state.unread[0].index, 1);
    assert_int_equal(progress.state.unread[0].code, Q8_EFORMAT);
    assert_string_equal(progress.state.unread[0].text, "not a picture");
    assert_string_equal(progress.state.unread[0].file, "b.jpg");
    q8_loop_state_free(&progress.state);
    assert_int_equal(read_back(f, f->bytes.size, NULL, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "not finished (3 of 9 samples)"));
    f->bytes.size = 0;
    assert_int_equal(q8_stats_pack(&f->bytes, &f->subject, &f->origin, &f->cal, NULL, &err), Q8_OK);
    assert_int_equal(read_back(f, f->bytes.size, &progress, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "not a checkpoint"));
}

static void refuses_other_networks(void **state)
{
    struct fixture *f = *state;
    q8_err err = {0};
    assert_int_equal(q8_stats_pack(&f->bytes, &f->subject, &f->origin, &f->cal, NULL, &err), Q8_OK);
    f->subject.weights++;
    assert_int_equal(read_back(f, f->bytes.size, NULL, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "other weights"));
    f->subject.layers++;
    f->subject.description = "another";
    assert_int_equal(read_back(f, f->bytes.size, NULL, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "data 3x2x2; this one is another"));
    f->subject.weights--;
    f->subject.layers--;
    f->wanted[0] = false;
    assert_int_equal(read_back(f, f->bytes.size, NULL, &err), Q8_EFORMAT);
}

static void sees_any_damage(void **state)
{
    struct fixture *f = *state;
    q8_err err = {0};
    assert_int_equal(q8_stats_pack(&f->bytes, &f->subject, &f->origin, &f->cal, NULL, &err), Q8_OK);
    const size_t size = f->bytes.size;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(read_back(f, i, NULL, &err), Q8_EFORMAT);
        for (int bit = 0; bit < 8; bit++) {
            f->bytes.data[i] ^= (unsigned char)(1 << bit);
            assert_int_equal(read_back(f, size, NULL, &err), Q8_EFORMAT);
            f->bytes.data[i] ^= (unsigned char)(1 << bit);
        }
    }
    q8_buf_add(&f->bytes, "", 1);
    assert_int_equal(read_back(f, size + 1, NULL, &err), Q8_EFORMAT);
}

/* A file with a right checksum may still be anything. */
static void survives_forgeries(void **state)
{
    struct fixture *f = *state;
    q8_err err = {0};
    q8_stats_progress progress = {.n_samples = 9, .state = some_state()}, read;
    assert_int_equal(q8_stats_pack(&f->bytes, &f->subject, &f->origin, &f->cal, &progress, &err),
                     Q8_OK);
    q8_loop_state_free(&progress.state);
    const size_t size = f->bytes.size;
    size_t refused = 0;
    for (size_t i = 20; i + 8 < size; i++)
        for (int k = 0; k < 3; k++) {
            static const unsigned char change[] = {1, 0x80, 0xff};
            f->bytes.data[i] ^= change[k];
            q8_buf hash = {0};
            q8_pack_uint(&hash, q8_hash(0, f->bytes.data, size - 8), 8);
            memcpy(f->bytes.data + size - 8, hash.data, 8);
            q8_buf_free(&hash);
            if (read_back(f, size, &read, &err))
                refused++;
            else
                q8_loop_state_free(&read.state);
            f->bytes.data[i] ^= change[k];
        }
    assert_true(refused > size);
}

static void origins_merge(void **state)
{
    struct fixture *f = *state;
    q8_prep_id tensors = {.pictures = false};
    uint64_t ones[] = {5, 9}, others[] = {7, 9};
    q8_origin a = {0}, one = {.input = &tensors, .n_inputs = 1, .part = ones, .n_parts = 2};
    q8_origin other = {.input = f->origin.input, .n_inputs = 1, .part = others, .n_parts = 1};
    assert_int_equal(q8_origin_differs(&one, &other), -1); /* tensors are as they are */
    assert_int_equal(q8_origin_merge(&a, &one, NULL), Q8_OK);
    assert_false(q8_origin_share(&a, &other));
    other.n_parts = 2;
    assert_true(q8_origin_share(&a, &other));
    assert_true(q8_origin_share(&other, &a));
    assert_int_equal(q8_origin_merge(&a, &other, NULL), Q8_OK);
    assert_int_equal(a.n_parts, 4);
    assert_memory_equal(a.part, ((uint64_t[]){5, 7, 9, 9}), 4 * sizeof(uint64_t));
    assert_true(a.input[0].pictures);
    q8_prep_id rgb = f->origin.input[0];
    rgb.rgb = true;
    other.input = &rgb;
    assert_int_equal(q8_origin_differs(&a, &other), 0);
    char text[256];
    assert_string_equal(q8_prep_id_text(&rgb, text), "mean 104 117 123.5, norm 1, rgb, crop");
    q8_origin_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpoints_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_other_networks, setup, teardown),
        cmocka_unit_test_setup_teardown(sees_any_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_forgeries, setup, teardown),
        cmocka_unit_test_setup_teardown(origins_merge, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
