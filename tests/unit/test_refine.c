/* What refinement is made of: moments, compensated rounding, windows, buffers, single nodes. */
#include "quant/refine.h"

#include <math.h>

#include "base/buffers.h"
#include "exec/node.h"
#include "quant/compensate.h"
#include "quant/moments.h"
#include "quant/quant.h"
#include "quant/round.h"
#include "test_exec_graph.h"

/* --- moments ---------------------------------------------------------------------------------- */

enum { ROWS = 300, N = 45 };

/* Rows of correlated values with a mean that is not 0, padding 0. */
static float *sample_matrix(uint32_t seed, float noise)
{
    const int stride = q8_moments_stride(N);
    float *x = calloc((size_t)ROWS * (size_t)stride, sizeof(*x));
    assert_non_null(x);
    uint32_t shared = 77, own = seed;
    for (int r = 0; r < ROWS; r++) {
        const float common = random_float(&shared);
        for (int i = 0; i < N; i++) {
            const float base = 0.5f + common + 0.3f * random_float(&shared);
            x[r * stride + i] = base + noise * random_float(&own);
        }
    }
    return x;
}

static void moments_are_means_of_products(void **state)
{
    (void)state;
    const int stride = q8_moments_stride(N);
    float *a = sample_matrix(1, 0.1f), *b = sample_matrix(2, 0.1f);
    float *one = calloc((size_t)stride * (size_t)stride, sizeof(*one));
    float *three = calloc((size_t)stride * (size_t)stride, sizeof(*three));
    assert_int_equal(q8_moments(a, b, ROWS, N, one, NULL, NULL), Q8_OK);
    assert_int_equal(q8_moments(a, b, ROWS, N, three, &(q8_env){.threads = 3}, NULL), Q8_OK);
    assert_memory_equal(one, three, (size_t)stride * (size_t)stride * sizeof(*one));
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++) {
            double sum = 0;
            for (int r = 0; r < ROWS; r++)
                sum += (double)a[r * stride + i] * (double)b[r * stride + k];
            assert_true(fabs(sum / ROWS - (double)one[i * stride + k]) < 1e-5);
        }
    free(a), free(b), free(one), free(three);
}

/* --- rounding --------------------------------------------------------------------------------- */

struct rounding {
    q8_rounding r;
    float *exact, *coded, *own, *cross, *factor, w[N];
};

static void open_rounding(struct rounding *t, float noise)
{
    const int stride = q8_moments_stride(N);
    const size_t n = (size_t)stride * (size_t)stride;
    uint32_t seed = 5;
    t->exact = sample_matrix(1, 0);
    t->coded = sample_matrix(2, noise);
    t->own = calloc(n, sizeof(float));
    t->cross = calloc(n, sizeof(float));
    t->factor = calloc(n, sizeof(float));
    assert_int_equal(q8_moments(t->coded, t->coded, ROWS, N, t->own, NULL, NULL), Q8_OK);
    assert_int_equal(q8_moments(t->exact, t->coded, ROWS, N, t->cross, NULL, NULL), Q8_OK);
    for (int i = 0; i < N; i++)
        t->w[i] = random_float(&seed);
    t->r = (q8_rounding){.n = N,
                         .stride = stride,
                         .own = t->own,
                         .cross = t->cross,
                         .weight_limit = 127,
                         .sum_limit = Q8_INT32_SUM};
}

static void close_rounding(struct rounding *t)
{
    free(t->exact), free(t->coded), free(t->own), free(t->cross), free(t->factor);
}

/* Mean squared error of the output over the sample. */
static double output_error(const struct rounding *t, const signed char *q, float scale)
{
    double error = 0;
    for (int r = 0; r < ROWS; r++) {
        double off = 0;
        for (int i = 0; i < N; i++)
            off += (double)q[i] / (double)scale * (double)t->coded[r * t->r.stride + i] -
                   (double)t->w[i] * (double)t->exact[r * t->r.stride + i];
        error += off * off / ROWS;
    }
    return error;
}

