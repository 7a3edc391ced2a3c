/* Windows of layers' inputs, and int8 layers tried on them: the same errors as those of the real
 * simulation, and choices that are no worse by them. */
#include <math.h>

#include "calib/threshold.h"
#include "ops/simple.h"
#include "passes/passes.h"
#include "quant/choose.h"
#include "quant/quant.h"
#include "quant/shift.h"
#include "test_exec_graph.h"
#include "verify/simulate.h"

enum { PICTURES = 8, SIZE = 12, CHANNELS = 16 };

/* A network with what its float form makes of one picture after the other. */
struct watched {
    q8_calibration cal;
    q8_windows windows;
    float *value[PICTURES][16]; /* by picture, by tensor */
    bool wanted[16];
    q8_windows_capture *capture;
    size_t picture;
};

static q8_code watch(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct watched *s = user;
    const size_t count = q8_shape_count(&view->shape);
    s->value[s->picture][tensor] = malloc(count * sizeof(float));
    q8_view_to_nchw(view, 0, s->value[s->picture][tensor]);
    if (!s->wanted[tensor])
        return Q8_OK;
    q8_stats_add(s->cal.stats[tensor], view);
    return s->capture ? q8_windows_observe(s->capture, s->picture, tensor, view, err) : Q8_OK;
}

static void make_picture(float *x, size_t n, size_t picture, float size)
{
    uint32_t seed = (uint32_t)picture * 77 + 5;
    for (size_t i = 0; i < n; i++)
        x[i] = size * random_float(&seed);
}

/* Runs `n` pictures, the last first if `backwards`. */
static void look(struct watched *s, const q8_graph *graph, q8_backend_kind backend, int n,
                 float size, bool backwards)
{
    q8_err err = {0};
    bool all[16];
    memset(s, 0, sizeof(*s));
    memset(all, 1, sizeof(all));
    q8_quant_wanted(graph, s->wanted);
    s->cal.n_tensors = graph->n_tensors;
    s->cal.stats = calloc(16, sizeof(*s->cal.stats));
    for (int t = 0; t < graph->n_tensors; t++)
        if (s->wanted[t]) {
            s->cal.stats[t] = calloc(1, sizeof(q8_stats));
            q8_stats_init(s->cal.stats[t], graph->tensor[t].shape.dim[0], &err);
        }
    assert_int_equal(q8_windows_open(&s->capture, graph, s->wanted, (size_t)n, &err), Q8_OK);
    const q8_exec_opts opts = {.backend = backend, .batch = 1, .wanted = all};
    q8_exec *exec;
    q8_run *run;
    assert_int_equal(q8_exec_open(&exec, graph, &opts, &err), Q8_OK);
    assert_int_equal(q8_run_open(&run, exec, &err), Q8_OK);
    for (int i = 0; i < n; i++) {
        s->picture = (size_t)(backwards ? n - 1 - i : i);
        make_picture(q8_run_input(run, 0, 0), 3 * SIZE * SIZE, s->picture, size);
        assert_int_equal(q8_run_forward(run, 1, watch, s, &err), Q8_OK);
    }
    q8_run_close(&run);
    q8_exec_close(&exec);
    q8_windows_take(s->capture, &s->windows);
    q8_windows_close(&s->capture);
}

static void forget(struct watched *s)
{
    for (int p = 0; p < PICTURES; p++)
        for (int t = 0; t < 16; t++)
            free(s->value[p][t]);
    q8_calibration_free(&s->cal);
    q8_windows_free(&s->windows);
}

/* Two 3x3 convolutions with ReLU; `spread`: the first one's channels differ in size. */
static struct net open_net(int *middle, bool spread)
{
    struct net net = net_open(3);
    q8_node *node =
        net_conv(&net, &q8_op_convolution, net_input(&net, 3, SIZE, SIZE), CHANNELS, 3, 1, 1, 1, 1);
    *node->op->activation(node) = (q8_activation){.type = Q8_ACT_RELU};
    *middle = net_finish(&net, node);
    for (size_t k = 0; spread && k < node->weight[0].count; k++)
        ((float *)node->weight[0].data)[k] *= exp2f(-(float)(k / 27 % 5));
    node = net_conv(&net, &q8_op_convolution, *middle, 8, 3, 1, 1, 1, 1);
    *node->op->activation(node) = (q8_activation){.type = Q8_ACT_RELU};
    net_output(&net, net_finish(&net, node));
    return net;
}

