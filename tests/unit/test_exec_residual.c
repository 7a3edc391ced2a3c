/* The end of a residual block inside its convolution: only where nobody misses what is overwritten,
 * and with the results of one node after the other. */
#include "ops/simple.h"
#include "ops/unary.h"
#include "test_exec_memory.h"

static int add_conv(struct net *net, int in, int outputs, int kernel)
{
    return net_finish(net,
                      net_conv(net, &q8_op_convolution, in, outputs, kernel, 1, kernel / 2, 1, 1));
}

static int add_relu(struct net *net, int in)
{
    return net_finish(net, net_after(net, &q8_op_relu, in));
}

static int add_sum(struct net *net, int a, int b)
{
    const int in[] = {a, b};
    q8_node *node = net_node(net, &q8_op_eltwise, 2, in, 1);
    ((q8_eltwise_attr *)node->attr)->type = Q8_ELTWISE_SUM;
    return net_finish(net, node);
}

static int count_added(const q8_exec *exec)
{
    int n = 0;
    for (int i = 0; i < exec->n_steps; i++)
        n += exec->step[i].kernel->adds;
    return n;
}

/* --- results ---------------------------------------------------------------------------------- */

/* The shortcut is the block's input, or a convolution of it made before or after the rest. */
static int add_block(struct net *net, int in, int channels)
{
    uint32_t *seed = &net->seed;
    const int kind = random_int(seed, 0, 2), inner = random_int(seed, 0, 1) ? 3 : 1;
    const bool same = net->graph->tensor[in].shape.dim[0] == channels && kind == 0;
    const int before = !same && kind < 2 ? add_conv(net, in, channels, 1) : in;
    const int middle = add_relu(net, add_conv(net, in, 20, inner));
    const int own = add_conv(net, middle, channels, random_int(seed, 0, 1) ? 3 : 1);
    const int other = !same && kind == 2 ? add_conv(net, in, channels, 1) : before;
    const int sum = random_int(seed, 0, 1) ? add_sum(net, own, other) : add_sum(net, other, own);
    return random_int(seed, 0, 3) ? add_relu(net, sum) : sum;
}

/* @return how many additions were done by convolutions */
static int compare(struct net *net, q8_backend_kind kind, int batch, int from, const bool *wanted,
                   double limit)
{
    q8_exec *plain = open_exec(net->graph, Q8_BACKEND_PLAIN, batch, wanted);
    q8_exec *fast = open_exec_from(net->graph, kind, batch, from, wanted);
    check_memory(fast);
    struct seen right = forward(net->graph, plain, batch, net->seed);
    struct seen got = forward(net->graph, fast, batch, net->seed);
    const int added = count_added(fast);
    assert_int_equal(right.n_shown, got.n_shown);
    for (int t = 0; t < right.n_tensors; t++) {
        assert_int_equal(right.count[t], got.count[t]);
        const double error = nmse(right.data[t], got.data[t], right.count[t]);
        if (!(error <= limit))
            fail_msg("%s, batch %d from %d: error %g", net->graph->tensor[t].name, batch, from,
                     error);
    }
    seen_close(&right);
    seen_close(&got);
    q8_exec_close(&plain);
    q8_exec_close(&fast);
    return added;
}

static bool adds_here(void)
{
    struct net net = net_open(1);
    const int in = add_conv(&net, net_input(&net, 3, 8, 8), 32, 3);
    net_output(&net, add_sum(&net, add_conv(&net, add_conv(&net, in, 32, 1), 32, 3), in));
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_CPU, 1, NULL);
    const bool adds = count_added(exec) == 1;
    q8_exec_close(&exec);
    net_close(&net);
    return adds;
}

static void networks_of_blocks(void **state)
{
    (void)state;
    static const int channels[] = {5, 16, 32, 40, 64};
    int added = 0, added_in_bf16 = 0;
    for (uint32_t round = 0; round < 60; round++) {
        struct net net = net_open(round);
        const int size = round % 2 ? 12 : 7, batch = 1 + (int)(round % 3);
        int t = net_input(&net, 3, size, size);
        t = add_conv(&net, t, channels[random_int(&net.seed, 0, 4)], 3);
        for (int i = 0; i < 4; i++)
            t = add_block(&net, t, channels[random_int(&net.seed, 0, 4)]);
        net_output(&net, t);
        /* What calibration looks at: what convolutions read. */
        bool *wanted = calloc((size_t)net.graph->n_tensors, sizeof(*wanted));
        for (int i = 0; i < net.graph->n_nodes; i++)
            if (net.graph->node[i]->op == &q8_op_convolution)
                wanted[net.graph->node[i]->in[0]] = true;
        const int from = random_int(&net.seed, 0, net.graph->n_nodes);
        added += compare(&net, Q8_BACKEND_CPU, batch, from, wanted, 1e-9);
        added += compare(&net, Q8_BACKEND_CPU, batch, from, NULL, 1e-9);
        added_in_bf16 += compare(&net, Q8_BACKEND_CPU_BF16, batch, from, wanted, 1e-3);
        free(wanted);
        net_close(&net);
    }
    assert_true(!adds_here() || (added > 100 && added_in_bf16 > 50));
}

/* --- where it may be done --------------------------------------------------------------------- */

/* Node 0 is the input, 1 a convolution whose output is the shortcut, 2 and 3 two more. */
struct block {
    struct net net;
    int input, shortcut, own;
};

static struct block block_open(void)
{
    struct block b = {.net = net_open(7)};
    b.input = net_input(&b.net, 32, 8, 8);
    b.shortcut = add_conv(&b.net, b.input, 32, 3);
    b.own = add_conv(&b.net, add_conv(&b.net, b.shortcut, 32, 1), 32, 3);
    return b;
}

