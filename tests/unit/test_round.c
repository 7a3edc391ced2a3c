/* Moments and the rounding of weights against them. */
#include "quant/round.h"

#include <math.h>

#include "quant/factor.h"
#include "quant/moments.h"
#include "quant/quant.h"
#include "test_exec_graph.h"

/* More weights than a block of the factor has, and more outputs than vectors have lanes. */
enum { ROWS = 400, N = 150, OUTPUTS = 37, APART = N + 4 };

/* Rows of correlated values with a mean that is not 0; padding is not a number. */
static float *sample_matrix(uint32_t seed, float noise)
{
    const int stride = q8_moments_stride(N);
    float *x = malloc((size_t)ROWS * (size_t)stride * sizeof(*x));
    assert_non_null(x);
    uint32_t shared = 77, own = seed;
    for (int r = 0; r < ROWS; r++) {
        const float common = random_float(&shared);
        for (int i = 0; i < stride; i++) {
            const float base = 0.5f + common + 0.3f * random_float(&shared);
            x[r * stride + i] = i < N ? base + noise * random_float(&own) : NAN;
        }
    }
    return x;
}

/* --- moments ---------------------------------------------------------------------------------- */

static void check_moments(const float *a, const float *b, const float *got)
{
    const int stride = q8_moments_stride(N);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            double sum = 0;
            for (int r = 0; r < ROWS; r++)
                sum += (double)a[r * stride + i] * (double)b[r * stride + k];
            assert_true(fabs(sum / ROWS - (double)got[i * stride + k]) < 1e-5);
        }
}

static void moments_are_means_of_products(void **state)
{
    (void)state;
    const int stride = q8_moments_stride(N);
    const size_t size = (size_t)stride * (size_t)stride;
    float *a = sample_matrix(1, 0.1f), *b = sample_matrix(2, 0.1f);
    float *own = calloc(4 * size, sizeof(*own)), *cross = own + size, *again = own + 2 * size;
    assert_int_equal(q8_moments(a, b, ROWS, N, own, cross, 1, NULL), Q8_OK);
    assert_int_equal(q8_moments(a, b, ROWS, N, again, again + size, 3, NULL), Q8_OK);
    assert_memory_equal(own, again, 2 * size * sizeof(*own));
    check_moments(b, b, own);
    check_moments(a, b, cross);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            assert_true(own[i * stride + k] == own[k * stride + i]);
    free(a), free(b), free(own);
}

/* --- rounding --------------------------------------------------------------------------------- */

struct rounding {
    q8_rounding r;
    q8_round_outputs o;
    float *exact, *coded, *own, *cross, *factor, *room;
    float w[OUTPUTS * APART], scale[OUTPUTS];
    signed char q[OUTPUTS * APART];
};

static struct rounding *open_rounding(float noise, float scale)
{
    struct rounding *t = calloc(1, sizeof(*t));
    const int stride = q8_moments_stride(N);
    const size_t n = (size_t)stride * (size_t)stride;
    uint32_t seed = 5;
    assert_non_null(t);
    t->exact = sample_matrix(1, 0);
    t->coded = sample_matrix(2, noise);
    t->own = calloc(n, sizeof(float));
    t->cross = calloc(n, sizeof(float));
    t->factor = calloc(n, sizeof(float));
    t->room = malloc(q8_round_room(stride) * sizeof(float));
    assert_int_equal(q8_moments(t->exact, t->coded, ROWS, N, t->own, t->cross, 1, NULL), Q8_OK);
    for (int i = 0; i < OUTPUTS * APART; i++)
        t->w[i] = random_float(&seed);
    for (int o = 0; o < OUTPUTS; o++)
        t->scale[o] = scale * (1 + (float)o / 100);
    t->r = (q8_rounding){.n = N,
                         .stride = stride,
                         .own = t->own,
                         .cross = t->cross,
                         .weight_limit = 127,
                         .sum_limit = Q8_INT32_SUM};
    t->o = (q8_round_outputs){
        .count = OUTPUTS, .w = t->w, .q = t->q, .stride = APART, .scale = t->scale};
    return t;
}

