/* The KL threshold against the same definition written out bin by bin, against ncnn2table's, and
 * the answers it must give whatever the histogram. */
#include "calib/threshold.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N = Q8_HIST_BINS, LEVELS = 128 };

static uint64_t state;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 33) + 0.5) / 2147483648.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static double half_normal(void)
{
    return fabs(normal());
}
static double laplace(void)
{
    return -log(uniform());
}
static double outliers(void)
{
    return uniform() < 1e-5 ? 40 * uniform() : -log(uniform());
}
static double even(void)
{
    return uniform();
}
static double relu(void)
{
    const double x = normal() - 0.5;
    return x > 0 ? x : 0;
}
static double log_normal(void)
{
    return exp(normal());
}

/* A tensor of `n` values drawn from `draw`. */
static void sample(q8_stats *s, double (*draw)(void), int n)
{
    enum { PIECE = 1000 };
    float x[PIECE];
    assert_int_equal(q8_stats_init(s, 1, NULL), Q8_OK);
    for (int i = 0; i < n; i += PIECE) {
        for (int k = 0; k < PIECE; k++)
            x[k] = (float)draw();
        const q8_view view = {x, 1, {3, {1, 1, PIECE}}, 1, NULL};
        q8_stats_add(s, &view);
    }
}

static int filled_span(const q8_hist *h)
{
    int n = N;
    while (n > 0 && h->bin[n - 1] == 0)
        n--;
    return n;
}

/* Part of bin i that lies between the edges. */
static double share(int i, double from, double to)
{
    const double low = i > from ? i : from, high = i + 1 < to ? i + 1 : to;
    return high > low ? high - low : 0;
}

/* KL of P and Q over `clip` bins, built in full. `empty_too`: as ncnn2table, a level's sum goes to
 * its empty bins as well. */
static double plain_divergence(const double *p, int n, int clip, bool empty_too)
{
    static double want[N], have[N];
    const double smooth = 0.2048 / n, width = (double)clip / LEVELS;
    for (int i = 0; i < clip; i++) {
        want[i] = p[i] + smooth;
        have[i] = smooth;
    }
    for (int i = clip; i < n; i++)
        want[clip - 1] += p[i];
    for (int j = 0; j < LEVELS; j++) {
        const double from = j * width, to = (j + 1) * width;
        double sum = 0, bins = 0;
        for (int i = (int)from; i < to && i < clip; i++) {
            sum += share(i, from, to) * p[i];
            bins += p[i] > 0 || empty_too ? share(i, from, to) : 0;
        }
        for (int i = (int)from; i < to && i < clip; i++)
            if (bins > 0 && (p[i] > 0 || empty_too))
                have[i] += share(i, from, to) * sum / bins;
    }
    double kl = 0;
    for (int i = 0; i < clip; i++)
        kl += want[i] * log(want[i] / have[i]);
    return kl;
}

static int plain_clip(const q8_hist *h, bool empty_too)
{
    static double p[N];
    const int n = filled_span(h);
    double total = 0;
    for (int i = 0; i < n; i++)
        total += (double)h->bin[i];
    for (int i = 0; i < n; i++)
        p[i] = (double)h->bin[i] / total;
    int best = n;
    double least = DBL_MAX;
    for (int clip = LEVELS; clip <= n; clip++) {
        const double d = plain_divergence(p, n, clip, empty_too);
        if (d <= least + 1e-9)
            best = clip;
        if (d < least)
            least = d;
    }
    return best;
}

static float clip_value(const q8_stats *s, int clip)
{
    const float edge = (float)ldexp(clip, s->hist.exponent - 12);
    const float absmax = -s->min > s->max ? -s->min : s->max;
    return edge < absmax ? edge : absmax;
}

static const struct {
    const char *name;
    double (*draw)(void);
} distribution[] = {
    {"half normal", half_normal},
    {"laplace", laplace},
    {"exponential with outliers", outliers},
    {"uniform", even},
    {"relu", relu},
    {"log normal", log_normal},
};

