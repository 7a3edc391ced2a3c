/* Cholesky factors and what they solve. */
#include "quant/factor.h"

#include <math.h>

#include "test_exec_graph.h"

/* A symmetric, positive definite n x n matrix; what lies beside it is not a number. */
static float *some_matrix(int n, int stride, uint32_t seed)
{
    float *x = malloc((size_t)n * (size_t)n * sizeof(*x));
    float *a = malloc((size_t)n * (size_t)stride * sizeof(*a));
    assert_non_null(x);
    assert_non_null(a);
    for (int i = 0; i < n * n; i++)
        x[i] = random_float(&seed);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < stride; k++) {
            double sum = k < n ? 0 : (double)NAN;
            for (int l = 0; l < n && k < n; l++)
                sum += (double)x[i * n + l] * (double)x[k * n + l] / n;
            a[i * stride + k] = (float)(sum + (i == k ? 0.1 : 0));
        }
    free(x);
    return a;
}

static float *new_factor(const float *a, int n, int stride, float damping)
{
    float *u = calloc((size_t)n * (size_t)stride, sizeof(*u));
    bool exists = false;
    assert_non_null(u);
    assert_int_equal(q8_factorise(u, a, n, stride, damping, &exists, NULL), Q8_OK);
    assert_true(exists);
    return u;
}

static const int SIZES[] = {1, 5, 63, 64, 65, 128, 170};
enum { N_SIZES = sizeof(SIZES) / sizeof(SIZES[0]) };

static void factors_make_the_matrix(void **state)
{
    (void)state;
    for (int s = 0; s < N_SIZES; s++) {
        const int n = SIZES[s], stride = n + 3;
        const float damping = 0.25f;
        float *a = some_matrix(n, stride, 9), *u = new_factor(a, n, stride, damping);
        for (int i = 0; i < n; i++)
            for (int k = i; k < n; k++) {
                double sum = i == k ? (double)-damping : 0;
                for (int l = 0; l <= i; l++)
                    sum += (double)u[l * stride + i] * (double)u[l * stride + k];
                assert_true(fabs(sum - (double)a[i * stride + k]) < 1e-5);
            }
        free(a), free(u);
    }
}

static void check_solution(int n, int columns)
{
    const int stride = n + 1, y_stride = columns + 2;
    const size_t size = (size_t)n * (size_t)y_stride;
    uint32_t seed = 4;
    float *a = some_matrix(n, stride, 9), *u = new_factor(a, n, stride, 0);
    float *b = malloc(size * sizeof(*b)), *y = malloc(size * sizeof(*y));
    assert_non_null(b);
    assert_non_null(y);
    for (size_t i = 0; i < size; i++)
        b[i] = y[i] = random_float(&seed);
    assert_int_equal(q8_factor_solve(u, n, stride, y, columns, y_stride, NULL), Q8_OK);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < y_stride; c++) {
            double sum = c < columns ? 0 : (double)y[i * y_stride + c];
            for (int k = 0; k <= i && c < columns; k++)
                sum += (double)u[k * stride + i] * (double)y[k * y_stride + c];
            assert_true(fabs(sum - (double)b[i * y_stride + c]) < 1e-4);
        }
    free(a), free(u), free(b), free(y);
}

static void solutions_solve(void **state)
{
    (void)state;
    static const int columns[] = {1, 16, 37};
    for (int s = 0; s < N_SIZES; s++)
        for (int c = 0; c < 3; c++)
            check_solution(SIZES[s], columns[c]);
}

/* Rows below the first block are as good a place to find it as any. */
static void some_matrices_have_no_factor(void **state)
{
    (void)state;
    static const int bad[] = {0, 70, 99};
    static const float values[] = {-1, NAN, INFINITY};
    enum { SIZE = 100 };
    for (int i = 0; i < 3; i++)
        for (int v = 0; v < 3; v++) {
            float *a = some_matrix(SIZE, SIZE, 2), *u = malloc(SIZE * SIZE * sizeof(*u));
            bool exists = true;
            a[bad[i] * (SIZE + 1)] = values[v];
            assert_non_null(u);
            assert_int_equal(q8_factorise(u, a, SIZE, SIZE, 0, &exists, NULL), Q8_OK);
            assert_false(exists);
            free(a), free(u);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_make_the_matrix),
        cmocka_unit_test(solutions_solve),
        cmocka_unit_test(some_matrices_have_no_factor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