static void compensation_lowers_the_outputs_error(void **state)
{
    (void)state;
    for (int noisy = 0; noisy < 2; noisy++) {
        struct rounding t;
        signed char nearest[N], q[N];
        float work[Q8_MOMENTS_PAD * 4];
        const float scale = 9;
        open_rounding(&t, noisy ? 0.2f : 0);
        for (int i = 0; i < N; i++)
            nearest[i] = q8_round_int8(t.w[i] * scale);
        const double before = output_error(&t, nearest, scale);
        q8_round_compensated(&t.r, t.w, scale, q, work);
        const double descended = output_error(&t, q, scale);
        assert_true(descended < 0.95 * before);
        assert_true(q8_factorise(t.factor, t.own, N, t.r.stride, 0));
        t.r.factor = t.factor;
        q8_round_compensated(&t.r, t.w, scale, q, work);
        assert_true(output_error(&t, q, scale) < 0.9 * descended);
        close_rounding(&t);
    }
}

static void damping_keeps_weights_near(void **state)
{
    (void)state;
    struct rounding t;
    signed char q[N];
    float work[Q8_MOMENTS_PAD * 4];
    open_rounding(&t, 0.2f);
    t.r.damping = 1e6f;
    assert_true(q8_factorise(t.factor, t.own, N, t.r.stride, t.r.damping));
    t.r.factor = t.factor;
    q8_round_compensated(&t.r, t.w, 9, q, work);
    for (int i = 0; i < N; i++)
        assert_int_equal(q[i], q8_round_int8(t.w[i] * 9));
    close_rounding(&t);
}

static void limits_hold(void **state)
{
    (void)state;
    struct rounding t;
    signed char q[N];
    float work[Q8_MOMENTS_PAD * 4];
    open_rounding(&t, 0.5f);
    long long nearest = 0, sum = 0;
    for (int i = 0; i < N; i++)
        nearest += abs(q8_round_int8(t.w[i] * 30));
    t.r.sum_limit = nearest;
    t.r.weight_limit = 31;
    q8_round_compensated(&t.r, t.w, 30, q, work);
    for (int i = 0; i < N; i++) {
        assert_in_range(q[i] + 31, 0, 62);
        sum += abs(q[i]);
    }
    assert_true(sum <= nearest);
    close_rounding(&t);
}

static void moments_of_nothing_change_nothing(void **state)
{
    (void)state;
    struct rounding t;
    signed char q[N];
    float work[Q8_MOMENTS_PAD * 4];
    open_rounding(&t, 0);
    const size_t bytes = (size_t)t.r.stride * (size_t)t.r.stride * sizeof(float);
    memset(t.own, 0, bytes);
    memset(t.cross, 0, bytes);
    q8_round_compensated(&t.r, t.w, 100, q, work);
    for (int i = 0; i < N; i++)
        assert_int_equal(q[i], q8_round_int8(t.w[i] * 100));
    assert_false(q8_factorise(t.factor, t.own, N, t.r.stride, 0));
    t.own[0] = NAN; /* of values that overflow */
    t.cross[1] = INFINITY;
    q8_round_compensated(&t.r, t.w, 100, q, work);
    for (int i = 0; i < N; i++)
        assert_in_range(q[i] + 127, 0, 254);
    close_rounding(&t);
}

/* --- windows ---------------------------------------------------------------------------------- */