static void test_against_plain(void **unused)
{
    (void)unused;
    state = 1;
    for (size_t i = 0; i < sizeof(distribution) / sizeof(distribution[0]); i++) {
        q8_stats s;
        sample(&s, distribution[i].draw, 500000);
        const int plain = plain_clip(&s.hist, false), ncnn = plain_clip(&s.hist, true);
        const float got = q8_threshold(Q8_METHOD_KL, &s, LEVELS);
        printf("%-26s max %9.5f  threshold %9.5f  bins %d  ncnn2table's %d\n", distribution[i].name,
               (double)s.max, (double)got, plain, ncnn);
        assert_true(got == clip_value(&s, plain));
        /* Where rare values leave bins empty the two definitions differ a little. */
        assert_in_range(abs(plain - ncnn), 0, 2);
        q8_stats_free(&s);
    }
}

/* Few values: many bins are empty or hold one. */
static void test_sparse_against_plain(void **unused)
{
    (void)unused;
    state = 2;
    for (size_t i = 0; i < sizeof(distribution) / sizeof(distribution[0]); i += 2) {
        q8_stats s;
        sample(&s, distribution[i].draw, 8000);
        assert_true(q8_threshold(Q8_METHOD_KL, &s, LEVELS) ==
                    clip_value(&s, plain_clip(&s.hist, false)));
        q8_stats_free(&s);
    }
}

static void add_values(q8_stats *s, const float *x, int n, int times)
{
    assert_int_equal(q8_stats_init(s, 1, NULL), Q8_OK);
    const q8_view view = {x, 1, {3, {1, 1, n}}, 1, NULL};
    for (int i = 0; i < times; i++)
        q8_stats_add(s, &view);
}

static void test_safe_answers(void **unused)
{
    (void)unused;
    static const struct {
        float x[5];
        int n, times;
        float want;
    } c[] = {
        {{0}, 1, 1200, 1},                                  /* only zeros */
        {{NAN, INFINITY, -INFINITY}, 3, 1200, 1},           /* nothing usable */
        {{NAN, 3, 0, -INFINITY, 0}, 5, 1200, 3},            /* a little usable */
        {{7}, 1, 1, 7},                                     /* one value */
        {{-7}, 1, 1200, 7},                                 /* constant, negative */
        {{1, -2.5f, 2}, 3, 1200, 2.5f},                     /* few values */
        {{0.001f, 5, 0.002f}, 3, 1200, 5},                  /* far apart, equally often */
        {{1e-3f, 1e-3f, 8}, 3, 100, 8},                     /* few in all */
        {{1e-45f, -1e-45f}, 2, 1200, 1e-30f},               /* subnormal */
        {{1e-38f, 2e-38f}, 2, 1200, 1e-30f},                /* too small to divide 127 by */
        {{FLT_MAX, -FLT_MAX, 1}, 3, 1200, FLT_MAX},         /* the other end */
        {{FLT_MAX / 2, FLT_MAX / 3}, 2, 1200, FLT_MAX / 2}, /* 2^127 */
    };
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        q8_stats s;
        add_values(&s, c[i].x, c[i].n, c[i].times);
        const float got = q8_threshold(Q8_METHOD_KL, &s, LEVELS);
        if (got != c[i].want)
            fail_msg("case %zu: %g, not %g", i, (double)got, (double)c[i].want);
        assert_true(isfinite(127 / got));
        q8_stats_free(&s);
    }
    q8_stats s;
    assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
    assert_true(q8_threshold(Q8_METHOD_KL, &s, LEVELS) == 1); /* nothing seen at all */
    q8_stats_free(&s);
}

