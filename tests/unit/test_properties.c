/* What must hold whatever the numbers are, on many random cases: merging, thresholds, rounding,
 * packing, halfs. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pack.h"
#include "calib/packed.h"
#include "calib/threshold.h"
#include "ncnn/half.h"
#include "quant/factor.h"
#include "quant/moments.h"
#include "quant/quant.h"
#include "quant/round.h"

static uint64_t state;

static uint32_t next_random(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static int below(int n)
{
    return (int)(next_random() % (uint32_t)n);
}

static float uniform(void)
{
    return (float)(next_random() >> 8) * 0x1p-24f;
}

/* --- merging ---------------------------------------------------------------------------------- */

enum { CHANNELS = 3, SIDE = 7, VALUES = CHANNELS * SIDE * SIDE, SHARDS = 6 };

static const q8_shape shape = {3, {CHANNELS, SIDE, SIDE}};

/* Of any size, and not always finite. */
static float any_value(int exponent)
{
    static const float odd[] = {0,      -0.0f,   NAN,     INFINITY, -INFINITY,
                                1e-45f, FLT_MIN, FLT_MAX, -FLT_MAX, 1};
    if (below(20) == 0)
        return odd[below(sizeof(odd) / sizeof(odd[0]))];
    return below(3) == 0 ? 0 : ldexpf(2 * uniform() - 1, exponent);
}

static void add_picture(q8_stats *stats, const float *x)
{
    const q8_view view = {x, 1, shape, 1, NULL};
    q8_stats_add(stats, &view);
}

static q8_buf packed_of(q8_stats *stats, size_t pictures)
{
    q8_buf bytes = {0};
    const q8_calibration cal = {.n_tensors = 1, .stats = &stats, .used = pictures};
    q8_calibration_pack(&cal, &bytes);
    assert_false(bytes.failed);
    return bytes;
}

static void assert_same(q8_stats *a, q8_stats *b, size_t pictures)
{
    q8_buf x = packed_of(a, pictures), y = packed_of(b, pictures);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    q8_buf_free(&x);
    q8_buf_free(&y);
}

/* Merges shards two by two, in any order and whichever into whichever, until there is one. */
static void merge_somehow(q8_stats *shard, int n)
{
    while (n > 1) {
        const int into = below(n);
        const int from = (into + 1 + below(n - 1)) % n;
        q8_stats_merge(&shard[into], &shard[from]);
        q8_stats_free(&shard[from]);
        shard[from] = shard[n - 1];
        n--;
    }
}

static void merging_is_adding_in_any_order(void **unused)
{
    (void)unused;
    state = 1;
    for (int round = 0; round < 200; round++) {
        q8_stats whole, shard[SHARDS];
        const int n = 1 + below(SHARDS);
        size_t pictures = 0;
        assert_int_equal(q8_stats_init(&whole, CHANNELS, NULL), Q8_OK);
        for (int i = 0; i < n; i++) {
            const int exponent = below(250) - 125;
            assert_int_equal(q8_stats_init(&shard[i], CHANNELS, NULL), Q8_OK);
            for (int k = below(4); k > 0; k--, pictures++) {
                float x[VALUES];
                for (int v = 0; v < VALUES; v++)
                    x[v] = any_value(exponent);
                add_picture(&whole, x);
                add_picture(&shard[i], x);
            }
        }
        merge_somehow(shard, n);
        assert_same(&whole, &shard[0], pictures);
        q8_stats_free(&whole);
        q8_stats_free(&shard[0]);
    }
}

static void statistics_come_back_from_bytes(void **unused)
{
    (void)unused;
    state = 2;
    q8_arena *arena = q8_arena_open();
    q8_graph *graph = q8_graph_new(arena);
    assert_int_equal(q8_graph_add_tensor(graph, "t", &shape), 0);
    for (int round = 0; round < 200; round++) {
        q8_err err = {0};
        q8_stats stats;
        q8_calibration back = {0};
        const size_t pictures = (size_t)below(5);
        const int exponent = below(250) - 125;
        assert_int_equal(q8_stats_init(&stats, CHANNELS, NULL), Q8_OK);
        for (size_t i = 0; i < pictures; i++) {
            float x[VALUES];
            for (int v = 0; v < VALUES; v++)
                x[v] = any_value(exponent);
            add_picture(&stats, x);
        }
        q8_buf bytes = packed_of(&stats, pictures);
        if (q8_calibration_unpack(&back, bytes.data, bytes.size, graph, &err))
            fail_msg("%s", err.text);
        assert_same(&stats, back.stats[0], pictures);
        assert_int_not_equal(
            q8_calibration_unpack(&(q8_calibration){0}, bytes.data, bytes.size - 1, graph, &err),
            Q8_OK);
        q8_calibration_free(&back);
        q8_buf_free(&bytes);
        q8_stats_free(&stats);
    }
    q8_arena_close(&arena);
}

/* --- thresholds ------------------------------------------------------------------------------- */

