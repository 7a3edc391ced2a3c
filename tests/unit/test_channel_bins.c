/* Bins of channels: what they hold, that order and layout do not show, and what scaling does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "calib/stats.h"

static uint32_t state = 1;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Of any size and sign, and a third zeros. */
static float any_value(void)
{
    const float size = (float)(next_random() >> 8);
    const float x = ldexpf(size, (int)(next_random() % 40) - 44);
    return next_random() % 3 == 0 ? 0 : next_random() & 1 ? -x : x;
}

enum { C = 5, H = 9, W = 12, PICTURES = 7 };

static float *pictures(void)
{
    float *x = malloc(sizeof(*x) * PICTURES * C * H * W);
    assert_non_null(x);
    for (int i = 0; i < PICTURES * C * H * W; i++)
        x[i] = any_value();
    return x;
}

static void init(q8_channel_bins *bins, int n)
{
    for (int c = 0; c < n; c++)
        q8_channel_bins_init(&bins[c]);
}

static void add(q8_channel_bins *bins, const float *x, int picture)
{
    const q8_view view = {x + picture * C * H * W, 1, {3, {C, H, W}}, 1, NULL};
    q8_channel_bins_add(bins, &view);
}

/* One channel of values in the order given, `n` at most what is looked at. */
static q8_channel_bins bins_of(const float *x, int n)
{
    q8_channel_bins bins;
    const q8_view view = {x, 1, {3, {1, 1, n}}, 1, NULL};
    q8_channel_bins_init(&bins);
    q8_channel_bins_add(&bins, &view);
    return bins;
}

static void every_order_gives_the_same(void **unused)
{
    (void)unused;
    float *x = pictures();
    q8_channel_bins forwards[C], backwards[C], merged[C], parts[PICTURES][C];
    init(forwards, C);
    init(backwards, C);
    init(merged, C);
    for (int i = 0; i < PICTURES; i++) {
        init(parts[i], C);
        add(parts[i], x, i);
        add(forwards, x, i);
        add(backwards, x, PICTURES - 1 - i);
    }
    for (int i = 0; i < PICTURES; i++)
        for (int c = 0; c < C; c++)
            q8_channel_bins_merge(&merged[c], &parts[i * 3 % PICTURES][c]);
    assert_memory_equal(forwards, backwards, sizeof(forwards));
    assert_memory_equal(forwards, merged, sizeof(forwards));
    for (int c = 0; c < C; c++)
        assert_int_equal(q8_channel_bins_count(&merged[c]), PICTURES * Q8_CHANNEL_PIXELS);
    free(x);
}

static void layout_does_not_show(void **unused)
{
    (void)unused;
    enum { BLOCK = 4, BLOCKS = 2 };
    float *x = pictures();
    /* Zeros in sound networks; a clipped NaN is the clip's lower end. */
    static const float padding[] = {0, 99, -0.5F, NAN, 1e30F};
    float blocked[BLOCKS * BLOCK * H * W];
    for (int c = 0; c < BLOCKS * BLOCK; c++)
        for (int i = 0; i < H * W; i++)
            blocked[(c / BLOCK * H * W + i) * BLOCK + c % BLOCK] =
                c < C ? x[c * H * W + i] : padding[i % 5];
    q8_channel_bins plain[C], other[C];
    init(plain, C);
    init(other, C);
    add(plain, x, 0);
    q8_channel_bins_add(other, &(q8_view){blocked, 1, {3, {C, H, W}}, BLOCK, NULL});
    assert_memory_equal(plain, other, sizeof(plain));
    free(x);
}

/* More channels than a block may have: those of a pixel together. */
static void pixels_do_not_show(void **unused)
{
    (void)unused;
    enum { MANY = 37, N = 3 };
    float *plain = malloc(sizeof(*plain) * N * MANY * H * W);
    float *pixels = malloc(sizeof(*pixels) * N * MANY * H * W);
    assert_non_null(plain);
    assert_non_null(pixels);
    for (int i = 0; i < N * MANY * H * W; i++) {
        const int picture = i / (MANY * H * W), c = i / (H * W) % MANY, at = i % (H * W);
        plain[i] = pixels[(picture * H * W + at) * MANY + c] = any_value();
    }
    static q8_channel_bins want[MANY], got[MANY], queued[MANY];
    q8_channel_queue queue = {0};
    const q8_view view = {pixels, N, {3, {MANY, H, W}}, MANY, NULL};
    init(want, MANY);
    init(got, MANY);
    init(queued, MANY);
    q8_channel_bins_add(want, &(q8_view){plain, N, {3, {MANY, H, W}}, 1, NULL});
    q8_channel_bins_add(got, &view);
    assert_int_equal(q8_channel_queue_add(&queue, queued, &view, NULL), Q8_OK);
    q8_channel_queue_flush(&queue, queued);
    q8_channel_queue_close(&queue);
    assert_memory_equal(want, got, sizeof(want));
    assert_memory_equal(want, queued, sizeof(want));
    free(plain);
    free(pixels);
}