/* --- windows ---------------------------------------------------------------------------------- */

static void test_windows_do_not_depend_on_order_or_layout(void **unused)
{
    (void)unused;
    int middle;
    struct net net = open_net(&middle, false);
    struct watched a, b;
    look(&a, net.graph, Q8_BACKEND_PLAIN, PICTURES, 1, false);
    look(&b, net.graph, Q8_BACKEND_CPU, PICTURES, 1, true);
    for (int i = 0; i < net.graph->n_nodes; i++) {
        const q8_layer_windows *v = &a.windows.layer[i], *w = &b.windows.layer[i];
        assert_int_equal(v->rows, w->rows);
        assert_true((v->x != NULL) == (w->x != NULL));
        const size_t n = (size_t)v->groups * (size_t)v->columns * (size_t)v->stride;
        for (size_t k = 0; v->x && k < n; k++)
            assert_true(fabsf(v->x[k] - w->x[k]) <= 1e-5f);
    }
    forget(&a);
    forget(&b);
    net_close(&net);
}

static void test_windows_leave_out_what_is_not_finite(void **unused)
{
    (void)unused;
    int middle;
    struct net net = open_net(&middle, false);
    struct watched s;
    look(&s, net.graph, Q8_BACKEND_PLAIN, 2, 1, false);
    const int before = s.windows.layer[1].rows;
    forget(&s);
    look(&s, net.graph, Q8_BACKEND_PLAIN, 1, INFINITY, false);
    assert_int_equal(before, 2 * SIZE * SIZE);
    assert_null(s.windows.layer[1].x);
    forget(&s);
    net_close(&net);
}

static void test_windows_memory_is_bounded(void **unused)
{
    (void)unused;
    struct net net = net_open(4);
    q8_err err = {0};
    int t = net_input(&net, 2048, 4, 4);
    for (int i = 0; i < 3; i++)
        t = net_finish(&net,
                       net_conv(&net, &q8_op_convolutiondepthwise, t, 2048, 5, 1, 2, 1, 2048));
    net_output(&net, t);
    bool wanted[8];
    q8_quant_wanted(net.graph, wanted);
    q8_windows_capture *capture;
    q8_windows windows;
    assert_int_equal(q8_windows_open(&capture, net.graph, wanted, 1000000, &err), Q8_OK);
    q8_windows_take(capture, &windows); /* nothing was seen */
    for (int i = 0; i < windows.n_nodes; i++)
        assert_null(windows.layer[i].x);
    size_t bytes = 0;
    for (int i = 0; i < windows.n_nodes; i++)
        bytes += sizeof(float) * (size_t)windows.layer[i].groups *
                 (size_t)windows.layer[i].columns * (size_t)windows.layer[i].stride;
    assert_in_range(bytes, 1 << 20, Q8_WINDOWS_MEMORY);
    q8_windows_free(&windows);
    q8_windows_close(&capture);
    net_close(&net);
}

/* --- against the simulation ------------------------------------------------------------------- */

/* Squared error of the quantised graph's output over one picture, relative to its variance. */
static double simulate(struct net *net, const q8_graph *graph, const float *exact, float size)
{
    q8_err err = {0};
    q8_graph *simulation;
    struct watched s;
    assert_int_equal(q8_simulate_graph(&simulation, graph, net->arena, &err), Q8_OK);
    const int out = simulation->output[0];
    bool wanted[64] = {false};
    wanted[out] = true;
    memset(&s, 0, sizeof(s));
    const q8_exec_opts opts = {.backend = Q8_BACKEND_PLAIN, .batch = 1, .wanted = wanted};
    q8_exec *exec;
    q8_run *run;
    assert_int_equal(q8_exec_open(&exec, simulation, &opts, &err), Q8_OK);
    assert_int_equal(q8_run_open(&run, exec, &err), Q8_OK);
    make_picture(q8_run_input(run, 0, 0), 3 * SIZE * SIZE, 0, size);
    assert_int_equal(q8_run_forward(run, 1, watch, &s, &err), Q8_OK);
    double noise = 0, signal = 0;
    const size_t channels = (size_t)simulation->tensor[out].shape.dim[0], each = SIZE * SIZE;
    for (size_t c = 0; c < channels; c++) {
        double sum = 0;
        for (size_t i = c * each; i < (c + 1) * each; i++) {
            const double x = (double)exact[i], y = (double)s.value[0][out][i];
            noise += (y - x) * (y - x);
            signal += x * x;
            sum += x;
        }
        signal -= sum * sum / (double)each;
    }
    free(s.value[0][out]);
    q8_run_close(&run);
    q8_exec_close(&exec);
    return noise / signal;
}

