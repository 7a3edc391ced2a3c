/* Comparing an int8 network with the float one: sums, labels, and the pair of networks. */
#include "test_exec_graph.h"

#include <float.h>
#include <math.h>
#include <unistd.h>

#include "ops/int8.h"
#include "passes/passes.h"
#include "quant/quant.h"
#include "verify/exact_sum.h"
#include "verify/labels.h"
#include "verify/outputs.h"
#include "verify/pair.h"
#include "verify/simulate.h"

/* --- sums ------------------------------------------------------------------------------------- */

static void test_exact_sum(void **state)
{
    (void)state;
    static const double values[] = {1e300,  1,      -1e300, 1e-300, 3,    -1e-300,
                                    5e-324, 1e-310, 0.1,    -4,     1e17, -1e17};
    enum { N = sizeof(values) / sizeof(values[0]) };
    q8_exact_sum forwards = {0}, backwards = {0}, half = {0};
    for (int i = 0; i < N; i++) {
        q8_exact_sum_add(i < N / 2 ? &forwards : &half, values[i]);
        q8_exact_sum_add(&backwards, values[N - 1 - i]);
    }
    q8_exact_sum_merge(&forwards, &half);
    assert_true(q8_exact_sum_value(&forwards) == 0.1);
    assert_memory_equal(&forwards, &backwards, sizeof(forwards));
    q8_exact_sum_add(&backwards, -0.25);
    assert_true(q8_exact_sum_value(&backwards) == 0.1 - 0.25);
    q8_exact_sum one = {0};
    q8_exact_sum_add(&one, 5e-324);
    assert_true(q8_exact_sum_value(&one) == 5e-324);
    q8_exact_sum_add(&one, (double)INFINITY);
    assert_true(isnan(q8_exact_sum_value(&one)));
}

/* --- labels ----------------------------------------------------------------------------------- */

static q8_code read_labels(q8_labels **labels, const char *text, q8_err *err)
{
    char path[] = "/tmp/q8-labels-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    memset(err, 0, sizeof(*err));
    const q8_code code = q8_labels_read(labels, path, err);
    unlink(path);
    return code;
}

static void test_labels(void **state)
{
    (void)state;
    q8_err err;
    q8_labels *labels;
    const char *text = "# classes\n\na.jpg 3\r\nb/a.jpg\t4 \nwith blanks.png   17\n/full/c.png 0";
    assert_int_equal(read_labels(&labels, text, &err), Q8_OK);
    assert_int_equal(q8_labels_find(labels, "a.jpg"), 3);
    assert_int_equal(q8_labels_find(labels, "x/y/a.jpg"), 3);
    assert_int_equal(q8_labels_find(labels, "x/b/a.jpg"), 4);
    assert_int_equal(q8_labels_find(labels, "xa.jpg"), -1);
    assert_int_equal(q8_labels_find(labels, "/p/with blanks.png"), 17);
    assert_int_equal(q8_labels_find(labels, "/full/c.png"), 0);
    assert_int_equal(q8_labels_find(labels, "/other/c.png"), -1);
    q8_labels_close(&labels);
    static const char *const bad[] = {"",       "# none\n", "a.jpg\n", "a.jpg x\n",
                                      "a -1\n", "7\n",      "a 1.5\n", "a 99999999999\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_labels(&labels, bad[i], &err), Q8_EFORMAT);
        assert_null(labels);
    }
}

/* --- outputs ---------------------------------------------------------------------------------- */

static void test_output(void **state)
{
    (void)state;
    /* Two pixels of three classes, planes apart. */
    const q8_output_form form = {
        .shape = {3, {3, 1, 2}}, .classes = 3, .stride = 2, .rows = 2, .distribution = true};
    const float p[] = {0.7f, 0.2f, 0.2f, 0.3f, 0.1f, 0.5f};
    float q[] = {0.6f, 0.2f, 0.3f, 0.5f, 0.1f, 0.3f};
    q8_output_sums sums = {0};
    q8_output_add(&sums, &form, p, q);
    const double kl =
        0.7 * log(0.7 / 0.6) + 0.2 * log(0.2 / 0.3) + 0.3 * log(0.3 / 0.5) + 0.5 * log(0.5 / 0.3);
    assert_true(fabs(q8_exact_sum_value(&sums.kl) - kl) < 1e-6);
    assert_int_equal(sums.rows, 2);
    assert_int_equal(sums.agreed, 1);
    assert_true(fabs(q8_exact_sum_value(&sums.noise) - 0.1) < 1e-6);
    assert_true(q8_cosine(0, 0, 0) == 1 && q8_cosine(0, 0, 2) == 0);
}

