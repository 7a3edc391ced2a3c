/* Grouped convolutions cut into one Convolution per group: the same network to the bit. */
#include "test_exec_graph.h"

#include "ops/slice.h"
#include "passes/passes.h"

static const q8_op *const ops_of_grouped[] = {
    &q8_op_input,       &q8_op_slice,  &q8_op_convolution, &q8_op_convolution,
    &q8_op_convolution, &q8_op_concat, &q8_op_relu,
};

static struct seen run(const q8_graph *graph, q8_backend_kind backend)
{
    q8_exec *exec = open_exec(graph, backend, 1, NULL);
    struct seen seen = forward(graph, exec, 1, 7);
    q8_exec_close(&exec);
    return seen;
}

static void set_activation(struct net *net, q8_node *node, q8_act_type type, float parameter)
{
    float *params = q8_arena_array(net->arena, 1, sizeof(*params));
    assert_non_null(params);
    params[0] = parameter;
    ((q8_conv_attr *)node->attr)->activation = (q8_activation){type, {1, params}};
}

static int n_grouped(const q8_graph *graph)
{
    int n = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        n += graph->node[i]->op == &q8_op_convolutiondepthwise;
    return n;
}

static void check_same(const q8_graph *before, const q8_graph *after, int tensor)
{
    for (q8_backend_kind backend = Q8_BACKEND_PLAIN; backend <= Q8_BACKEND_CPU; backend++) {
        struct seen want = run(before, backend), got = run(after, backend);
        assert_int_equal(want.count[tensor], got.count[tensor]);
        assert_true(nmse(want.data[tensor], got.data[tensor], want.count[tensor]) <=
                    (backend == Q8_BACKEND_PLAIN ? 0 : 1e-12));
        seen_close(&want);
        seen_close(&got);
    }
}

static void grouped(void **state)
{
    (void)state;
    struct net net = net_open(1);
    q8_err err = {0};
    const int in = net_input(&net, 15, 55, 57);
    q8_node *conv = net_conv(&net, &q8_op_convolutiondepthwise, in, 24, 3, 2, 1, 1, 3);
    set_activation(&net, conv, Q8_ACT_LEAKY, 0.25f);
    const int out = net_finish(&net, conv);
    const int relu = net_finish(&net, net_after(&net, &q8_op_relu, out));
    net_output(&net, out);
    net_output(&net, relu);
    q8_graph *copy = q8_graph_copy(net.graph, net.arena);
    assert_non_null(copy);
    assert_int_equal(q8_pass_split_groups(copy, &err), Q8_OK);
    assert_int_equal(copy->n_nodes, sizeof(ops_of_grouped) / sizeof(ops_of_grouped[0]));
    for (int i = 0; i < copy->n_nodes; i++)
        assert_ptr_equal(copy->node[i]->op, ops_of_grouped[i]);
    assert_int_equal(copy->node[5]->out[0], out);
    assert_string_equal(copy->node[5]->name, conv->name);
    assert_string_equal(copy->tensor[out].name, net.graph->tensor[out].name);
    check_same(net.graph, copy, out);
    check_same(net.graph, copy, relu);
    net_close(&net);
}

static void without_bias_after_each_other(void **state)
{
    (void)state;
    struct net net = net_open(2);
    q8_err err = {0};
    const int in = net_input(&net, 16, 64, 64);
    q8_node *first = net_conv(&net, &q8_op_convolutiondepthwise, in, 32, 3, 1, 1, 1, 2);
    ((q8_conv_attr *)first->attr)->bias_term = 0;
    const int middle = net_finish(&net, first);
    const int out =
        net_finish(&net, net_conv(&net, &q8_op_convolutiondepthwise, middle, 32, 1, 1, 0, 1, 4));
    net_output(&net, out);
    q8_graph *copy = q8_graph_copy(net.graph, net.arena);
    assert_non_null(copy);
    assert_int_equal(q8_pass_split_groups(copy, &err), Q8_OK);
    assert_int_equal(n_grouped(copy), 0);
    check_same(net.graph, copy, out);
    net_close(&net);
}

/* What ncnn computes rightly stays as it is, and what is too little for a layer of its own. */
static void others_stay(void **state)
{
    (void)state;
    static const struct {
        int inputs, outputs, group, size;
    } cases[] = {
        {16, 16, 16, 200}, {16, 12, 4, 200}, {16, 20, 2, 200}, {8, 8, 1, 200}, {16, 16, 2, 21}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net net = net_open(3);
        q8_err err = {0};
        const int in = net_input(&net, cases[i].inputs, cases[i].size, cases[i].size);
        net_output(&net, net_finish(&net, net_conv(&net, &q8_op_convolutiondepthwise, in,
                                                   cases[i].outputs, 3, 1, 1, 1, cases[i].group)));
        assert_int_equal(q8_pass_split_groups(net.graph, &err), Q8_OK);
        assert_int_equal(net.graph->n_nodes, 2);
        net_close(&net);
    }
}

/* A tensor of the user's may have the name a new one would get. */
static void names_stay_apart(void **state)
{
    (void)state;
    struct net net = net_open(4);
    q8_err err = {0};
    const int in = net_input(&net, 16, 22, 22);
    q8_node *conv = net_conv(&net, &q8_op_convolutiondepthwise, in, 16, 3, 1, 1, 1, 2);
    net.graph->tensor[in].name = q8_arena_printf(net.arena, "%s_slice1", conv->name);
    const int middle = net_finish(&net, conv);
    q8_node *namesake = net_conv(&net, &q8_op_convolutiondepthwise, middle, 16, 3, 1, 1, 1, 2);
    namesake->name = conv->name;
    net_output(&net, net_finish(&net, namesake));
    assert_int_equal(q8_pass_split_groups(net.graph, &err), Q8_OK);
    assert_int_equal(n_grouped(net.graph), 0);
    for (int a = 0; a < net.graph->n_tensors; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(net.graph->tensor[a].name, net.graph->tensor[b].name);
    net_close(&net);
}

/* More of them than the limit: the layer with which there would be stays as it is. */
static void no_more_than_the_limit(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct net net = net_open(5);
        q8_err err = {0};
        const int half = Q8_MAX_SPLIT_GROUPS / 2, in = net_input(&net, 2 * half, 128, 128);
        const int middle = net_finish(
            &net, net_conv(&net, &q8_op_convolutiondepthwise, in, 8 * half, 1, 1, 0, 1, half));
        const int groups = more ? half * 2 : half;
        net_output(&net, net_finish(&net, net_conv(&net, &q8_op_convolutiondepthwise, middle,
                                                   8 * groups, 1, 1, 0, 1, groups)));
        assert_int_equal(q8_pass_split_groups(net.graph, &err), Q8_OK);
        assert_int_equal(n_grouped(net.graph), more);
        net_close(&net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grouped),          cmocka_unit_test(without_bias_after_each_other),
        cmocka_unit_test(others_stay),      cmocka_unit_test(no_more_than_the_limit),
        cmocka_unit_test(names_stay_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