/* The second layer's error with this threshold, by a trial and by running the int8 network. */
static void check_error(bool shifted, float part)
{
    int middle;
    struct net net = open_net(&middle, true);
    q8_err err = {0};
    struct watched s;
    look(&s, net.graph, Q8_BACKEND_PLAIN, 1, 1, false);
    const q8_quant_opts opts = {.no_bias_correction = true};
    q8_trials *trials;
    q8_trial trial;
    const int levels = shifted ? Q8_LEVELS_SHIFTED : Q8_LEVELS_SIGNED;
    float threshold[16] = {0};
    double error;
    threshold[middle] = s.cal.stats[middle]->max * part;
    assert_int_equal(q8_trials_open(&trials, net.graph, &s.windows, &opts, NULL, &err), Q8_OK);
    assert_int_equal(q8_trial_open(&trial, trials, 2, NULL, NULL, &err), Q8_OK);
    assert_int_equal(q8_trial_errors(&trial, &threshold[middle], 1, levels, NULL, &error, &err),
                     Q8_OK);

    q8_graph *graph = q8_graph_copy(net.graph, net.arena);
    graph->node[1]->float_reason = "a test";
    if (shifted) {
        q8_shift_plan plan;
        int chosen[16];
        assert_int_equal(q8_shift_choose(&plan, graph, &s.cal, trials, 2, chosen, &err), Q8_OK);
        assert_int_equal(plan.tensor[middle].sign, -1);
        assert_int_equal(q8_shift_graph(graph, &plan, threshold, 2, &err), Q8_OK);
    }
    float mean[CHANNELS];
    for (int c = 0; c < CHANNELS; c++)
        mean[c] = graph->tensor[middle].shift;
    const float *means[16] = {[0] = NULL};
    means[middle] = mean;
    assert_int_equal(q8_quantize_graph(graph, threshold, &opts, NULL, &err), Q8_OK);
    assert_non_null(graph->node[2]->quant);
    assert_int_equal(q8_correct_bias_graph(graph, means, NULL, &err), Q8_OK);
    const double real = simulate(&net, graph, s.value[0][net.graph->output[0]], 1);
    assert_true(error > 0 && fabs(error - real) <= 1e-3 * real);
    q8_trial_close(&trial);
    q8_trials_close(&trials);
    forget(&s);
    net_close(&net);
}

static void test_errors_are_those_of_the_simulation(void **unused)
{
    (void)unused;
    check_error(false, 1);
    check_error(false, 0.5f);
    check_error(true, 1);
    check_error(true, 0.7f);
}

/* --- choices ---------------------------------------------------------------------------------- */

static float choose(const struct net *net, const struct watched *s, const q8_trials *trials,
                    q8_method method, int tensor, int threads)
{
    float threshold[16] = {0};
    q8_err err = {0};
    const q8_env env = {.threads = threads};
    const q8_choice_of what = {.graph = net->graph,
                               .stats = (const q8_stats *const *)s->cal.stats,
                               .method = method,
                               .trials = trials};
    assert_int_equal(q8_choose_thresholds(threshold, &what, &env, &err), Q8_OK);
    return threshold[tensor];
}