/* --- the pair --------------------------------------------------------------------------------- */

/* input - conv+ReLU - conv+ReLU - conv: ids of the tensors between. */
struct chain {
    struct net net;
    int in, first, second, last;
};

static struct chain make_chain(uint32_t seed)
{
    struct chain c = {.net = net_open(seed)};
    c.in = net_input(&c.net, 3, 12, 12);
    int tensor = c.in;
    for (int i = 0; i < 3; i++) {
        q8_node *node =
            net_conv(&c.net, &q8_op_convolution, tensor, 12, 3 - 2 * (i == 1), 1, i != 1, 1, 1);
        if (i < 2)
            ((q8_conv_attr *)node->attr)->activation = (q8_activation){.type = Q8_ACT_RELU};
        tensor = net_finish(&c.net, node);
        *(i == 0 ? &c.first : i == 1 ? &c.second : &c.last) = tensor;
    }
    net_output(&c.net, tensor);
    return c;
}

static const q8_node *maker(const q8_graph *graph, int tensor)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->node[i]->out[0] == tensor)
            return graph->node[i];
    return NULL;
}

static float *weight_copy(const struct chain *c, q8_node *node, int which)
{
    const q8_weight old = node->weight[which];
    float *copy = q8_arena_array(c->net.arena, old.count, sizeof(*copy));
    memcpy(copy, old.data, old.count * sizeof(*copy));
    node->weight[which].data = copy;
    return copy;
}

/* Rewrites the tensor between the first two convolutions to factor[c] * x + shift by hand. */
static void rewrite(const struct chain *c, q8_graph *graph, const float *factor, float shift)
{
    static const float bounds[2][2] = {{0, FLT_MAX}, {-FLT_MAX, 0}};
    q8_node *first = (q8_node *)(uintptr_t)maker(graph, c->first);
    q8_node *second = (q8_node *)(uintptr_t)maker(graph, c->second);
    const bool negative = factor[0] < 0;
    float *bound = q8_arena_array(c->net.arena, 2, sizeof(*bound));
    for (int i = 0; i < 2; i++)
        bound[i] = bounds[negative][i] == 0 ? shift : bounds[negative][i];
    ((q8_conv_attr *)first->attr)->activation = (q8_activation){Q8_ACT_CLIP, {2, bound}};
    float *w = weight_copy(c, first, 0), *b = weight_copy(c, first, 1);
    for (int o = 0; o < 12; o++) {
        for (int i = 0; i < 27; i++)
            w[o * 27 + i] *= factor[o];
        b[o] = b[o] * factor[o] + shift;
    }
    w = weight_copy(c, second, 0);
    b = weight_copy(c, second, 1);
    for (int o = 0; o < 12; o++)
        for (int i = 0; i < 12; i++) {
            w[o * 12 + i] /= factor[i];
            b[o] -= w[o * 12 + i] * shift;
        }
    graph->tensor[c->first].factor = factor;
    graph->tensor[c->first].shift = shift;
}

static void quantize(const struct chain *c, q8_graph *graph, float range)
{
    float *threshold = q8_arena_array(c->net.arena, (size_t)graph->n_tensors + 1, sizeof(float));
    threshold[c->in] = 2;
    threshold[c->first] = range;
    threshold[c->second] = 40;
    q8_err err = {0};
    assert_int_equal(q8_quantize_graph(graph, threshold, &(q8_quant_opts){0}, NULL, &err), Q8_OK);
}

struct figures {
    double v[3][Q8_COMPARE_SUMS];
    double beyond[3];
};