/* An image: the values are few and evenly spaced, and none of them is an outlier. */
static void test_pixels(void **unused)
{
    (void)unused;
    state = 3;
    float x[1000];
    q8_stats s;
    assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 1000; k++)
            x[k] = floorf(256 * (float)uniform()) - 104;
        const q8_view view = {x, 1, {3, {1, 1, 1000}}, 1, NULL};
        q8_stats_add(&s, &view);
    }
    assert_true(q8_threshold(Q8_METHOD_KL, &s, LEVELS) >= 148 &&
                q8_threshold(Q8_METHOD_KL, &s, LEVELS) <= 151);
    q8_stats_free(&s);
}

/* A single huge value must not take all the codes. */
static void test_one_outlier(void **unused)
{
    (void)unused;
    state = 4;
    q8_stats s;
    sample(&s, half_normal, 1000000);
    const float x = 1000;
    const q8_view view = {&x, 1, {3, {1, 1, 1}}, 1, NULL};
    q8_stats_add(&s, &view);
    assert_true(q8_threshold(Q8_METHOD_KL, &s, LEVELS) < 64);
    q8_stats_free(&s);
}

/* Two values that large thresholds mix, at a loss of 1e-10: that is equality, and the largest wins.
 */
static void test_tie(void **unused)
{
    (void)unused;
    const float x[] = {0.0001f, 0.75f};
    q8_stats s;
    add_values(&s, x, 2, 1);
    s.hist.bin[0] = 1000010000000;
    s.hist.bin[10] = 999990000000;
    assert_true(q8_threshold(Q8_METHOD_KL, &s, LEVELS) == 0.75f);
    q8_stats_free(&s);
}

/* A scale by a power of two only moves the exponent. */
static void test_scale_invariance(void **unused)
{
    (void)unused;
    float threshold[3];
    for (int i = 0; i < 3; i++) {
        static const int exponent[] = {0, 60, -60};
        q8_stats s;
        state = 5;
        sample(&s, laplace, 100000);
        s.hist.exponent += exponent[i];
        s.min = ldexpf(s.min, exponent[i]);
        s.max = ldexpf(s.max, exponent[i]);
        threshold[i] = q8_threshold(Q8_METHOD_KL, &s, LEVELS);
        q8_stats_free(&s);
    }
    assert_true(threshold[1] == ldexpf(threshold[0], 60));
    assert_true(threshold[2] == ldexpf(threshold[0], -60));
}

/* Random histograms of every kind of emptiness: always usable, never above the largest |x|. */
static void test_anything(void **unused)
{
    (void)unused;
    state = 6;
    for (int round = 0; round < 60; round++) {
        q8_stats s;
        float x[1000];
        const double density = pow(10, -3 * uniform());
        const int exponent = (int)(uniform() * 276) - 148;
        assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
        for (int i = 0; i < 5; i++) {
            for (int k = 0; k < 1000; k++)
                x[k] = uniform() < density ? (float)ldexp(normal() / 8, exponent) : 0;
            const q8_view view = {x, 1, {3, {1, 1, 1000}}, 1, NULL};
            q8_stats_add(&s, &view);
        }
        const float got = q8_threshold(Q8_METHOD_KL, &s, LEVELS);
        const float absmax = -s.min > s.max ? -s.min : s.max;
        assert_true(got > 0 && isfinite(got) && isfinite(127 / got));
        assert_true(got <= absmax || got == 1e-30f || absmax == 0);
        q8_stats_free(&s);
    }
}

static void test_speed(void **unused)
{
    (void)unused;
    state = 7;
    q8_stats s;
    sample(&s, laplace, 500000);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    const float threshold = q8_threshold(Q8_METHOD_KL, &s, LEVELS);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%.2f ms for %d bins (threshold %g)\n",
           (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) * 1e-6,
           filled_span(&s.hist), (double)threshold);
    q8_stats_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_sparse_against_plain),
        cmocka_unit_test(test_safe_answers),
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_one_outlier),
        cmocka_unit_test(test_tie),
        cmocka_unit_test(test_scale_invariance),
        cmocka_unit_test(test_anything),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