/* Whether pictures come one by one, in batches, or wait in a queue that is flushed now and then. */
static void batches_and_queues_do_not_show(void **unused)
{
    (void)unused;
    enum { MANY = 3 * Q8_CHANNEL_QUEUE + 1 };
    float *x = malloc(sizeof(*x) * MANY * C * H * W);
    assert_non_null(x);
    for (int i = 0; i < MANY * C * H * W; i++)
        x[i] = any_value();
    q8_channel_bins one_by_one[C], batch[C], queued[C];
    q8_channel_queue queue = {0};
    init(one_by_one, C);
    init(batch, C);
    init(queued, C);
    for (int i = 0; i < MANY; i++)
        add(one_by_one, x, i);
    q8_channel_bins_add(batch, &(q8_view){x, MANY, {3, {C, H, W}}, 1, NULL});
    for (int i = 0, n; i < MANY; i += n) {
        n = 1 + i % 3;
        n = n < MANY - i ? n : MANY - i;
        const q8_view view = {x + i * C * H * W, n, {3, {C, H, W}}, 1, NULL};
        assert_int_equal(q8_channel_queue_add(&queue, queued, &view, NULL), Q8_OK);
        if (i % 5 == 0)
            q8_channel_queue_flush(&queue, queued);
    }
    q8_channel_queue_flush(&queue, queued);
    q8_channel_queue_close(&queue);
    assert_memory_equal(one_by_one, batch, sizeof(batch));
    assert_memory_equal(one_by_one, queued, sizeof(queued));
    free(x);
}

/* Each bin holds what lies between its edges. */
static void values_are_between_edges(void **unused)
{
    (void)unused;
    for (int round = 0; round < 100; round++) {
        float x[Q8_CHANNEL_PIXELS];
        int in_bins = 0;
        for (int i = 0; i < Q8_CHANNEL_PIXELS; i++)
            x[i] = any_value();
        const q8_channel_bins bins = bins_of(x, Q8_CHANNEL_PIXELS);
        for (int b = 0; b < Q8_CHANNEL_BINS; b++) {
            uint32_t n = 0;
            for (int i = 0; i < Q8_CHANNEL_PIXELS; i++)
                n += fabs((double)x[i]) >= q8_channel_bins_edge(&bins, b) &&
                     fabs((double)x[i]) < q8_channel_bins_edge(&bins, b + 1);
            assert_int_equal(bins.bin[b], n);
            in_bins += (int)n;
        }
        assert_int_equal(bins.small, Q8_CHANNEL_PIXELS - in_bins);
        for (int i = 0; i < Q8_CHANNEL_PIXELS; i++)
            assert_true(fabs((double)x[i]) < q8_channel_bins_edge(&bins, Q8_CHANNEL_BINS));
    }
}

static void odd_values(void **unused)
{
    (void)unused;
    const float zeros[] = {0, -0.0F, 0};
    q8_channel_bins bins = bins_of(zeros, 3);
    assert_int_equal(bins.small, 3);
    assert_int_equal(bins.top, 0);
    assert_true(q8_channel_bins_edge(&bins, Q8_CHANNEL_BINS) >= 0);
    const float not_finite[] = {NAN, INFINITY, -INFINITY, 3};
    bins = bins_of(not_finite, 4);
    assert_int_equal(q8_channel_bins_count(&bins), 1);
    const float tiny[] = {1e-45F, -1e-40F, 1.17e-38F};
    bins = bins_of(tiny, 3);
    assert_int_equal(q8_channel_bins_count(&bins), 3);
    assert_int_equal(bins.top, 0);
    assert_int_equal(bins.bin[Q8_CHANNEL_BINS - 1], 1);
    const float huge[] = {3.4e38F, 1e-45F};
    bins = bins_of(huge, 2);
    assert_int_equal(bins.small, 1);
    assert_int_equal(bins.bin[Q8_CHANNEL_BINS - 1], 1);
    assert_true(isfinite(q8_channel_bins_edge(&bins, Q8_CHANNEL_BINS)));
}