/* Values of one sign or two, dense or sparse, with or without a tail. */
static void draw(float *x, int n)
{
    const bool is_signed = below(2), is_sparse = below(2), has_tail = below(2);
    const float power = 0.5f + 3 * uniform();
    for (int i = 0; i < n; i++) {
        x[i] = is_sparse && below(4) ? 0 : powf(uniform(), power);
        if (has_tail && below(500) == 0)
            x[i] *= 30;
        if (is_signed && below(2))
            x[i] = -x[i];
    }
}

static float threshold_of(const float *x, int n, int exponent, q8_method method, int levels)
{
    q8_stats stats;
    float scaled[SIDE * SIDE];
    assert_int_equal(q8_stats_init(&stats, 1, NULL), Q8_OK);
    for (int i = 0; i + SIDE * SIDE <= n; i += SIDE * SIDE) {
        const q8_view view = {scaled, 1, {3, {1, SIDE, SIDE}}, 1, NULL};
        for (int k = 0; k < SIDE * SIDE; k++)
            scaled[k] = ldexpf(x[i + k], exponent);
        q8_stats_add(&stats, &view);
    }
    const float threshold = q8_threshold(method, &stats, levels);
    const float absmax = -stats.min > stats.max ? -stats.min : stats.max;
    assert_true(threshold > 0 && isfinite(threshold) && isfinite(127 / threshold));
    assert_true(threshold <= absmax || absmax == 0 || threshold == 1e-30f);
    q8_stats_free(&stats);
    return threshold;
}

static void thresholds_scale_by_powers_of_two(void **unused)
{
    enum { N = 60 * SIDE * SIDE };
    static float x[N];
    (void)unused;
    state = 3;
    for (int round = 0; round < 12; round++) {
        const int levels = round % 2 ? Q8_LEVELS_SHIFTED : Q8_LEVELS_SIGNED;
        draw(x, N);
        for (int method = 0; method <= Q8_METHOD_EQ; method++) {
            const int exponent = below(120) - 60;
            const float one = threshold_of(x, N, 0, (q8_method)method, levels);
            const float other = threshold_of(x, N, exponent, (q8_method)method, levels);
            if (other != ldexpf(one, exponent))
                fail_msg("round %d, method %d: %g and, times 2^%d, %g", round, method, (double)one,
                         exponent, (double)other);
        }
    }
}

/* --- rounding --------------------------------------------------------------------------------- */

enum { MAX_N = 40, ROWS = 60, OUTPUTS = 5 };

struct problem {
    int n, stride, limit;
    float *exact, *coded, *own, *cross, *factor, *room;
    float w[OUTPUTS * MAX_N], scale[OUTPUTS];
    signed char q[OUTPUTS * MAX_N];
};

static void open_problem(struct problem *p)
{
    p->n = 1 + below(MAX_N);
    p->limit = below(3) ? 127 : 31;
    p->stride = q8_moments_stride(p->n);
    const size_t size = (size_t)p->stride * (size_t)p->stride;
    p->exact = calloc((size_t)ROWS * (size_t)p->stride, sizeof(float));
    p->coded = calloc((size_t)ROWS * (size_t)p->stride, sizeof(float));
    p->own = calloc(size, sizeof(float));
    p->cross = calloc(size, sizeof(float));
    p->factor = calloc(size, sizeof(float));
    p->room = aligned_alloc(64, (q8_round_room(p->stride) * sizeof(float) + 63) / 64 * 64);
    assert_non_null(p->room);
    const float noise = uniform();
    for (int r = 0; r < ROWS; r++) {
        const float common = 2 * uniform();
        for (int i = 0; i < p->n; i++) {
            float *x = &p->exact[r * p->stride + i];
            *x = common + uniform();
            p->coded[r * p->stride + i] = *x + noise * (uniform() - 0.5f);
        }
    }
    for (int o = 0; o < OUTPUTS; o++) {
        p->scale[o] = (float)p->limit * (0.5f + 0.5f * uniform());
        for (int i = 0; i < p->n; i++)
            p->w[o * p->n + i] = 2 * uniform() - 1;
    }
    assert_int_equal(q8_moments(p->exact, p->coded, ROWS, p->n, p->own, p->cross, 1, NULL), Q8_OK);
}

static void close_problem(struct problem *p)
{
    free(p->exact), free(p->coded), free(p->own), free(p->cross), free(p->factor), free(p->room);
}

/* What rounding minimises, as its header says it. */
static double objective(const struct problem *p, int output, const signed char *q, float damping)
{
    const float *w = p->w + output * p->n;
    const double scale = (double)p->scale[output];
    double error = 0;
    for (int r = 0; r < ROWS; r++) {
        double off = 0;
        for (int i = 0; i < p->n; i++)
            off += q[i] / scale * (double)p->coded[r * p->stride + i] -
                   (double)w[i] * (double)p->exact[r * p->stride + i];
        error += off * off / ROWS;
    }
    for (int i = 0; i < p->n; i++)
        error += (double)damping * (q[i] / scale - (double)w[i]) * (q[i] / scale - (double)w[i]);
    return error;
}