static struct figures measure(const struct chain *c, const q8_graph *int8, q8_backend_kind backend)
{
    q8_pair pair;
    q8_err err = {0};
    struct figures f;
    if (q8_pair_make(&pair, c->net.graph, int8, true, c->net.arena, &err))
        fail_msg("%s", err.text);
    assert_int_equal(pair.n_layers, 3);
    bool *wanted = q8_arena_array(c->net.arena, (size_t)pair.graph->n_tensors + 1, sizeof(bool));
    for (int i = 0; i < 3; i++) {
        wanted[pair.layer[i].compare] = true;
        if (pair.layer[i].beyond >= 0)
            wanted[pair.layer[i].beyond] = true;
    }
    wanted[pair.graph->output[0]] = wanted[pair.simulated[0]] = true;
    q8_exec *exec = open_exec(pair.graph, backend, 1, wanted);
    struct seen seen = forward(pair.graph, exec, 1, 3);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < Q8_COMPARE_SUMS; k++)
            f.v[i][k] = q8_compare_value(seen.data[pair.layer[i].compare], k);
        f.beyond[i] = pair.layer[i].beyond >= 0 ? (double)seen.data[pair.layer[i].beyond][0] : -1;
    }
    /* The last Compare is of the outputs. */
    double noise = 0;
    const float *a = seen.data[pair.graph->output[0]], *b = seen.data[pair.simulated[0]];
    for (size_t i = 0; i < seen.count[pair.graph->output[0]]; i++)
        noise += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    assert_true(fabs(noise - f.v[2][Q8_COMPARE_NOISE]) <= 1e-5 * noise);
    seen_close(&seen);
    q8_exec_close(&exec);
    return f;
}

static double sqnr(const double *v, int noise)
{
    return 10 * log10(v[Q8_COMPARE_SIGNAL] / v[noise]);
}

static void test_pair(void **state)
{
    (void)state;
    struct chain c = make_chain(7);
    q8_graph *int8 = q8_graph_copy(c.net.graph, c.net.arena);
    quantize(&c, int8, 12);
    const struct figures plain = measure(&c, int8, Q8_BACKEND_PLAIN);
    const struct figures cpu = measure(&c, int8, Q8_BACKEND_CPU);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < Q8_COMPARE_SUMS; k++)
            assert_true(fabs(plain.v[i][k] - cpu.v[i][k]) <= 2e-3 * fabs(plain.v[i][k]));
        assert_true(plain.beyond[i] == cpu.beyond[i]);
        assert_true(sqnr(cpu.v[i], Q8_COMPARE_NOISE) > 25);
        assert_true(sqnr(cpu.v[i], Q8_COMPARE_ALONE) > 25);
    }
    /* The first layer has nothing before it: alone it is as in the network. */
    for (int k = 0; k < 3; k++)
        assert_true(cpu.v[0][Q8_COMPARE_NOISE + k] == cpu.v[0][Q8_COMPARE_ALONE + k]);
    assert_true(cpu.v[2][Q8_COMPARE_ALONE] < cpu.v[2][Q8_COMPARE_NOISE]);
    net_close(&c.net);
}

/* Without layers nothing but the two outputs is computed, and these are the same. */
static void test_outputs_only(void **state)
{
    (void)state;
    struct chain c = make_chain(7);
    q8_graph *int8 = q8_graph_copy(c.net.graph, c.net.arena);
    quantize(&c, int8, 12);
    struct seen seen[2];
    q8_pair pair[2];
    for (int layers = 0; layers < 2; layers++) {
        q8_err err = {0};
        q8_pair *p = &pair[layers];
        assert_int_equal(q8_pair_make(p, c.net.graph, int8, layers, c.net.arena, &err), Q8_OK);
        bool *wanted = q8_arena_array(c.net.arena, (size_t)p->graph->n_tensors + 1, sizeof(bool));
        wanted[p->simulated[0]] = true;
        q8_exec *exec = open_exec(p->graph, Q8_BACKEND_CPU, 1, wanted);
        seen[layers] = forward(p->graph, exec, 1, 3);
        q8_exec_close(&exec);
    }
    for (int i = 0; i < 3; i++)
        assert_true(pair[0].layer[i].compare == -1 && pair[0].layer[i].beyond == -1);
    assert_true(pair[0].graph->n_nodes < pair[1].graph->n_nodes);
    assert_memory_equal(seen[0].data[pair[0].simulated[0]], seen[1].data[pair[1].simulated[0]],
                        seen[0].count[pair[0].simulated[0]] * sizeof(float));
    seen_close(&seen[0]);
    seen_close(&seen[1]);
    net_close(&c.net);
}

