/* Statistics against a naive reference, and the promise that order, shards and layout do not show.
 */
#include "calib/stats.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t state;

static uint32_t next_random(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static float uniform(void)
{
    return (float)(next_random() >> 8) / 16777216.0f;
}

/* Half zeros, the rest of both signs with a long tail. */
static float activation_like(void)
{
    const float u = uniform();
    if (next_random() & 1)
        return 0;
    return (next_random() & 1 ? -1.0f : 1.0f) * -logf(u + 1e-7f);
}

/* Statistics as the plainest code computes them. */

static void naive_stats(q8_stats *s, const float *nchw, int pictures, int channels, size_t spatial)
{
    assert_int_equal(q8_stats_init(s, channels, NULL), Q8_OK);
    const size_t n = (size_t)pictures * (size_t)channels * spatial;
    double absmax = 0;
    s->count = n;
    for (size_t i = 0; i < n; i++) {
        const float x = nchw[i];
        float *channel = &s->channel_absmax[i / spatial % (size_t)channels];
        if (!isfinite(x)) {
            s->hist.not_finite++;
            continue;
        }
        s->hist.zeros += x == 0;
        absmax = fabs(x) > absmax ? fabs(x) : absmax;
        s->min = x < s->min ? x + 0.0f : s->min;
        s->max = x > s->max ? x + 0.0f : s->max;
        *channel = fabsf(x) > *channel ? fabsf(x) : *channel;
    }
    if (absmax == 0)
        return;
    int exponent;
    frexp(absmax, &exponent);
    s->hist.exponent = exponent < -115 ? -115 : exponent;
    for (size_t i = 0; i < n; i++)
        if (isfinite(nchw[i]) && nchw[i] != 0)
            s->hist.bin[(int)floor(ldexp(fabs(nchw[i]), 12 - s->hist.exponent))]++;
}

static void assert_same(const q8_stats *a, const q8_stats *b)
{
    assert_int_equal(a->hist.exponent, b->hist.exponent);
    assert_int_equal(a->hist.zeros, b->hist.zeros);
    assert_int_equal(a->hist.not_finite, b->hist.not_finite);
    assert_memory_equal(a->hist.bin, b->hist.bin, sizeof(a->hist.bin));
    assert_memory_equal(&a->min, &b->min, sizeof(a->min));
    assert_memory_equal(&a->max, &b->max, sizeof(a->max));
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(a->channel_absmax, b->channel_absmax,
                        (size_t)a->channels * sizeof(*a->channel_absmax));
}

static q8_shape shape_of(int channels, int h, int w)
{
    return (q8_shape){3, {channels, h, w}};
}

/* NCHW to blocks; padding channels get `padding`, which must not show. */
static float *to_blocks(const float *nchw, int pictures, int channels, size_t spatial, int block,
                        float padding)
{
    const int blocks = (channels + block - 1) / block;
    float *out = malloc((size_t)pictures * (size_t)(blocks * block) * spatial * sizeof(*out));
    assert_non_null(out);
    float *at = out;
    for (int p = 0; p < pictures; p++)
        for (int b = 0; b < blocks; b++)
            for (size_t i = 0; i < spatial; i++)
                for (int l = 0; l < block; l++) {
                    const int c = b * block + l;
                    *at++ = c < channels
                                ? nchw[((size_t)p * (size_t)channels + (size_t)c) * spatial + i]
                                : padding;
                }
    return out;
}

static void assert_means(const q8_stats *s, const float *nchw, int pictures, size_t spatial)
{
    for (int c = 0; c < s->channels && s->hist.not_finite == 0; c++) {
        double sum = 0, size = 0;
        for (int p = 0; p < pictures; p++)
            for (size_t i = 0; i < spatial; i++) {
                const double x =
                    (double)nchw[((size_t)p * (size_t)s->channels + (size_t)c) * spatial + i];
                sum += x;
                size += fabs(x);
            }
        const double n = (double)pictures * (double)spatial;
        if (size < 0x1p60)
            assert_true(fabs((double)q8_stats_channel_mean(s, c) - sum / n) <=
                        1e-5 * size / n + 1e-12);
    }
}

/* Adds a tensor in the layout asked for and compares with the reference. */
static void check_layout(const float *nchw, int pictures, q8_shape shape, int block)
{
    const size_t spatial = q8_shape_spatial(&shape);
    q8_stats want, got;
    naive_stats(&want, nchw, pictures, shape.dim[0], spatial);
    assert_int_equal(q8_stats_init(&got, shape.dim[0], NULL), Q8_OK);
    float *blocked =
        block > 1 ? to_blocks(nchw, pictures, shape.dim[0], spatial, block, 1e6f) : NULL;
    const q8_view view = {blocked ? blocked : nchw, pictures, shape, block, NULL};
    q8_stats_add(&got, &view);
    assert_same(&got, &want);
    assert_means(&got, nchw, pictures, spatial);
    free(blocked);
    q8_stats_free(&want);
    q8_stats_free(&got);
}

static void check_layouts(const float *nchw, int pictures, q8_shape shape)
{
    check_layout(nchw, pictures, shape, 1);
    if (shape.rank != 3)
        return;
    check_layout(nchw, pictures, shape, 8);
    check_layout(nchw, pictures, shape, 16);
    check_layout(nchw, pictures, shape, shape.dim[0]); /* pixel by pixel */
}

static float *random_tensor(size_t n)
{
    float *x = malloc(n * sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = activation_like();
    return x;
}

static void test_against_naive(void **unused)
{
    (void)unused;
    state = 1;
    const q8_shape shapes[] = {
        shape_of(1, 1, 1),    shape_of(3, 5, 7),
        shape_of(16, 13, 13), shape_of(17, 4, 4),
        shape_of(40, 3, 1),   shape_of(5, 61, 67),
        shape_of(1, 1, 5000), shape_of(129, 1, 1),
        {2, {7, 33}},         {2, {300, 2}},
        {1, {1000}},          {1, {1}},
        shape_of(33, 27, 5),  shape_of(2, 100, 2048 / 50),
    };
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        float *x = random_tensor(3 * q8_shape_count(&shapes[i]));
        check_layouts(x, 3, shapes[i]);
        free(x);
    }
}

static void test_special_values(void **unused)
{
    (void)unused;
    state = 2;
    static const float special[] = {
        NAN,     -NAN,     INFINITY, -INFINITY, 0.0f,         -0.0f,  FLT_MIN, -FLT_MIN,
        FLT_MAX, -FLT_MAX, 1e-45f,   -1e-45f,   1.0f,         -1.0f,  2.0f,    0.99999994f,
        1e-38f,  4096.0f,  4095.0f,  0.5f,      -1.99999988f, 1e-30f, 3e-35f,  -7e-40f,
    };
    const int n = (int)(sizeof(special) / sizeof(special[0]));
    for (int round = 0; round < 60; round++) {
        /* A few of the special values only, so that not every round has FLT_MAX in it. */
        const q8_shape shape = shape_of(19, 3, 11);
        const size_t count = q8_shape_count(&shape);
        float *x = malloc(2 * count * sizeof(*x));
        assert_non_null(x);
        const int first = (int)(next_random() % (uint32_t)n), kinds = 1 + round % 5;
        for (size_t i = 0; i < 2 * count; i++)
            x[i] = special[(first + (int)(next_random() % (uint32_t)kinds)) % n];
        check_layouts(x, 2, shape);
        free(x);
    }
}

static void test_nothing_finite(void **unused)
{
    (void)unused;
    const float x[] = {NAN, INFINITY, -INFINITY, NAN};
    const q8_view view = {x, 1, {1, {4}}, 1, NULL};
    q8_stats s;
    assert_int_equal(q8_stats_init(&s, 4, NULL), Q8_OK);
    q8_stats_add(&s, &view);
    assert_int_equal(s.hist.exponent, Q8_HIST_EMPTY);
    assert_int_equal(s.hist.not_finite, 4);
    assert_int_equal(s.hist.zeros, 0);
    assert_true(s.min == INFINITY && s.max == -INFINITY);
    assert_true(s.channel_absmax[0] == 0);
    q8_stats_free(&s);
}

static void test_zero_has_no_sign(void **unused)
{
    (void)unused;
    const float x[] = {-0.0f};
    const q8_view view = {x, 1, {1, {1}}, 1, NULL};
    q8_stats s;
    assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
    q8_stats_add(&s, &view);
    assert_false(signbit(s.min) || signbit(s.max) || signbit(s.channel_absmax[0]));
    assert_int_equal(s.hist.zeros, 1);
    assert_int_equal(s.hist.exponent, Q8_HIST_EMPTY);
    q8_stats_free(&s);
}

/* Values over the whole range of fp32, one picture at a time: the exponent grows by any step. */
static void test_growth_and_order(void **unused)
{
    (void)unused;
    state = 3;
    enum { PICTURES = 40, CHANNELS = 6, SPATIAL = 20 };
    const q8_shape shape = shape_of(CHANNELS, 4, 5);
    const size_t each = CHANNELS * SPATIAL;
    float *x = malloc(PICTURES * each * sizeof(*x));
    assert_non_null(x);
    for (int p = 0; p < PICTURES; p++) {
        const int exponent = (int)(next_random() % 270) - 145;
        for (size_t i = 0; i < each; i++)
            x[(size_t)p * each + i] = ldexpf(activation_like() / 17, exponent);
    }
    q8_stats want;
    naive_stats(&want, x, PICTURES, CHANNELS, SPATIAL);
    q8_fixed_sum first_sums[CHANNELS];
    for (int round = 0; round < 20; round++) {
        /* Pictures in random order, in shards, merged in random order. */
        int order[PICTURES];
        for (int p = 0; p < PICTURES; p++) {
            const int at = (int)(next_random() % (uint32_t)(p + 1));
            order[p] = order[at];
            order[at] = p;
        }
        q8_stats shard[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(q8_stats_init(&shard[i], CHANNELS, NULL), Q8_OK);
        for (int p = 0; p < PICTURES; p++) {
            const q8_view view = {x + (size_t)order[p] * each, 1, shape, 1, NULL};
            q8_stats_add(&shard[next_random() % 4], &view);
        }
        const int into = round % 4;
        for (int i = 0; i < 4; i++)
            if (i != into)
                q8_stats_merge(&shard[into], &shard[i]);
        assert_same(&shard[into], &want);
        if (round == 0)
            memcpy(first_sums, shard[into].channel_sum, sizeof(first_sums));
        assert_memory_equal(first_sums, shard[into].channel_sum, sizeof(first_sums));
        for (int i = 0; i < 4; i++)
            q8_stats_free(&shard[i]);
    }
    q8_stats_free(&want);
    free(x);
}

static void test_merge_with_empty(void **unused)
{
    (void)unused;
    state = 4;
    float *x = random_tensor(100);
    const q8_view view = {x, 1, {2, {10, 10}}, 1, NULL};
    q8_stats a, empty, want;
    assert_int_equal(q8_stats_init(&a, 10, NULL), Q8_OK);
    assert_int_equal(q8_stats_init(&empty, 10, NULL), Q8_OK);
    naive_stats(&want, x, 1, 10, 10);
    q8_stats_add(&a, &view);
    q8_stats_merge(&a, &empty);
    assert_same(&a, &want);
    q8_stats_merge(&empty, &a);
    assert_same(&empty, &want);
    q8_stats_free(&a);
    q8_stats_free(&empty);
    q8_stats_free(&want);
    free(x);
}

/* One value so often that every small counter has to be emptied in time. */
static void test_many_equal(void **unused)
{
    (void)unused;
    const q8_shape shape = shape_of(3, 1000, 333);
    const size_t n = q8_shape_count(&shape);
    float *x = malloc(n * sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = 1.5f;
    check_layout(x, 1, shape, 1);
    check_layout(x, 1, shape, 16);
    free(x);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Printed, not asserted: machines differ. */
static void test_speed(void **unused)
{
    (void)unused;
    state = 5;
    const q8_shape shape = shape_of(64, 56, 56);
    const size_t n = q8_shape_count(&shape);
    float *x = random_tensor(n);
    for (int block = 1; block <= 16; block *= 16) {
        q8_stats s;
        assert_int_equal(q8_stats_init(&s, 64, NULL), Q8_OK);
        const q8_view view = {x, 1, shape, block, NULL};
        double best = 1e9;
        for (int i = 0; i < 20; i++) {
            const double start = now();
            q8_stats_add(&s, &view);
            best = now() - start < best ? now() - start : best;
        }
        printf("block %2d: %.3f ms per million values, half of them 0\n", block,
               best * 1e6 / (double)n);
        q8_stats_free(&s);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive),    cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_nothing_finite),   cmocka_unit_test(test_zero_has_no_sign),
        cmocka_unit_test(test_growth_and_order), cmocka_unit_test(test_merge_with_empty),
        cmocka_unit_test(test_many_equal),       cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
