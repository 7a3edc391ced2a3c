/* A whole conversion by a team of threads: the same files as by one process, and one end for all.
 */
#include "test_team_threads.h"

#include "ops/conv.h"
#include "ops/rows.h"
#include "quant/compensate.h"
#include "quant/quant.h"

#define EXAMPLES Q8_SOURCE_DIR "/examples/"

enum { PICTURES = 7, VERIFIED = 5 };

/* What all members do, and where the first one writes. */
struct work {
    char folder[64];
    bool strict;
    const char *list; /* of pictures */
    double kl[MOST_MEMBERS], cosine[MOST_MEMBERS];
    size_t used[MOST_MEMBERS], skipped[MOST_MEMBERS];
};

static q8_code write_model(const q8_model *model, const struct work *w, int size, q8_err *err)
{
    char param[96], bin[96];
    snprintf(param, sizeof(param), "%s/%d.param", w->folder, size);
    snprintf(bin, sizeof(bin), "%s/%d.bin", w->folder, size);
    const q8_output output = {.param = param, .bin = bin};
    q8_write_result result;
    return q8_write(model, Q8_INT8, &output, &result, err);
}

static void convert(struct member *m)
{
    struct work *w = m->user;
    const int r = m->team.rank;
    const q8_model_opts open = {.proto = EXAMPLES "shapes.prototxt",
                                .model = EXAMPLES "shapes.caffemodel"};
    const q8_calib_opts pictures = {.images = &w->list,
                                    .n_images = 1,
                                    .strict = w->strict,
                                    .preprocess = {.n_norm = 1, .norm = {0.017f}}};
    const q8_quant_opts quant = {.pictures = &pictures};
    q8_verify_opts on = {.pictures = pictures};
    on.pictures.limit = VERIFIED;
    q8_model *model = NULL;
    q8_calib_result calibrated = {0};
    q8_verify_result verified = {0};
    m->code = q8_model_open(&model, &open, &m->env, &m->err);
    if (!m->code)
        m->code = q8_calibrate(model, &pictures, &m->env, &calibrated, &m->err);
    if (!m->code)
        m->code = q8_quantize(model, &quant, &m->env, &m->err);
    if (!m->code)
        m->code = q8_verify(model, &on, &m->env, &verified, &m->err);
    if (!m->code) {
        w->kl[r] = verified.output[0].kl;
        w->cosine[r] = verified.layer[3].alone_cosine;
        w->used[r] = calibrated.used;
        w->skipped[r] = calibrated.skipped;
    }
    if (!m->code && r == 0)
        m->code = write_model(model, w, m->team.size, &m->err);
    m->code = q8_agree(&m->env, m->code, &m->err);
    q8_verify_free(&verified);
    q8_model_close(&model);
}

/* --- pictures --------------------------------------------------------------------------------- */

/* A list of pictures from the examples, with damaged ones where `bad` has a bit. */
static void write_list(struct work *w, unsigned bad)
{
    static const char *const name[PICTURES] = {"0001", "0002", "0004", "0005",
                                               "0007", "0008", "0010"};
    static char path[128], junk[128];
    snprintf(path, sizeof(path), "%s/list.txt", w->folder);
    FILE *list = fopen(path, "w");
    assert_non_null(list);
    for (int i = 0; i < PICTURES; i++) {
        snprintf(junk, sizeof(junk), "%s/bad%d.jpg", w->folder, i);
        FILE *file = fopen(junk, "w");
        assert_non_null(file);
        fputs("no picture", file);
        fclose(file);
        if (bad >> i & 1)
            fprintf(list, "%s\n", junk);
        else
            fprintf(list, EXAMPLES "calib/%s.jpg\n", name[i]);
    }
    fclose(list);
    w->list = path;
}

static void assert_same_file(const struct work *w, int size, const char *ending)
{
    static char bytes[2][1 << 20];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        char path[96];
        snprintf(path, sizeof(path), "%s/%d.%s", w->folder, i ? size : 1, ending);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        n[i] = fread(bytes[i], 1, sizeof(bytes[i]), file);
        fclose(file);
    }
    assert_true(n[0] > 0 && n[0] < sizeof(bytes[0]));
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
}

