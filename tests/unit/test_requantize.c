/* Which layers hand codes to the next ones. */
#include "test_exec_graph.h"

#include "quant/quant.h"
#include "quant/requantize.h"

/* An int8 layer behind `in`; `bottom_scale` 0: it stays float. */
static q8_node *add(struct net *net, const q8_op *op, int in, int outputs, int group,
                    float bottom_scale)
{
    q8_node *node = net_conv(net, op, in, outputs, 3, 1, 1, 1, group);
    net_finish(net, node);
    if (bottom_scale > 0) {
        q8_quant *quant = q8_arena_alloc(net->arena, sizeof(*quant));
        float *scale = q8_arena_alloc(net->arena, sizeof(*scale));
        *scale = 50;
        *quant = (q8_quant){.weight = q8_arena_array(net->arena, node->weight[0].count, 1),
                            .weight_scales = scale,
                            .n_weight_scales = 1,
                            .bottom_scale = bottom_scale};
        node->quant = quant;
        node->op->set_int8(node);
    }
    return node;
}

static int term(const q8_node *node)
{
    return ((const q8_conv_attr *)node->attr)->int8_scale_term;
}

static void requantize(const struct net *net)
{
    q8_err err = {0};
    assert_int_equal(q8_requantize_graph(net->graph, &err), Q8_OK);
}

static void test_chain(void **state)
{
    (void)state;
    struct net net = net_open(1);
    q8_node *a = add(&net, &q8_op_convolution, net_input(&net, 8, 6, 6), 8, 1, 10);
    q8_node *b = add(&net, &q8_op_convolutiondepthwise, a->out[0], 8, 8, 20);
    q8_node *c = add(&net, &q8_op_convolution, b->out[0], 8, 1, 30);
    net_output(&net, c->out[0]);
    const q8_quant *before = a->quant;
    requantize(&net);
    assert_true(a->quant->top_scale == 20 && b->quant->top_scale == 30 && c->quant->top_scale == 0);
    assert_int_equal(term(a), 102);
    assert_int_equal(term(b), 102);
    assert_int_equal(term(c), 2);
    assert_true(before->top_scale == 0); /* shared with others: never written through */
    net_close(&net);
}

/* One reader of several that takes no codes, or others, keeps the tensor in float. */
static void test_readers(void **state)
{
    (void)state;
    static const struct {
        float first, second; /* bottom scales */
        bool pool, output;
        float top;
    } cases[] = {
        {20, 20, false, false, 20}, {20, 21, false, false, 0}, {20, 0, false, false, 0},
        {20, 20, true, false, 0},   {20, 20, false, true, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net net = net_open(2);
        q8_node *a = add(&net, &q8_op_convolution, net_input(&net, 8, 6, 6), 8, 1, 10);
        q8_node *b = add(&net, &q8_op_convolution, a->out[0], 8, 1, cases[i].first);
        q8_node *c = add(&net, &q8_op_convolution, a->out[0], 8, 1, cases[i].second);
        net_output(&net, b->out[0]);
        net_output(&net, c->out[0]);
        if (cases[i].pool)
            net_output(&net, net_finish(&net, net_after(&net, &q8_op_relu, a->out[0])));
        if (cases[i].output)
            net_output(&net, a->out[0]);
        requantize(&net);
        assert_true(a->quant->top_scale == cases[i].top);
        net_close(&net);
    }
}

/* Groups that are not depthwise neither make nor take codes, and InnerProduct is no convolution. */
static void test_groups(void **state)
{
    (void)state;
    struct net net = net_open(3);
    q8_node *a = add(&net, &q8_op_convolution, net_input(&net, 8, 6, 6), 8, 1, 10);
    q8_node *b = add(&net, &q8_op_convolutiondepthwise, a->out[0], 8, 2, 20);
    q8_node *c = add(&net, &q8_op_convolution, b->out[0], 8, 1, 30);
    net_output(&net, c->out[0]);
    requantize(&net);
    assert_true(a->quant->top_scale == 0 && b->quant->top_scale == 0);
    net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