static void test_auto_is_as_good_as_any_method(void **unused)
{
    (void)unused;
    int middle;
    struct net net = open_net(&middle, true);
    q8_err err = {0};
    struct watched s;
    look(&s, net.graph, Q8_BACKEND_PLAIN, PICTURES, 1, false);
    q8_trials *trials;
    q8_trial trial;
    assert_int_equal(
        q8_trials_open(&trials, net.graph, &s.windows, &(q8_quant_opts){0}, NULL, &err), Q8_OK);
    assert_int_equal(q8_trial_open(&trial, trials, 2, NULL, NULL, &err), Q8_OK);
    float threshold[Q8_METHOD_EQ + 1];
    double error[Q8_METHOD_EQ + 1];
    for (int m = 0; m <= Q8_METHOD_EQ; m++)
        threshold[m] = choose(&net, &s, trials, (q8_method)m, middle, 1);
    assert_true(choose(&net, &s, trials, Q8_METHOD_AUTO, middle, 3) == threshold[Q8_METHOD_AUTO]);
    assert_int_equal(
        q8_trial_errors(&trial, threshold, Q8_METHOD_EQ + 1, Q8_LEVELS_SIGNED, NULL, error, &err),
        Q8_OK);
    for (int m = 0; m <= Q8_METHOD_EQ; m++)
        assert_true(error[Q8_METHOD_AUTO] <= 1.125 * error[m]);
    q8_trial_close(&trial);
    q8_trials_close(&trials);
    forget(&s);
    net_close(&net);
}

static void test_auto_with_nothing_but_zeros(void **unused)
{
    (void)unused;
    int middle;
    struct net net = open_net(&middle, false);
    memset((float *)net.graph->node[1]->weight[1].data, 0, CHANNELS * sizeof(float));
    q8_err err = {0};
    struct watched s;
    look(&s, net.graph, Q8_BACKEND_PLAIN, 1, 0, false);
    q8_trials *trials;
    assert_int_equal(
        q8_trials_open(&trials, net.graph, &s.windows, &(q8_quant_opts){0}, NULL, &err), Q8_OK);
    assert_true(choose(&net, &s, trials, Q8_METHOD_AUTO, middle, 1) == 1);
    q8_trials_close(&trials);
    forget(&s);
    net_close(&net);
}

/* A small tensor that would have to share its shift with a much larger one. */
static void check_shared_shift(float size, int sign)
{
    struct net net = net_open(6);
    q8_err err = {0};
    const int in = net_input(&net, 3, SIZE, SIZE);
    int half[2];
    for (int i = 0; i < 2; i++) {
        q8_node *node = net_conv(&net, &q8_op_convolution, in, CHANNELS, 1, 1, 0, 1, 1);
        *node->op->activation(node) = (q8_activation){.type = Q8_ACT_RELU};
        half[i] = net_finish(&net, node);
        for (size_t k = 0; i == 0 && k < node->weight[0].count; k++)
            ((float *)node->weight[0].data)[k] *= size;
        for (size_t k = 0; i == 0 && k < node->weight[1].count; k++)
            ((float *)node->weight[1].data)[k] *= size;
    }
    const int all = net_finish(&net, net_node(&net, &q8_op_concat, 2, half, 1));
    net_output(&net,
               net_finish(&net, net_conv(&net, &q8_op_convolution, half[0], 8, 1, 1, 0, 1, 1)));
    net_output(&net, net_finish(&net, net_conv(&net, &q8_op_convolution, all, 8, 1, 1, 0, 1, 1)));
    struct watched s;
    look(&s, net.graph, Q8_BACKEND_PLAIN, PICTURES, 1, false);
    q8_trials *trials;
    q8_shift_plan plan;
    int levels[16];
    assert_int_equal(
        q8_trials_open(&trials, net.graph, &s.windows, &(q8_quant_opts){0}, NULL, &err), Q8_OK);
    assert_int_equal(q8_shift_choose(&plan, net.graph, &s.cal, trials, 2, levels, &err), Q8_OK);
    assert_int_equal(plan.tensor[half[0]].sign, sign);
    q8_trials_close(&trials);
    forget(&s);
    net_close(&net);
}

static void test_a_group_that_a_shift_hurts_is_left_alone(void **unused)
{
    (void)unused;
    check_shared_shift(1, 1);
    check_shared_shift(0.01f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_do_not_depend_on_order_or_layout),
        cmocka_unit_test(test_windows_leave_out_what_is_not_finite),
        cmocka_unit_test(test_windows_memory_is_bounded),
        cmocka_unit_test(test_errors_are_those_of_the_simulation),
        cmocka_unit_test(test_auto_is_as_good_as_any_method),
        cmocka_unit_test(test_auto_with_nothing_but_zeros),
        cmocka_unit_test(test_a_group_that_a_shift_hurts_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
