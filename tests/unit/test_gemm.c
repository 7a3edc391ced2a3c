/* Products of matrices against plain loops. */
#include "exec/gemm.h"

#include <math.h>
#include <signal.h>
#include <sys/time.h>

#include "test_exec_graph.h"

static float *random_matrix(size_t n, uint32_t seed)
{
    float *x = malloc(n * sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(&seed);
    return x;
}

static double element(const q8_gemm *g, int i, int j)
{
    double sum = 0;
    for (int k = 0; k < g->k; k++)
        sum += (double)g->a[g->a_transposed ? k * g->a_stride + i : i * g->a_stride + k] *
               (double)g->b[k * g->b_stride + j];
    return sum * (double)g->factor;
}

/* Also that nothing is written beside the result. */
static void check(int m, int n, int k, bool transposed, bool add, float factor)
{
    q8_gemm g = {.m = m, .n = n, .k = k, .a_transposed = transposed, .add = add, .factor = factor};
    g.a_stride = (transposed ? m : k) + 3;
    g.b_stride = n + 5;
    g.c_stride = n + 7;
    const size_t size = (size_t)m * (size_t)g.c_stride;
    float *a = random_matrix((size_t)(transposed ? k : m) * (size_t)g.a_stride + 1, 3);
    float *b = random_matrix((size_t)k * (size_t)g.b_stride + 1, 4);
    float *c = random_matrix(size, 5), *before = malloc(size * sizeof(*before));
    assert_non_null(before);
    memcpy(before, c, size * sizeof(*before));
    g.a = a, g.b = b, g.c = c;
    assert_int_equal(q8_gemm_run(&g, NULL), Q8_OK);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < g.c_stride; j++) {
            const float was = before[i * g.c_stride + j], is = c[i * g.c_stride + j];
            if (j >= n)
                assert_true(was == is);
            else
                assert_true(fabs(element(&g, i, j) + (add ? (double)was : 0) - (double)is) <
                            1e-6 * (k + 1));
        }
    free(a), free(b), free(c), free(before);
}

static void products_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const int sizes[][3] = {{1, 1, 1},    {7, 5, 3},    {64, 64, 64},
                                   {65, 33, 17}, {3, 130, 90}, {130, 16, 257}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int how = 0; how < 4; how++)
            check(sizes[i][0], sizes[i][1], sizes[i][2], how & 1, how & 2, how & 2 ? -1 : 0.5f);
}

static void a_product_of_nothing_adds_nothing(void **state)
{
    (void)state;
    check(5, 6, 0, false, true, -1);
    check(5, 6, 0, true, true, -1);
}

/* What memory holds before does not get into the result. */
static void results_are_not_read_unless_added_to(void **state)
{
    (void)state;
    const float a[] = {1, 2}, b[] = {3, 4};
    float c = NAN;
    const q8_gemm g = {.m = 1,
                       .n = 1,
                       .k = 2,
                       .a = a,
                       .b = b,
                       .c = &c,
                       .a_stride = 2,
                       .b_stride = 1,
                       .c_stride = 1,
                       .factor = 2};
    assert_int_equal(q8_gemm_run(&g, NULL), Q8_OK);
    assert_true(c == 22);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void set_timer(int microseconds)
{
    const struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* oneDNN's own product of this form and size does not survive them; see q8_dnnl_enter(). */
static void handlers_of_signals_do_no_harm(void **state)
{
    (void)state;
    enum { M = 64, N = 288, K = 1024, MANY = 300 };
    float *a = random_matrix((size_t)K * M, 3), *b = random_matrix((size_t)K * N, 4);
    float *c = random_matrix((size_t)M * N, 5), *first = random_matrix((size_t)M * N, 6);
    q8_gemm g = {.m = M, .n = N, .k = K, .a = a, .b = b, .c = first};
    g.a_stride = M, g.b_stride = g.c_stride = N;
    g.a_transposed = true, g.factor = 1;
    struct sigaction count = {.sa_handler = count_signal, .sa_flags = SA_RESTART}, before;
    assert_int_equal(q8_gemm_run(&g, NULL), Q8_OK);
    g.c = c;
    assert_int_equal(sigaction(SIGALRM, &count, &before), 0);
    set_timer(100);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(q8_gemm_run(&g, NULL), Q8_OK);
        assert_memory_equal(c, first, (size_t)M * N * sizeof(*c));
    }
    set_timer(0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    assert_true(signals > MANY / 10);
    free(a), free(b), free(c), free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(a_product_of_nothing_adds_nothing),
        cmocka_unit_test(results_are_not_read_unless_added_to),
        cmocka_unit_test(handlers_of_signals_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