/* Two readers of a tensor with scales of their own: the pair computes what the simulation does. */
static void test_same_as_simulation(void **state)
{
    (void)state;
    struct net net = net_open(13);
    const int in = net_input(&net, 3, 10, 10);
    q8_node *reader[2];
    for (int i = 0; i < 2; i++) {
        reader[i] = net_conv(&net, &q8_op_convolution, in, 8, 3, 1, 1, 1, 1);
        net_output(&net, net_finish(&net, reader[i]));
    }
    q8_err err = {0};
    q8_graph *int8 = q8_graph_copy(net.graph, net.arena), *simulation;
    float *threshold = q8_arena_array(net.arena, (size_t)int8->n_tensors + 1, sizeof(float));
    threshold[in] = 2;
    assert_int_equal(q8_quantize_graph(int8, threshold, &(q8_quant_opts){0}, NULL, &err), Q8_OK);
    ((q8_quant *)(uintptr_t)int8->node[2]->quant)->bottom_scale = 10;
    q8_pair pair;
    assert_int_equal(q8_pair_make(&pair, net.graph, int8, true, net.arena, &err), Q8_OK);
    assert_int_equal(q8_simulate_graph(&simulation, int8, net.arena, &err), Q8_OK);
    bool *wanted = q8_arena_array(net.arena, (size_t)pair.graph->n_tensors + 1, sizeof(bool));
    wanted[pair.simulated[0]] = wanted[pair.simulated[1]] = true;
    q8_exec *both = open_exec(pair.graph, Q8_BACKEND_CPU, 1, wanted);
    q8_exec *alone = open_exec(simulation, Q8_BACKEND_CPU, 1, NULL);
    struct seen a = forward(pair.graph, both, 1, 8), b = forward(simulation, alone, 1, 8);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(a.data[pair.simulated[i]], b.data[simulation->output[i]],
                            b.count[simulation->output[i]] * sizeof(float));
    seen_close(&a);
    seen_close(&b);
    q8_exec_close(&both);
    q8_exec_close(&alone);
    net_close(&net);
}

/* Factors, negative ones too, and shifts are taken back before anything is compared. */
static void test_rewritten(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        struct chain c = make_chain(7);
        float factor[12];
        for (int i = 0; i < 12; i++)
            factor[i] = (float)sign * (0.7f + 0.05f * (float)i);
        q8_graph *int8 = q8_graph_copy(c.net.graph, c.net.arena);
        rewrite(&c, int8, factor, (float)-sign * 6);
        quantize(&c, int8, 6.5f);
        const struct figures f = measure(&c, int8, Q8_BACKEND_CPU);
        for (int i = 0; i < 3; i++) {
            assert_true(sqnr(f.v[i], Q8_COMPARE_NOISE) > 22);
            assert_true(sqnr(f.v[i], Q8_COMPARE_ALONE) > 22);
        }
        net_close(&c.net);
    }
}

/* The float network may have nodes and tensors that the int8 one has not (groups that were split).
 */
static void test_more_float_tensors(void **state)
{
    (void)state;
    struct chain c = make_chain(7);
    q8_graph *int8 = q8_graph_copy(c.net.graph, c.net.arena);
    quantize(&c, int8, 12);
    const struct figures before = measure(&c, int8, Q8_BACKEND_CPU);
    for (int i = 0; i < 200; i++)
        net_finish(&c.net, net_after(&c.net, &q8_op_relu, c.first));
    const struct figures after = measure(&c, int8, Q8_BACKEND_CPU);
    assert_memory_equal(&before, &after, sizeof(before));
    net_close(&c.net);
}

/* A threshold that cuts much off is seen where it is, and a layer left in float has no figure. */
static void test_saturation(void **state)
{
    (void)state;
    struct chain c = make_chain(9);
    q8_graph *int8 = q8_graph_copy(c.net.graph, c.net.arena);
    float *threshold = q8_arena_array(c.net.arena, (size_t)int8->n_tensors + 1, sizeof(float));
    threshold[c.in] = 0.5f; /* of -2..2: three quarters are beyond */
    threshold[c.first] = 30;
    q8_err err = {0};
    assert_int_equal(q8_quantize_graph(int8, threshold, &(q8_quant_opts){0}, NULL, &err), Q8_OK);
    const struct figures f = measure(&c, int8, Q8_BACKEND_CPU);
    assert_in_range((int)f.beyond[0], 432 * 7 / 10, 432 * 8 / 10);
    assert_true(f.beyond[1] == 0);
    assert_true(f.beyond[2] == -1);
    assert_true(sqnr(f.v[0], Q8_COMPARE_ALONE) < 10);
    assert_true(sqnr(f.v[1], Q8_COMPARE_ALONE) > 25);
    assert_true(sqnr(f.v[1], Q8_COMPARE_NOISE) < 15);
    net_close(&c.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_sum),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_saturation),
        cmocka_unit_test(test_same_as_simulation),
        cmocka_unit_test(test_outputs_only),
        cmocka_unit_test(test_more_float_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
