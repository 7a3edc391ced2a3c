/* Thresholds of a graph: by a method, and "auto", which looks at the weights of what reads a
 * tensor.
 */
#include "quant/choose.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "calib/threshold.h"
#include "ncnn/read.h"

/* Two channels read by a 1x3 convolution of one output, and by a second one through a Split. */
static const char param[] = "7767517\n"
                            "4 5\n"
                            "Input data 0 1 data 0=32 1=1 2=2\n"
                            "Split s 1 2 data a b\n"
                            "Convolution x 1 1 a c 0=1 1=3 11=1 5=0 6=6\n"
                            "Convolution y 1 1 b d 0=1 1=3 11=1 5=0 6=6\n";

struct fixture {
    q8_arena *arena;
    q8_graph *graph;
    q8_stats stats;
    const q8_stats *by_tensor[8];
};

static uint64_t state;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 33) + 0.5) / 2147483648.0;
}

static int setup(void **unused)
{
    static struct fixture f;
    q8_err err = {0};
    memset(&f, 0, sizeof(f));
    f.arena = q8_arena_open();
    f.graph = q8_graph_new(f.arena);
    if (q8_ncnn_read_param(f.graph, "net.param", param, sizeof(param) - 1, &err) ||
        q8_stats_init(&f.stats, 2, &err))
        return -1;
    q8_graph_replace_tensor(f.graph, f.graph->node[1]->out[0], f.graph->node[0]->out[0]);
    q8_graph_replace_tensor(f.graph, f.graph->node[1]->out[1], f.graph->node[0]->out[0]);
    state = 1;
    for (int i = 0; i < 2000; i++) {
        float x[2][32];
        for (int k = 0; k < 32; k++) {
            x[0][k] = (float)-log(uniform()) / 10;
            x[1][k] = (float)-log(uniform());
        }
        const q8_view view = {x[0], 1, {3, {2, 1, 32}}, 1, NULL};
        q8_stats_add(&f.stats, &view);
    }
    f.by_tensor[f.graph->node[0]->out[0]] = &f.stats;
    *unused = &f;
    return 0;
}

static int teardown(void **unused)
{
    struct fixture *f = *unused;
    q8_stats_free(&f->stats);
    q8_arena_close(&f->arena);
    return 0;
}

static float choose(struct fixture *f, q8_method method, const int *levels, int threads)
{
    float threshold[8] = {0};
    const q8_choice_of what = {
        .graph = f->graph, .stats = f->by_tensor, .levels = levels, .method = method};
    const q8_env env = {.threads = threads};
    assert_int_equal(q8_choose_thresholds(threshold, &what, &env, NULL), Q8_OK);
    const int input = f->graph->node[0]->out[0];
    for (int t = 0; t < f->graph->n_tensors; t++)
        assert_true(t == input || threshold[t] == 0);
    return threshold[input];
}

static float choose_auto(struct fixture *f, const float *x, const float *y)
{
    f->graph->node[2]->weight[0] = (q8_weight){x, 6};
    f->graph->node[3]->weight[0] = (q8_weight){y, 6};
    const float one = choose(f, Q8_METHOD_AUTO, NULL, 1);
    assert_true(choose(f, Q8_METHOD_AUTO, NULL, 3) == one);
    return one;
}

static void test_by_method(void **unused)
{
    struct fixture *f = *unused;
    int levels[8];
    for (int m = Q8_METHOD_MSE; m <= Q8_METHOD_EQ; m++)
        for (int l = 0; l < 2 && m != Q8_METHOD_AUTO; l++) {
            const int want = l ? Q8_LEVELS_SHIFTED : Q8_LEVELS_SIGNED;
            for (int t = 0; t < 8; t++)
                levels[t] = want;
            assert_true(choose(f, (q8_method)m, l ? levels : NULL, 2) ==
                        q8_threshold((q8_method)m, &f->stats, want));
        }
}

static const float none[6] = {0}, first[6] = {1, 1, 1, 0, 0, 0}, second[6] = {0, 0, 0, 1, 1, 1},
                   even[6] = {1, 1, 1, 1, 1, 1};

static void test_channels_that_are_read(void **unused)
{
    struct fixture *f = *unused;
    const float small = choose_auto(f, first, none), large = choose_auto(f, second, none);
    printf("first channel %.4f, second %.4f, both %.4f, mse %.4f\n", (double)small, (double)large,
           (double)choose_auto(f, even, none),
           (double)q8_threshold(Q8_METHOD_MSE, &f->stats, Q8_LEVELS_SIGNED));
    assert_true(small < large / 5);
    assert_true(choose_auto(f, even, none) > small);
    assert_true(choose_auto(f, none, first) == small);
}

/* What a reader's weights are multiplied by changes no choice, nor another reader's part in it. */
static void test_readers_count_alike(void **unused)
{
    struct fixture *f = *unused;
    const float tiny[6] = {0x1p-20f, 0x1p-20f, 0x1p-20f, 0, 0, 0};
    assert_true(choose_auto(f, tiny, none) == choose_auto(f, first, none));
    assert_true(choose_auto(f, tiny, second) == choose_auto(f, first, second));
    assert_true(choose_auto(f, first, second) < choose_auto(f, none, second));
}

/* Nothing that matters reads it: nothing is clipped. */
static void test_no_reader(void **unused)
{
    struct fixture *f = *unused;
    assert_true(choose_auto(f, none, none) == f->stats.max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_method, setup, teardown),
        cmocka_unit_test_setup_teardown(test_channels_that_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readers_count_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_reader, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