static void factorise(struct rounding *t)
{
    bool exists;
    assert_int_equal(q8_factorise(t->factor, t->own, N, t->r.stride, t->r.damping, &exists, NULL),
                     Q8_OK);
    assert_true(exists);
    t->r.factor = t->factor;
}

static void round_all(struct rounding *t)
{
    assert_int_equal(q8_round_compensated(&t->r, &t->o, t->room, NULL), Q8_OK);
}

static void close_rounding(struct rounding *t)
{
    free(t->exact), free(t->coded), free(t->own), free(t->cross), free(t->factor), free(t->room);
    free(t);
}

static signed char nearest(const struct rounding *t, int output, int i)
{
    return q8_round_int8(t->w[output * APART + i] * t->scale[output]);
}

/* Mean squared error of an output over the sample. */
static double output_error(const struct rounding *t, int output, const signed char *q)
{
    double error = 0;
    for (int r = 0; r < ROWS; r++) {
        double off = 0;
        for (int i = 0; i < N; i++)
            off += q[i] / (double)t->scale[output] * (double)t->coded[r * t->r.stride + i] -
                   (double)t->w[output * APART + i] * (double)t->exact[r * t->r.stride + i];
        error += off * off / ROWS;
    }
    return error;
}

static double sum_of_errors(const struct rounding *t)
{
    double sum = 0;
    for (int o = 0; o < OUTPUTS; o++)
        sum += output_error(t, o, t->q + o * APART);
    return sum;
}

static void compensation_lowers_the_outputs_error(void **state)
{
    (void)state;
    for (int noisy = 0; noisy < 2; noisy++) {
        struct rounding *t = open_rounding(noisy ? 0.2f : 0, 9);
        for (int o = 0; o < OUTPUTS; o++)
            for (int i = 0; i < N; i++)
                t->q[o * APART + i] = nearest(t, o, i);
        const double before = sum_of_errors(t);
        round_all(t);
        const double descended = sum_of_errors(t);
        assert_true(descended < 0.95 * before);
        t->r.damping = 1e-3f;
        factorise(t);
        round_all(t);
        assert_true(sum_of_errors(t) < 0.9 * descended);
        close_rounding(t);
    }
}

/* --- the same, weight by weight, in double ---------------------------------------------------- */

struct plain {
    double own[N][N], factor[N][N], wanted[N];
};

static void plain_factor(struct plain *p)
{
    for (int i = 0; i < N; i++)
        for (int k = i; k < N; k++) {
            double sum = p->own[i][k];
            for (int l = 0; l < i; l++)
                sum -= p->factor[l][i] * p->factor[l][k];
            p->factor[i][k] = i == k ? sqrt(sum) : sum / p->factor[i][i];
        }
}

static void plain_start(const struct plain *p, double scale, double *q)
{
    double y[N];
    for (int i = 0; i < N; i++) {
        y[i] = p->wanted[i];
        for (int l = 0; l < i; l++)
            y[i] -= p->factor[l][i] * y[l];
        y[i] /= p->factor[i][i];
    }
    for (int i = N - 1; i >= 0; i--) {
        double sum = y[i];
        for (int l = i + 1; l < N; l++)
            sum -= p->factor[i][l] * q[l] / scale;
        q[i] = fmax(-127, fmin(127, round(sum / p->factor[i][i] * scale)));
    }
}

static void plain_descent(const struct plain *p, double scale, double *q)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < N; i++) {
            double gradient = -p->wanted[i];
            for (int l = 0; l < N; l++)
                gradient += p->own[i][l] * q[l] / scale;
            const double step = gradient / p->own[i][i] * scale;
            if (fabs(step) <= 0.5)
                continue;
            const double to = fmax(-127, fmin(127, q[i] - round(step)));
            moved = moved || to != q[i];
            q[i] = to;
        }
    }
}