/* Every output is the product of its window and its weights. */
static void check_window(const q8_node *node, const q8_graph *graph, uint32_t seed)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    const q8_shape *out = &graph->tensor[node->out[0]].shape;
    const size_t spatial = q8_shape_spatial(out);
    q8_linear view;
    assert_true(node->op->linear(node, in, &view));
    const int n = view.inputs * view.kernel;
    float *x = malloc(q8_shape_count(in) * sizeof(*x));
    float *y = malloc(q8_shape_count(out) * sizeof(*y));
    float *row = malloc((size_t)n * sizeof(*row));
    for (size_t i = 0; i < q8_shape_count(in); i++)
        x[i] = random_float(&seed);
    const float *ins[] = {x};
    float *outs[] = {y};
    assert_int_equal(q8_exec_node(graph, node, 1, ins, outs, 1, NULL), Q8_OK);
    for (int g = 0; g < view.groups; g++)
        for (size_t at = 0; at < spatial; at++) {
            node->op->window(node, in, x, at, g, row);
            for (int o = g * view.outputs; o < (g + 1) * view.outputs; o++) {
                double sum = node->weight[1].count ? (double)node->weight[1].data[o] : 0;
                for (int i = 0; i < n; i++)
                    sum += (double)node->weight[0].data[o * n + i] * (double)row[i];
                assert_true(fabs(sum - (double)y[(size_t)o * spatial + at]) < 1e-4);
            }
        }
    free(x), free(y), free(row);
}

static void windows_make_the_outputs(void **state)
{
    (void)state;
    static const struct {
        int inputs, outputs, group, kernel, stride, dilation, pad;
        float pad_value;
    } cases[] = {{6, 5, 1, 3, 1, 1, 1, 0}, {6, 4, 2, 3, 2, 1, 1, 0.5f}, {8, 8, 8, 3, 1, 2, 2, 0},
                 {3, 7, 1, 1, 1, 1, 0, 0}, {4, 4, 1, 2, 1, 1, 1, -1},   {16, 16, 1, 3, 1, 1, 1, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net net = net_open((uint32_t)i + 1);
        const int in = net_input(&net, cases[i].inputs, 9, 7);
        q8_node *node = net_after(
            &net, cases[i].group > 1 ? &q8_op_convolutiondepthwise : &q8_op_convolution, in);
        q8_conv_attr *a = node->attr;
        a->num_output = cases[i].outputs;
        a->group = cases[i].group;
        a->kernel_w = a->kernel_h = cases[i].kernel;
        a->stride_w = a->stride_h = cases[i].stride;
        a->dilation_w = a->dilation_h = cases[i].dilation;
        a->pad_left = a->pad_right = a->pad_top = a->pad_bottom = cases[i].pad;
        a->pad_value = cases[i].pad_value;
        a->bias_term = 1;
        a->weight_data_size =
            cases[i].outputs * cases[i].inputs / cases[i].group * cases[i].kernel * cases[i].kernel;
        net_finish(&net, node);
        check_window(node, net.graph, (uint32_t)i + 11);
        net_close(&net);
    }
}

/* --- buffers ---------------------------------------------------------------------------------- */

static void buffers_come_back(void **state)
{
    (void)state;
    q8_buffers buffers = {0};
    char *a = q8_buffers_take(&buffers, 1000), *b = q8_buffers_take(&buffers, 1000);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    assert_int_equal((uintptr_t)a % 64, 0);
    memset(a, 1, 1000);
    memset(b, 2, 1000);
    q8_buffers_give(&buffers, a);
    q8_buffers_give(&buffers, NULL);
    assert_ptr_equal(q8_buffers_take(&buffers, 900), a); /* large enough */
    q8_buffers_give(&buffers, a);
    char *c = q8_buffers_take(&buffers, 100000); /* too large: what was given back is freed */
    assert_non_null(c);
    memset(c, 3, 100000);
    assert_int_equal(b[999], 2);
    q8_buffers_give(&buffers, b);
    q8_buffers_give(&buffers, c);
    q8_buffers_close(&buffers);
    q8_buffers_close(&buffers);
    assert_null(q8_buffers_take(&buffers, SIZE_MAX - 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_means_of_products),
        cmocka_unit_test(compensation_lowers_the_outputs_error),
        cmocka_unit_test(damping_keeps_weights_near),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(moments_of_nothing_change_nothing),
        cmocka_unit_test(windows_make_the_outputs),
        cmocka_unit_test(buffers_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
