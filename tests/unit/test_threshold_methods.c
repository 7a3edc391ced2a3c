/* Every method and both numbers of levels: against the same done value by value where that is
 * simple, and the answers all must give whatever the statistics. */
#include "calib/threshold.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N_METHODS = Q8_METHOD_EQ + 1 };

static const char *const method_name[N_METHODS] = {"mse",        "auto", "kl", "minmax",
                                                   "percentile", "aciq", "eq"};
static const int all_levels[] = {Q8_LEVELS_SIGNED, Q8_LEVELS_SHIFTED};

static uint64_t state;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 33) + 0.5) / 2147483648.0;
}

static float normal(void)
{
    return (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}
static float laplace(void)
{
    return (float)-log(uniform());
}
static float relu(void)
{
    const float x = normal();
    return x > 0 ? x : 0;
}
static float outliers(void)
{
    return uniform() < 1e-4 ? 40 * (float)uniform() : laplace();
}
static float even(void)
{
    return (float)uniform();
}

static const struct {
    const char *name;
    float (*draw)(void);
} distribution[] = {{"normal", normal},
                    {"laplace", laplace},
                    {"relu", relu},
                    {"outliers", outliers},
                    {"uniform", even}};

enum { N_DISTRIBUTIONS = sizeof(distribution) / sizeof(distribution[0]), N_VALUES = 100000 };

static float value[N_VALUES];

static void add_values(q8_stats *s, const float *x, int n)
{
    const q8_view view = {x, 1, {3, {1, 1, n}}, 1, NULL};
    q8_stats_add(s, &view);
}

/* Fills `value` and the statistics of it. */
static void sample(q8_stats *s, float (*draw)(void))
{
    for (int i = 0; i < N_VALUES; i++)
        value[i] = draw();
    assert_int_equal(q8_stats_init(s, 1, NULL), Q8_OK);
    add_values(s, value, N_VALUES);
}

static float absmax_of(const q8_stats *s)
{
    return -s->min > s->max ? -s->min : s->max;
}

/* What int8 makes of |x|. */
static double quantised(double x, double threshold, int levels)
{
    const double step = threshold / (levels - 1);
    const double q = floor(x / step + 0.5);
    return q < levels - 1 ? q * step : threshold;
}

static double squared_error(double threshold, int levels)
{
    double sum = 0;
    for (int i = 0; i < N_VALUES; i++) {
        const double x = fabs((double)value[i]), off = quantised(x, threshold, levels) - x;
        sum += off * off;
    }
    return sum;
}

static double cosine(double threshold, int levels)
{
    double xq = 0, xx = 0, qq = 0;
    for (int i = 0; i < N_VALUES; i++) {
        const double x = fabs((double)value[i]), q = quantised(x, threshold, levels);
        xq += x * q;
        xx += x * x;
        qq += q * q;
    }
    return xq / sqrt(xx * qq);
}

/* The squared error of the threshold is that of the best of a finer grid, or nearly. */
static void test_mse(void **unused)
{
    (void)unused;
    state = 1;
    for (int d = 0; d < N_DISTRIBUTIONS; d++)
        for (int l = 0; l < 2; l++) {
            q8_stats s;
            sample(&s, distribution[d].draw);
            const double got = (double)q8_threshold(Q8_METHOD_MSE, &s, all_levels[l]);
            double least = INFINITY, best = 0;
            for (double t = (double)absmax_of(&s); t > got / 4; t *= 0.985) {
                const double error = squared_error(t, all_levels[l]);
                best = error < least ? t : best;
                least = error < least ? error : least;
            }
            printf("%-10s levels %d: %.4f, by trying %.4f\n", distribution[d].name, all_levels[l],
                   got, best);
            assert_true(squared_error(got, all_levels[l]) <= 1.01 * least);
            q8_stats_free(&s);
        }
}

static void test_eq(void **unused)
{
    (void)unused;
    state = 2;
    for (int d = 0; d < N_DISTRIBUTIONS; d++)
        for (int l = 0; l < 2; l++) {
            q8_stats s;
            sample(&s, distribution[d].draw);
            const double kl = (double)q8_threshold(Q8_METHOD_KL, &s, all_levels[l]);
            const double got = (double)q8_threshold(Q8_METHOD_EQ, &s, all_levels[l]);
            assert_true(got > kl / 2 && got < kl * 2.0001);
            for (double t = kl / 2; t < 2 * kl; t *= 1.05)
                assert_true(1 - cosine(got, all_levels[l]) < 1.02 * (1 - cosine(t, all_levels[l])));
            q8_stats_free(&s);
        }
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void test_percentile(void **unused)
{
    (void)unused;
    state = 3;
    for (int d = 0; d < N_DISTRIBUTIONS; d++) {
        q8_stats s;
        sample(&s, distribution[d].draw);
        const double bin = ldexp(1, s.hist.exponent - 12);
        const double got = (double)q8_threshold(Q8_METHOD_PERCENTILE, &s, Q8_LEVELS_SIGNED);
        for (int i = 0; i < N_VALUES; i++)
            value[i] = fabsf(value[i]);
        qsort(value, N_VALUES, sizeof(value[0]), compare_floats);
        const int at = N_VALUES - N_VALUES / 10000; /* so many are not above */
        assert_true(got >= (double)value[at - 1] - bin && got <= (double)value[at] + bin);
        q8_stats_free(&s);
    }
}

/* Data of the assumed distribution: the literature's numbers for 8 bits, signed and positive. */
static void test_aciq(void **unused)
{
    (void)unused;
    static const struct {
        float (*draw)(void);
        double want[2];
    } c[] = {{laplace, {9.89, 11.16}}, {normal, {3.92, 4.21}}, {relu, {3.92, 4.21}}};
    state = 4;
    for (int i = 0; i < 3; i++)
        for (int l = 0; l < 2; l++) {
            q8_stats s;
            sample(&s, c[i].draw);
            add_values(&s, &(float){20}, 1); /* so that the largest |x| does not limit it */
            const double got = (double)q8_threshold(Q8_METHOD_ACIQ, &s, all_levels[l]);
            assert_true(fabs(got / c[i].want[l] - 1) < 0.02);
            q8_stats_free(&s);
        }
}

/* One huge value must not take all the codes; but minmax gives it them. */
static void test_one_outlier(void **unused)
{
    (void)unused;
    for (int m = 0; m < N_METHODS; m++) {
        q8_stats s;
        state = 5;
        sample(&s, normal);
        add_values(&s, &(float){50}, 1);
        const float got = q8_threshold((q8_method)m, &s, Q8_LEVELS_SIGNED);
        if (m == Q8_METHOD_MINMAX)
            assert_true(got == 50);
        else
            assert_true(got < 40);
        q8_stats_free(&s);
    }
}

/* Twice the levels halve the step, so rare large values are worth more. */
static void test_levels_count(void **unused)
{
    (void)unused;
    static const q8_method method[] = {Q8_METHOD_MSE, Q8_METHOD_ACIQ};
    for (int m = 0; m < 2; m++) {
        q8_stats s;
        state = 6;
        sample(&s, outliers);
        assert_true(q8_threshold(method[m], &s, Q8_LEVELS_SHIFTED) >
                    q8_threshold(method[m], &s, Q8_LEVELS_SIGNED));
        q8_stats_free(&s);
    }
}

/* Two channels, the second ten times as large, of 32 pixels each: those that are looked at. */
static void sample_two(q8_stats *s)
{
    static float x[2][32];
    assert_int_equal(q8_stats_init(s, 2, NULL), Q8_OK);
    for (int i = 0; i < 3000; i++) {
        for (int k = 0; k < 32; k++) {
            x[0][k] = laplace() / 10;
            x[1][k] = laplace();
        }
        const q8_view view = {x[0], 1, {3, {2, 1, 32}}, 1, NULL};
        q8_stats_add(s, &view);
    }
}

static void test_auto(void **unused)
{
    (void)unused;
    q8_stats s;
    state = 10;
    sample_two(&s);
    for (int l = 0; l < 2; l++) {
        const double equal[] = {3, 3}, first[] = {1, 0.0001};
        const double mse = (double)q8_threshold(Q8_METHOD_MSE, &s, all_levels[l]);
        const double got = (double)q8_threshold_auto(&s, equal, all_levels[l]);
        printf("equal costs: %.4f, mse %.4f\n", got, mse);
        assert_true(fabs(got / mse - 1) < 0.05);
        assert_true((double)q8_threshold_auto(&s, first, all_levels[l]) < 0.5 * mse);
    }
    q8_stats_free(&s);
}

static float threshold_by(int m, const q8_stats *s, int levels)
{
    const double cost = 2;
    return m == Q8_METHOD_AUTO ? q8_threshold_auto(s, &cost, levels)
                               : q8_threshold((q8_method)m, s, levels);
}

/* What must hold of any answer. */
static void check_answer(const q8_stats *s, int m, int levels)
{
    const float got = threshold_by(m, s, levels), absmax = absmax_of(s);
    if (!(got > 0) || !isfinite(got) || !isfinite(127 / got))
        fail_msg("%s, %d levels: %g", method_name[m], levels, (double)got);
    if (!(got <= absmax || got == 1e-30f || !(absmax > 0)))
        fail_msg("%s, %d levels: %g is above %g", method_name[m], levels, (double)got,
                 (double)absmax);
}

static void check_all(const q8_stats *s)
{
    for (int m = 0; m < N_METHODS; m++)
        for (int l = 0; l < 2; l++)
            check_answer(s, m, all_levels[l]);
}

static void test_degenerate(void **unused)
{
    (void)unused;
    static const struct {
        float x[4];
        int n, times;
    } c[] = {
        {{0}, 1, 5000},                     /* only zeros */
        {{NAN, INFINITY, -INFINITY}, 3, 1}, /* nothing usable */
        {{7}, 1, 1},                        /* one value */
        {{7}, 1, 5000},                     /* constant */
        {{-7}, 1, 5000},                    /* and negative */
        {{1e-45f, -1e-45f}, 2, 5000},       /* subnormal */
        {{1e-38f, 3e-39f}, 2, 5000},        /* just there */
        {{1e30f, -1e30f, 1}, 3, 5000},      /* huge */
        {{FLT_MAX, -FLT_MAX, FLT_MIN}, 3, 5000},
        {{0, 0, 0, 1e-20f}, 4, 1000}, /* mostly zeros */
        {{1, 1, 1, 1e30f}, 4, 1000},  /* far apart */
    };
    q8_stats s;
    assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
    check_all(&s); /* nothing seen at all */
    q8_stats_free(&s);
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
        for (int k = 0; k < c[i].times; k++)
            add_values(&s, c[i].x, c[i].n);
        check_all(&s);
        q8_stats_free(&s);
    }
}

/* 99.995 % zeros: the percentile is 0, which cannot be a threshold. */
static void test_sparse(void **unused)
{
    (void)unused;
    static float x[100000];
    q8_stats s;
    state = 7;
    assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < 5; k++)
            x[k] = 1 + (float)uniform();
        add_values(&s, x, 100000);
    }
    check_all(&s);
    assert_true(q8_threshold(Q8_METHOD_PERCENTILE, &s, Q8_LEVELS_SIGNED) == absmax_of(&s));
    q8_stats_free(&s);
}

