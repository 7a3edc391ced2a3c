/* The scan in vector registers against the plain one, to the bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "calib/scan.h"

static uint32_t state = 7;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* One in four is 0, of either sign; `odd` in a thousand are no numbers, infinite or tiny. */
static float any_value(unsigned odd)
{
    static const float special[] = {NAN, INFINITY, -INFINITY, 1e-42F, -1e-45F, 3e38F};
    const float size = ldexpf((float)(next_random() >> 8), (int)(next_random() % 12) - 24);
    if (next_random() % 1000 < odd)
        return special[next_random() % 6];
    if (next_random() % 4 == 0)
        return next_random() & 1 ? 0.0F : -0.0F;
    return next_random() & 1 ? size : -size;
}

static void assert_same(const q8_scan *a, const q8_scan *b)
{
    assert_int_equal(a->n_bins, b->n_bins);
    assert_memory_equal(a->lo, b->lo, sizeof(a->lo));
    assert_memory_equal(a->hi, b->hi, sizeof(a->hi));
    for (int i = 0; i < Q8_SCAN_LANES; i++)
        assert_true(isnan(b->sum[i]) ? isnan(a->sum[i]) : a->sum[i] == b->sum[i]);
}

static void both_are_the_same(void **unused)
{
    (void)unused;
    static float x[Q8_SCAN_RUN];
    static int32_t bin[Q8_SCAN_RUN + Q8_SCAN_LANES], plain_bin[Q8_SCAN_RUN + Q8_SCAN_LANES];
    for (int round = 0; round < 2000; round++) {
        const size_t n = round < 100 ? (size_t)round : next_random() % (Q8_SCAN_RUN + 1);
        const float scale = ldexpf(1, (int)(next_random() % 24));
        for (size_t i = 0; i < n; i++)
            x[i] = any_value(round % 3 ? 0 : 20);
        q8_scan scan, plain;
        q8_scan_values(&scan, x, n, scale, bin);
        q8_scan_values_plain(&plain, x, n, scale, plain_bin);
        assert_same(&scan, &plain);
        assert_memory_equal(bin, plain_bin, plain.n_bins * sizeof(*bin));
    }
}

/* What lies between the rows must not show. */
static void rows_are_the_same_too(void **unused)
{
    (void)unused;
    enum { ROWS = Q8_SCAN_RUN / Q8_SCAN_LANES, STEP = 40 };
    static float x[ROWS * STEP];
    static int32_t bin[Q8_SCAN_RUN + Q8_SCAN_LANES], plain_bin[Q8_SCAN_RUN + Q8_SCAN_LANES];
    for (int round = 0; round < 1000; round++) {
        const int lanes = 1 + (int)(next_random() % Q8_SCAN_LANES);
        const size_t step = (size_t)lanes + next_random() % (STEP - Q8_SCAN_LANES);
        const size_t rows = next_random() % (ROWS + 1);
        const float scale = ldexpf(1, (int)(next_random() % 24));
        for (size_t i = 0; i < ROWS * STEP; i++)
            x[i] = i % step < (size_t)lanes ? any_value(round % 3 ? 0 : 20) : 1e30F;
        q8_scan scan, plain;
        q8_scan_rows(&scan, x, rows, step, lanes, scale, bin);
        q8_scan_rows_plain(&plain, x, rows, step, lanes, scale, plain_bin);
        assert_same(&scan, &plain);
        assert_memory_equal(bin, plain_bin, plain.n_bins * sizeof(*bin));
        for (int i = 0; i < Q8_SCAN_LANES; i++)
            assert_true((rows > 0 && i < lanes) == (scan.lo[i] <= scan.hi[i]));
    }
}

static void finds_what_is_there(void **unused)
{
    (void)unused;
    const float x[] = {0, -3, 0.5F, -0.0F, 2, 7.75F};
    const int32_t want[] = {12, 2, 8, 31};
    int32_t bin[Q8_SCAN_RUN + Q8_SCAN_LANES];
    q8_scan scan;
    q8_scan_values(&scan, x, 6, 4, bin);
    assert_int_equal(scan.n_bins, 4);
    assert_memory_equal(bin, want, sizeof(want));
    q8_extent all = q8_no_extent;
    for (int i = 0; i < Q8_SCAN_LANES; i++)
        q8_extent_widen(&all, (q8_extent){scan.lo[i], scan.hi[i]});
    assert_true(q8_extent_value(all.lo) == -3 && q8_extent_value(all.hi) == 7.75F);
    assert_true(scan.sum[1] == -3 && scan.sum[5] == 7.75F && scan.sum[6] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_are_the_same),
        cmocka_unit_test(rows_are_the_same_too),
        cmocka_unit_test(finds_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