/* With `output` as the network's, and `wanted` too if it is a tensor. */
static void check(struct block *b, int output, int wanted, int from, int added)
{
    bool *all = calloc((size_t)b->net.graph->n_tensors, sizeof(*all));
    net_output(&b->net, output);
    all[output] = true;
    if (wanted >= 0)
        all[wanted] = true;
    const int got = compare(&b->net, Q8_BACKEND_CPU, 2, from, all, 1e-9);
    if (adds_here())
        assert_int_equal(got, added);
    free(all);
    net_close(&b->net);
}

static void at_the_end_of_a_block(void **state)
{
    (void)state;
    struct block b = block_open();
    check(&b, add_sum(&b.net, b.own, b.shortcut), -1, 0, 1);
    b = block_open();
    check(&b, add_relu(&b.net, add_sum(&b.net, b.shortcut, b.own)), -1, 0, 1);
    b = block_open(); /* the shortcut is shown before it is overwritten */
    check(&b, add_relu(&b.net, add_sum(&b.net, b.own, b.shortcut)), b.shortcut, 0, 1);
    b = block_open(); /* the sum itself is looked at, so the activation is on its own */
    const int sum = add_sum(&b.net, b.own, b.shortcut);
    check(&b, add_relu(&b.net, sum), sum, 0, 1);
}

static void not_over_what_is_needed(void **state)
{
    (void)state;
    struct block b = block_open(); /* read again */
    check(&b, add_sum(&b.net, b.shortcut, add_relu(&b.net, add_sum(&b.net, b.own, b.shortcut))), -1,
          0, 0);

    b = block_open(); /* read again under another name */
    q8_node *split = net_node(&b.net, &q8_op_split, 1, &b.shortcut, 2);
    net_finish(&b.net, split);
    const int own = add_conv(&b.net, add_conv(&b.net, split->out[0], 32, 1), 32, 3);
    const int sum = add_sum(&b.net, own, split->out[0]);
    check(&b, add_sum(&b.net, sum, split->out[1]), -1, 0, 0);

    b = block_open(); /* by the convolution itself */
    const int again = add_conv(&b.net, b.own, 32, 3);
    check(&b, add_sum(&b.net, again, b.own), -1, 0, 0);

    b = block_open(); /* a caller's input */
    const int next = add_conv(&b.net, b.own, 32, 3);
    check(&b, add_sum(&b.net, next, b.input), -1, 0, 0);

    b = block_open(); /* a piece of what is read later */
    const int pieces[] = {b.shortcut, b.own};
    const int both = net_finish(&b.net, net_node(&b.net, &q8_op_concat, 2, pieces, 1));
    const int third = add_conv(&b.net, both, 32, 3);
    const int added = add_sum(&b.net, third, b.shortcut), parts[] = {added, both};
    check(&b, net_finish(&b.net, net_node(&b.net, &q8_op_concat, 2, parts, 1)), -1, 99, 0);

    b = block_open(); /* the whole, of which a piece is read later */
    const int halves[] = {b.shortcut, b.own};
    const int whole = net_finish(&b.net, net_node(&b.net, &q8_op_concat, 2, halves, 1));
    const int wide = add_conv(&b.net, add_conv(&b.net, whole, 32, 1), 64, 3);
    const int summed = add_sum(&b.net, wide, whole), ends[] = {summed, b.shortcut};
    check(&b, net_finish(&b.net, net_node(&b.net, &q8_op_concat, 2, ends, 1)), -1, 99, 0);
}

static void not_of_what_is_looked_at(void **state)
{
    (void)state;
    struct block b = block_open();
    check(&b, add_sum(&b.net, b.own, b.shortcut), b.own, 0, 0);
    b = block_open();
    const int sum = add_sum(&b.net, b.own, b.shortcut);
    check(&b, add_sum(&b.net, sum, b.own), -1, 0, 0);
    b = block_open();
    check(&b, add_sum(&b.net, b.own, b.own), -1, 0, 0);
}

static void not_other_sums(void **state)
{
    (void)state;
    struct block b = block_open();
    int sum = add_sum(&b.net, b.own, b.shortcut);
    q8_eltwise_attr *a = b.net.graph->node[b.net.graph->n_nodes - 1]->attr;
    static float coeffs[] = {1, 0.5f};
    a->coeffs = (q8_floats){2, coeffs};
    check(&b, sum, -1, 0, 0);
    b = block_open();
    sum = add_sum(&b.net, b.own, b.shortcut);
    a = b.net.graph->node[b.net.graph->n_nodes - 1]->attr;
    a->type = Q8_ELTWISE_MAX;
    check(&b, sum, -1, 0, 0);
    b = block_open(); /* an activation before the sum */
    ((q8_conv_attr *)b.net.graph->node[3]->attr)->activation.type = Q8_ACT_RELU;
    check(&b, add_sum(&b.net, b.own, b.shortcut), -1, 0, 0);
}

/* The convolution 3 picture by picture, the sum 4 or the activation 5 for the batch. */
static void not_across_the_front(void **state)
{
    (void)state;
    for (int from = 1; from < 7; from++) {
        struct block b = block_open();
        check(&b, add_relu(&b.net, add_sum(&b.net, b.own, b.shortcut)), -1, from,
              from != 4 && from != 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_of_blocks),      cmocka_unit_test(at_the_end_of_a_block),
        cmocka_unit_test(not_over_what_is_needed), cmocka_unit_test(not_of_what_is_looked_at),
        cmocka_unit_test(not_other_sums),          cmocka_unit_test(not_across_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