static void test_anything(void **unused)
{
    (void)unused;
    state = 8;
    for (int round = 0; round < 40; round++) {
        q8_stats s;
        float x[1000];
        const double density = pow(10, -3 * uniform());
        const int exponent = (int)(uniform() * 276) - 148;
        assert_int_equal(q8_stats_init(&s, 1, NULL), Q8_OK);
        for (int i = 0; i < 5; i++) {
            for (int k = 0; k < 1000; k++)
                x[k] = uniform() < density ? (float)ldexp((double)normal() / 8, exponent) : 0;
            add_values(&s, x, 1000);
        }
        check_all(&s);
        q8_stats_free(&s);
    }
}

/* A scale by a power of two changes no decision. */
static void test_scale_invariance(void **unused)
{
    (void)unused;
    for (int m = 0; m < N_METHODS; m++) {
        float threshold[2];
        for (int i = 0; i < 2; i++) {
            q8_stats s;
            state = 9;
            sample(&s, laplace);
            s.hist.exponent += 60 * i;
            s.min = ldexpf(s.min, 60 * i);
            s.max = ldexpf(s.max, 60 * i);
            threshold[i] = q8_threshold((q8_method)m, &s, Q8_LEVELS_SIGNED);
            q8_stats_free(&s);
        }
        assert_true(threshold[1] == ldexpf(threshold[0], 60));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mse),
        cmocka_unit_test(test_eq),
        cmocka_unit_test(test_percentile),
        cmocka_unit_test(test_aciq),
        cmocka_unit_test(test_one_outlier),
        cmocka_unit_test(test_levels_count),
        cmocka_unit_test(test_degenerate),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_anything),
        cmocka_unit_test(test_scale_invariance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