static int setup(void **state)
{
    static struct work w;
    strcpy(w.folder, "/tmp/test_team_XXXXXX");
    assert_non_null(mkdtemp(w.folder));
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    const struct work *w = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", w->folder);
    return system(command);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_same_files(void **state)
{
    struct work *w = *state, alone;
    struct member member[MOST_MEMBERS];
    static const int sizes[] = {1, 2, 3, 5};
    w->strict = false;
    write_list(w, 1 << 1 | 1 << 4 | 1 << 5);
    for (int s = 0; s < 4; s++) {
        run_team(member, sizes[s], convert, w);
        if (s == 0)
            alone = *w;
        for (int i = 0; i < sizes[s]; i++) {
            assert_string_equal(member[i].err.text, "");
            assert_int_equal(member[i].code, Q8_OK);
            assert_string_equal(member[i].warnings, member[0].warnings);
            assert_int_equal(w->used[i], PICTURES - 3);
            assert_int_equal(w->skipped[i], 3);
            assert_memory_equal(&w->kl[i], &alone.kl[0], sizeof(double));
            assert_memory_equal(&w->cosine[i], &alone.cosine[0], sizeof(double));
        }
        assert_same_file(w, sizes[s], "param");
        assert_same_file(w, sizes[s], "bin");
    }
}

/* The first in list order, whoever reads it. */
static void test_strict(void **state)
{
    struct work *w = *state;
    struct member member[MOST_MEMBERS];
    char first[96];
    w->strict = true;
    write_list(w, 1 << 3 | 1 << 4 | 1 << 6);
    snprintf(first, sizeof(first), "%s/bad3.jpg", w->folder);
    for (int size = 1; size < 6; size++) {
        run_team(member, size, convert, w);
        for (int i = 0; i < size; i++) {
            assert_int_equal(member[i].code, Q8_EFORMAT);
            assert_string_equal(member[i].err.file, first);
            assert_null(strstr(member[i].err.text, "process"));
        }
    }
}

static void test_none_usable(void **state)
{
    struct work *w = *state;
    struct member member[MOST_MEMBERS];
    w->strict = false;
    write_list(w, (1 << PICTURES) - 1);
    run_team(member, 3, convert, w);
    for (int i = 0; i < 3; i++)
        assert_string_equal(member[i].err.text, "none of the 7 samples can be used");
}

static void cancel_one(struct member *m)
{
    m->cancel = m->team.rank == 1;
    convert(m);
}

static void test_interrupt_of_one(void **state)
{
    struct work *w = *state;
    struct member member[MOST_MEMBERS];
    write_list(w, 0);
    run_team(member, 3, cancel_one, w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(member[i].code, Q8_EINTR);
}

/* --- rounding --------------------------------------------------------------------------------- */

/* Large enough that members share its outputs, which are no multiple of what is rounded at once. */
enum { SIDE = 12, SAMPLES = 9, OUTPUTS = 210, INPUTS = 64, WEIGHTS = OUTPUTS * INPUTS * 9 };

static float any(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return (float)(*seed >> 8) / (1 << 24) - 0.5f;
}

static q8_node *large_layer(q8_graph *graph, float *weight)
{
    const q8_shape in = {3, {INPUTS, SIDE, SIDE}}, out = {3, {OUTPUTS, SIDE, SIDE}};
    q8_node *node = q8_node_new(graph->arena, &q8_op_convolution, "large", 1, 1);
    node->in[0] = q8_graph_add_tensor(graph, "in", &in);
    node->out[0] = q8_graph_add_tensor(graph, "out", &out);
    q8_conv_attr *a = node->attr;
    a->num_output = OUTPUTS;
    a->kernel_w = a->kernel_h = 3;
    a->pad_left = a->pad_right = a->pad_top = a->pad_bottom = 1;
    a->weight_data_size = WEIGHTS;
    node->weight[0] = (q8_weight){weight, WEIGHTS};
    return node;
}

static void round_large(struct member *m)
{
    signed char(*out)[WEIGHTS] = m->user;
    static const float scale = 200;
    uint32_t seed = 3;
    q8_arena *arena = q8_arena_open();
    q8_graph *graph = q8_graph_new(arena);
    float *weight = malloc(WEIGHTS * sizeof(*weight));
    float *x = malloc((size_t)SAMPLES * INPUTS * SIDE * SIDE * sizeof(*x));
    for (int i = 0; i < WEIGHTS; i++)
        weight[i] = any(&seed);
    for (int i = 0; i < SAMPLES * INPUTS * SIDE * SIDE; i++)
        x[i] = any(&seed);
    q8_node *node = large_layer(graph, weight);
    const q8_quant quant = {.weight_scales = &scale,
                            .n_weight_scales = 1,
                            .bottom_scale = 127,
                            .weight_limit = 127,
                            .sum_limit = Q8_INT32_SUM};
    const q8_layer_inputs inputs = {.n = SAMPLES, .layer = node, .exact = x, .coded = x};
    q8_buffers buffers = {0};
    node->quant = &quant;
    m->code = q8_compensate_rounding(graph, node, &inputs, &buffers, &m->env, &m->err);
    if (!m->code && node->quant != &quant)
        memcpy(out[m->team.rank], node->quant->weight, WEIGHTS);
    q8_buffers_close(&buffers);
    q8_arena_close(&arena);
    free(weight);
    free(x);
}

static void test_rounding(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    static signed char alone[1][WEIGHTS], shared[3][WEIGHTS];
    run_team(member, 1, round_large, alone);
    run_team(member, 3, round_large, shared);
    assert_int_not_equal(alone[0][0], 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(member[i].code, Q8_OK);
        assert_memory_equal(alone[0], shared[i], sizeof(alone[0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none_usable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupt_of_one, setup, teardown),
        cmocka_unit_test(test_rounding),
    };
    alarm(100); /* nobody may wait for ever */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