/* A tie may go the other way in single precision, and then the rest of its output. */
static void groups_are_rounded_as_weights_one_by_one(void **state)
{
    (void)state;
    struct rounding *t = open_rounding(0.2f, 12);
    struct plain *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    t->r.damping = 0.01f;
    factorise(t);
    round_all(t);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            p->own[i][k] = (double)t->own[i * t->r.stride + k] + (i == k ? 0.01 : 0);
    plain_factor(p);
    int same = 0;
    for (int o = 0; o < OUTPUTS; o++) {
        double q[N];
        for (int i = 0; i < N; i++) {
            p->wanted[i] = 0.01 * (double)t->w[o * APART + i];
            for (int k = 0; k < N; k++)
                p->wanted[i] += (double)t->cross[k * t->r.stride + i] * (double)t->w[o * APART + k];
        }
        plain_start(p, (double)t->scale[o], q);
        plain_descent(p, (double)t->scale[o], q);
        signed char codes[N];
        for (int i = 0; i < N; i++)
            codes[i] = (signed char)q[i];
        same += memcmp(codes, t->q + o * APART, N) == 0;
        const double plain = output_error(t, o, codes), got = output_error(t, o, t->q + o * APART);
        assert_true(fabs(plain - got) < 0.1 * plain);
    }
    assert_true(same >= OUTPUTS - 4);
    free(p);
    close_rounding(t);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void assert_nearest(const struct rounding *t)
{
    for (int o = 0; o < OUTPUTS; o++)
        for (int i = 0; i < N; i++)
            assert_int_equal(t->q[o * APART + i], nearest(t, o, i));
}

static void damping_keeps_weights_near(void **state)
{
    (void)state;
    struct rounding *t = open_rounding(0.2f, 9);
    t->r.damping = 1e6f;
    factorise(t);
    round_all(t);
    for (int o = 0; o < OUTPUTS; o++)
        for (int i = 0; i < N; i++)
            assert_true(fabsf((float)t->q[o * APART + i] - t->w[o * APART + i] * t->scale[o]) <
                        0.51f);
    close_rounding(t);
}

static void nothing_but_the_weights_is_written(void **state)
{
    (void)state;
    struct rounding *t = open_rounding(0.2f, 9);
    t->r.damping = 0.01f;
    t->o.count = 19;
    factorise(t);
    memset(t->q, 99, sizeof(t->q));
    round_all(t);
    for (int i = 0; i < OUTPUTS * APART; i++)
        if (i / APART >= 19 || i % APART >= N)
            assert_int_equal(t->q[i], 99);
    close_rounding(t);
}

static void limits_hold(void **state)
{
    (void)state;
    for (int started = 0; started < 2; started++) {
        struct rounding *t = open_rounding(0.5f, 30);
        long long most = 0;
        t->r.damping = 0.01f;
        if (started)
            factorise(t);
        for (int o = 0; o < OUTPUTS; o++) {
            long long sum = 0;
            for (int i = 0; i < N; i++)
                sum += abs(nearest(t, o, i));
            most = sum > most ? sum : most;
        }
        t->r.sum_limit = most;
        t->r.weight_limit = 42;
        round_all(t);
        for (int o = 0; o < OUTPUTS; o++) {
            long long sum = 0;
            for (int i = 0; i < N; i++) {
                assert_in_range(t->q[o * APART + i] + 42, 0, 84);
                sum += abs(t->q[o * APART + i]);
            }
            assert_true(sum <= most);
        }
        close_rounding(t);
    }
}

static void moments_of_nothing_change_nothing(void **state)
{
    (void)state;
    struct rounding *t = open_rounding(0, 100);
    const size_t bytes = (size_t)t->r.stride * (size_t)t->r.stride * sizeof(float);
    bool exists = true;
    memset(t->own, 0, bytes);
    memset(t->cross, 0, bytes);
    round_all(t);
    assert_nearest(t);
    assert_int_equal(q8_factorise(t->factor, t->own, N, t->r.stride, 0, &exists, NULL), Q8_OK);
    assert_false(exists);
    t->own[0] = NAN; /* of values that overflow */
    t->cross[1] = INFINITY;
    round_all(t);
    for (int i = 0; i < OUTPUTS * APART; i++)
        assert_in_range(t->q[i] + 127, 0, 254);
    close_rounding(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_means_of_products),
        cmocka_unit_test(compensation_lowers_the_outputs_error),
        cmocka_unit_test(groups_are_rounded_as_weights_one_by_one),
        cmocka_unit_test(damping_keeps_weights_near),
        cmocka_unit_test(nothing_but_the_weights_is_written),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(moments_of_nothing_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