/* Codes keep their limit. @return how much of nearest rounding's error is left */
static double check_output(const struct problem *p, int output, float damping)
{
    signed char nearest[MAX_N];
    const signed char *q = p->q + output * p->n;
    for (int i = 0; i < p->n; i++) {
        nearest[i] = q8_round_int8(p->w[output * p->n + i] * p->scale[output]);
        assert_in_range(q[i] + p->limit, 0, 2 * p->limit);
    }
    const double before = objective(p, output, nearest, damping);
    return (objective(p, output, q, damping) + 1e-7) / (before + 1e-7);
}

/* The descent ends in a local minimum, which for one output of some hundred is above what nearest
 * rounding has: that is known, and held to be as rare and as small as it was found to be. */
static void compensation_is_rarely_worse_than_nearest(void **unused)
{
    (void)unused;
    state = 4;
    int n_outputs = 0, n_worse = 0;
    double sum = 0;
    for (int round = 0; round < 400; round++) {
        struct problem p = {0};
        open_problem(&p);
        const float damping = round % 2 ? 0.01f : 0.1f * uniform() + 1e-4f;
        bool exists = false;
        q8_rounding r = {.n = p.n,
                         .stride = p.stride,
                         .own = p.own,
                         .cross = p.cross,
                         .damping = damping,
                         .weight_limit = p.limit,
                         .sum_limit = Q8_INT32_SUM};
        const q8_round_outputs outputs = {
            .count = OUTPUTS, .w = p.w, .q = p.q, .stride = (size_t)p.n, .scale = p.scale};
        if (round % 4) {
            assert_int_equal(q8_factorise(p.factor, p.own, p.n, p.stride, damping, &exists, NULL),
                             Q8_OK);
            r.factor = exists ? p.factor : NULL;
        }
        assert_int_equal(q8_round_compensated(&r, &outputs, p.room, NULL), Q8_OK);
        for (int o = 0; o < OUTPUTS; o++, n_outputs++) {
            const double left = check_output(&p, o, damping);
            assert_true(left < 2);
            n_worse += left > 1 + 1e-4;
            sum += left;
        }
        close_problem(&p);
    }
    assert_true(n_worse * 100 <= n_outputs);
    assert_true(sum / n_outputs < 0.8);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void numbers_come_back_from_bytes(void **unused)
{
    enum { N = 2000 };
    static uint64_t number[N];
    static int size[N];
    q8_buf bytes = {0};
    (void)unused;
    state = 5;
    for (int i = 0; i < N; i++) {
        size[i] = 1 + below(8);
        number[i] = (uint64_t)next_random() << 32 | next_random();
        number[i] >>= 64 - 8 * size[i] + below(8 * size[i]);
        q8_pack_uint(&bytes, number[i], size[i]);
        q8_pack_float(&bytes, any_value(0));
    }
    q8_unpacker from = {bytes.data, bytes.size, false};
    state = 5;
    for (int i = 0; i < N; i++) {
        below(8), next_random(), next_random(), below(8 * size[i]);
        const float want = any_value(0);
        assert_true(q8_unpack_uint(&from, size[i]) == number[i]);
        const float got = q8_unpack_float(&from);
        assert_memory_equal(&got, &want, sizeof(got));
    }
    assert_int_equal(from.left, 0);
    assert_false(from.failed);
    assert_int_equal(q8_unpack_uint(&from, 1), 0);
    assert_true(from.failed);
    q8_buf_free(&bytes);
}

/* --- halfs ------------------------------------------------------------------------------------ */

/* The halfs around a finite one that are finite too. */
static float neighbour(uint16_t half, int step)
{
    const int ordered = half & 0x8000 ? -(half & 0x7fff) : half;
    const int next = ordered + step;
    return q8_half_to_float((uint16_t)(next < 0 ? 0x8000 | -next : next));
}

static void halfs_are_the_nearest_and_in_order(void **unused)
{
    (void)unused;
    state = 6;
    float x[2] = {0};
    for (int round = 0; round < 200000; round++) {
        x[round % 2] = ldexpf(2 * uniform() - 1, below(45) - 27);
        const float at = x[round % 2];
        const uint16_t half = q8_half_from_float(at);
        const float back = q8_half_to_float(half);
        const float off = fabsf(back - at);
        if (isfinite(back)) {
            assert_true(off <= fabsf(neighbour(half, 1) - at));
            assert_true(off <= fabsf(neighbour(half, -1) - at));
        } else {
            assert_true(fabsf(at) >= 65520);
        }
        const float a = q8_half_to_float(q8_half_from_float(x[0]));
        const float b = q8_half_to_float(q8_half_from_float(x[1]));
        assert_true(x[0] <= x[1] ? a <= b : a >= b);
        assert_int_equal(q8_half_fits(&at, 1), isfinite(back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_is_adding_in_any_order),
        cmocka_unit_test(statistics_come_back_from_bytes),
        cmocka_unit_test(thresholds_scale_by_powers_of_two),
        cmocka_unit_test(compensation_is_rarely_worse_than_nearest),
        cmocka_unit_test(numbers_come_back_from_bytes),
        cmocka_unit_test(halfs_are_the_nearest_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