/* Every width and height is looked at all over. */
static void pixels_are_spread(void **unused)
{
    (void)unused;
    for (int h = 1; h < 40; h++)
        for (int w = 1; w < 40; w++) {
            const int n = h * w;
            float *x = malloc((size_t)n * sizeof(*x));
            assert_non_null(x);
            int upper = 0;
            for (int i = 0; i < n; i++)
                x[i] = i < n / 2 ? 1.0F : 0.0F;
            q8_channel_bins bins;
            q8_channel_bins_init(&bins);
            q8_channel_bins_add(&bins, &(q8_view){x, 1, {3, {1, h, w}}, 1, NULL});
            for (int b = 0; b < Q8_CHANNEL_BINS; b++)
                upper += (int)bins.bin[b];
            const int seen = n < Q8_CHANNEL_PIXELS ? n : Q8_CHANNEL_PIXELS;
            assert_int_equal(q8_channel_bins_count(&bins), seen);
            if (n >= 4 * Q8_CHANNEL_PIXELS)
                assert_in_range(upper, seen / 3, seen);
            free(x);
        }
}

/* --- scaling -------------------------------------------------------------------------------- */

static uint64_t hist_total(const q8_hist *hist)
{
    uint64_t n = hist->zeros;
    for (int i = 0; i < Q8_HIST_BINS; i++)
        n += hist->bin[i];
    return n;
}

static q8_stats stats_of(const float *x)
{
    q8_stats stats;
    assert_int_equal(q8_stats_init(&stats, C, NULL), Q8_OK);
    q8_stats_add(&stats, &(q8_view){x, PICTURES, {3, {C, H, W}}, 1, NULL});
    return stats;
}

static void scaled_statistics(void **unused)
{
    (void)unused;
    static const float factor[C] = {1, 3, 64, 0.25F, 1.5F};
    float *x = pictures(), *y = malloc(sizeof(*y) * PICTURES * C * H * W);
    assert_non_null(y);
    for (int i = 0; i < PICTURES * C * H * W; i++)
        y[i] = x[i] * factor[i / (H * W) % C];
    q8_stats got = stats_of(x), want = stats_of(y);
    q8_stats_scale(&got, factor);
    assert_true(got.min == want.min && got.max == want.max);
    assert_int_equal(got.hist.exponent, want.hist.exponent);
    assert_int_equal(got.hist.zeros, want.hist.zeros);
    assert_int_equal(got.count, want.count);
    for (int c = 0; c < C; c++) {
        assert_true(got.channel_absmax[c] == want.channel_absmax[c]);
        assert_true(got.channel_min[c] == want.channel_min[c]);
        assert_true(got.channel_max[c] == want.channel_max[c]);
        const float mean = q8_stats_channel_mean(&want, c);
        assert_true(fabsf(q8_stats_channel_mean(&got, c) - mean) <= 1e-6F * fabsf(mean));
    }
    const double all = (double)hist_total(&want.hist);
    assert_true(fabs((double)hist_total(&got.hist) - all) <= 2 * C);
    const double absmax = fmax(-(double)got.min, (double)got.max);
    const double top = ldexp(absmax, 12 - got.hist.exponent);
    assert_true(got.hist.bin[(int)top] > 0);
    q8_stats_free(&got);
    q8_stats_free(&want);
    free(x);
    free(y);
}

static void scaled_dead_channels(void **unused)
{
    (void)unused;
    static const float factor[C] = {2, 2, 2, 2, 2};
    float *x = pictures();
    for (int i = 0; i < PICTURES * C * H * W; i++)
        if (i / (H * W) % C != 3)
            x[i] = 0;
    q8_stats stats = stats_of(x);
    q8_stats_scale(&stats, factor);
    assert_true(stats.channel_absmax[0] == 0 && stats.channel_absmax[3] > 0);
    for (int i = 0; i < PICTURES * C * H * W; i++)
        x[i] = 0;
    q8_stats_free(&stats);
    stats = stats_of(x);
    q8_stats_scale(&stats, factor);
    assert_int_equal(stats.hist.exponent, Q8_HIST_EMPTY);
    assert_true(stats.min == 0 && stats.max == 0);
    q8_stats_free(&stats);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_gives_the_same),
        cmocka_unit_test(layout_does_not_show),
        cmocka_unit_test(pixels_do_not_show),
        cmocka_unit_test(batches_and_queues_do_not_show),
        cmocka_unit_test(values_are_between_edges),
        cmocka_unit_test(odd_values),
        cmocka_unit_test(pixels_are_spread),
        cmocka_unit_test(scaled_statistics),
        cmocka_unit_test(scaled_dead_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
