/* Plans and runs: what runs, where it lies in memory, and that results depend on nothing else. */
#include <math.h>
#include <pthread.h>

#include "ops/innerproduct.h"
#include "ops/pooling.h"
#include "ops/simple.h"
#include "ops/unary.h"
#include "test_exec_memory.h"

static int add_conv(struct net *net, int in, int outputs, int kernel, int group)
{
    const q8_op *op = group > 1 ? &q8_op_convolutiondepthwise : &q8_op_convolution;
    return net_finish(net, net_conv(net, op, in, outputs, kernel, 1, kernel / 2, 1, group));
}

static int add_softmax(struct net *net, int in, int axis)
{
    q8_node *node = net_after(net, &q8_op_softmax, in);
    *(q8_softmax_attr *)node->attr = (q8_softmax_attr){axis, 1};
    return net_finish(net, node);
}

static int add_pool(struct net *net, int in)
{
    q8_node *node = net_after(net, &q8_op_pooling, in);
    q8_pooling_attr *a = node->attr;
    a->type = (int)(net->seed & 1);
    a->kernel_w = a->kernel_h = 3;
    a->stride_w = a->stride_h = 1;
    a->pad_left = a->pad_right = a->pad_top = a->pad_bottom = 1;
    a->mode = Q8_POOL_VALID;
    return net_finish(net, node);
}

static int add_inner_product(struct net *net, int in, int outputs)
{
    q8_node *node = net_after(net, &q8_op_innerproduct, in);
    *(q8_innerproduct_attr *)node->attr = (q8_innerproduct_attr){
        .num_output = outputs,
        .bias_term = 1,
        .weight_data_size = outputs * (int)q8_shape_count(&net->graph->tensor[in].shape)};
    return net_finish(net, node);
}

static int add_two(struct net *net, const q8_op *op, int a, int b)
{
    const int in[] = {a, b};
    q8_node *node = net_node(net, op, 2, in, 1);
    if (op == &q8_op_eltwise)
        ((q8_eltwise_attr *)node->attr)->type = Q8_ELTWISE_MAX;
    return net_finish(net, node);
}

/* A random network of maps of one size, with every kind of layout change in it. */
static void grow(struct net *net, int n_nodes, int width)
{
    static const int channels[] = {3, 5, 16, 19, 32};
    int first = net_input(net, 3, 6, width);
    net_input(net, 2, 6, width);
    for (int i = 0; i < n_nodes; i++) {
        uint32_t *seed = &net->seed;
        const int last = net->graph->n_tensors - 1;
        const int a = random_int(seed, first, last), b = random_int(seed, first, last);
        const q8_shape *sa = &net->graph->tensor[a].shape, *sb = &net->graph->tensor[b].shape;
        switch (random_int(seed, 0, 8)) {
        case 0:
        case 1:
            add_conv(net, a, channels[random_int(seed, 0, 4)], random_int(seed, 0, 1) ? 3 : 1, 1);
            break;
        case 2:
            add_conv(net, a, sa->dim[0], 3, sa->dim[0]);
            break;
        case 3:
            add_pool(net, a);
            break;
        case 4:
            add_softmax(net, a, random_int(seed, 0, 2));
            break;
        case 5:
            net_finish(net, net_after(net, &q8_op_dropout, a)); /* another name for `a` */
            break;
        case 6:
            net_finish(net, net_after(net, &q8_op_tanh, a));
            break;
        case 7:
            if (sa->dim[0] + sb->dim[0] < 200)
                add_two(net, &q8_op_concat, a, b);
            break;
        default:
            if (q8_shape_equal(sa, sb))
                add_two(net, &q8_op_eltwise, a, b);
        }
    }
    net_output(net, net->graph->n_tensors - 1);
}

static void assert_same(const struct seen *a, const struct seen *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->n_shown, b->n_shown);
    for (int t = 0; t < a->n_tensors; t++) {
        assert_int_equal(a->count[t], b->count[t]);
        if (a->count[t])
            assert_memory_equal(a->data[t], b->data[t], a->count[t] * sizeof(float));
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

/* With everything wanted each tensor is seen fresh; with one wanted it must have survived all that
 * was put beside it. */
static void random_networks_are_right_whatever_is_wanted(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 80; round++) {
        struct net net = net_open(round);
        const int batch = 1 + (int)(round % 3);
        grow(&net, 25, round % 4 ? 8 : 7);
        const int n = net.graph->n_tensors, from = random_int(&net.seed, 0, net.graph->n_nodes);
        bool *wanted = all_wanted(net.graph);
        q8_exec *plain = open_exec_from(net.graph, Q8_BACKEND_PLAIN, 3, 1, wanted);
        q8_exec *fast = open_exec_from(net.graph, Q8_BACKEND_CPU, batch, from, wanted);
        check_memory(plain);
        check_memory(fast);
        struct seen right = forward(net.graph, plain, batch, round);
        struct seen all = forward(net.graph, fast, batch, round);
        assert_int_equal(right.n_shown, n);
        for (int t = 0; t < n; t++)
            assert_true(nmse(right.data[t], all.data[t], right.count[t]) < 1e-8);
        q8_exec_close(&plain);
        q8_exec_close(&fast);
        for (int t = 0; t < n; t += 1 + n / 8) {
            memset(wanted, 0, (size_t)n * sizeof(*wanted));
            wanted[t] = wanted[n - 1] = true;
            fast = open_exec_from(net.graph, Q8_BACKEND_CPU, batch, from, wanted);
            check_memory(fast);
            struct seen some = forward(net.graph, fast, batch, round);
            assert_int_equal(some.n_shown, t == n - 1 ? 1 : 2);
            assert_int_equal(some.count[t], all.count[t]);
            assert_memory_equal(some.data[t], all.data[t], all.count[t] * sizeof(float));
            assert_memory_equal(some.data[n - 1], all.data[n - 1],
                                all.count[n - 1] * sizeof(float));
            seen_close(&some);
            q8_exec_close(&fast);
        }
        seen_close(&right);
        seen_close(&all);
        free(wanted);
        net_close(&net);
    }
}

static void a_long_chain_needs_little_memory(void **state)
{
    (void)state;
    struct net net = net_open(1);
    int t = net_input(&net, 16, 8, 8);
    for (int i = 0; i < 20; i++)
        t = add_pool(&net, t);
    net_output(&net, t);
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_PLAIN, 3, NULL);
    /* The inputs of the batch, and what one picture is going through. */
    assert_int_equal(q8_exec_slab_bytes(exec), (3 + 2) * 16 * 64 * sizeof(float));
    q8_exec_close(&exec);
    net_close(&net);
}

/* --- what runs -------------------------------------------------------------------------------- */

static void only_what_is_needed_runs(void **state)
{
    (void)state;
    struct net net = net_open(2);
    const int in = net_input(&net, 3, 6, 6);
    const int a = add_conv(&net, in, 8, 3, 1), b = add_conv(&net, a, 8, 3, 1);
    const int c = add_conv(&net, a, 4, 1, 1);
    net_output(&net, b);
    net_output(&net, c);
    for (int backend = Q8_BACKEND_PLAIN; backend <= Q8_BACKEND_CPU; backend++) {
        bool wanted[4] = {[1] = true}; /* a alone */
        assert_int_equal(a, 1);
        q8_exec *exec = open_exec(net.graph, (q8_backend_kind)backend, 1, wanted);
        assert_string_not_equal(q8_exec_node_backend(exec, 1), "");
        assert_string_equal(q8_exec_node_backend(exec, 0), "");
        assert_string_equal(q8_exec_node_backend(exec, 2), "");
        assert_string_equal(q8_exec_node_backend(exec, 3), "");
        struct seen seen = forward(net.graph, exec, 1, 5);
        assert_int_equal(seen.n_shown, 1);
        assert_non_null(seen.data[a]);
        seen_close(&seen);
        q8_exec_close(&exec);

        exec = open_exec(net.graph, (q8_backend_kind)backend, 1, NULL);
        assert_string_not_equal(q8_exec_node_backend(exec, 2), "");
        assert_string_not_equal(q8_exec_node_backend(exec, 3), "");
        seen = forward(net.graph, exec, 1, 5);
        assert_int_equal(seen.n_shown, 2);
        assert_true(seen.data[b] && seen.data[c]);
        seen_close(&seen);
        q8_exec_close(&exec);
    }
    net_close(&net);
}

static void an_input_can_be_wanted_and_an_unneeded_one_filled(void **state)
{
    (void)state;
    struct net net = net_open(2);
    const int x = net_input(&net, 3, 6, 6), y = net_input(&net, 2, 5, 5);
    const int last = net_finish(&net, net_after(&net, &q8_op_tanh, x));
    net_output(&net, last);
    bool *wanted = all_wanted(net.graph);
    wanted[y] = false;
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_CPU, 2, wanted);
    struct seen seen = forward(net.graph, exec, 2, 9);
    assert_int_equal(seen.n_shown, 2);
    for (size_t i = 0; i < seen.count[x]; i++)
        assert_true(seen.data[x][i] != 0);
    seen_close(&seen);
    q8_exec_close(&exec);
    free(wanted);
    net_close(&net);
}

static int count_conversions(const q8_exec *exec)
{
    int n = exec->n_steps;
    for (int i = 0; i < exec->graph->n_nodes; i++)
        n -= *q8_exec_node_backend(exec, i) != '\0';
    return n;
}

static void a_tensor_is_converted_once_for_all_its_readers(void **state)
{
    (void)state;
    struct net net = net_open(2);
    const int conv = add_conv(&net, net_input(&net, 3, 6, 6), 20, 3, 1);
    for (int i = 0; i < 3; i++) {
        q8_node *node = net_after(&net, &q8_op_concat, conv); /* of rows: plain C */
        ((q8_concat_attr *)node->attr)->axis = 1;
        node->n_in = 2;
        node->in = q8_arena_array(net.arena, 2, sizeof(int));
        node->in[0] = node->in[1] = conv;
        net_output(&net, net_finish(&net, node));
    }
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_CPU, 1, NULL);
    const bool blocked = strcmp(q8_exec_node_backend(exec, 1), "plain") != 0;
    assert_true(count_conversions(exec) <= (blocked ? 1 : 0));
    q8_exec_close(&exec);
    net_close(&net);
}

static void identities_take_no_step(void **state)
{
    (void)state;
    struct net net = net_open(2);
    int t = net_input(&net, 3, 6, 6);
    t = net_finish(&net, net_after(&net, &q8_op_dropout, t));
    q8_node *split = net_node(&net, &q8_op_split, 1, &t, 2);
    net_finish(&net, split);
    net_output(&net, split->out[0]);
    net_output(&net, net_finish(&net, net_after(&net, &q8_op_tanh, split->out[1])));
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_PLAIN, 1, NULL);
    assert_int_equal(exec->n_steps, 1);
    struct seen seen = forward(net.graph, exec, 1, 3);
    assert_int_equal(seen.n_shown, 2);
    seen_close(&seen);
    q8_exec_close(&exec);
    net_close(&net);
}

static void concatenations_of_channels_take_no_step(void **state)
{
    (void)state;
    for (int batch = 1; batch <= 2; batch++) {
        struct net net = net_open(3);
        const int t = net_input(&net, 16, 6, 8);
        const int a = net_finish(&net, net_after(&net, &q8_op_tanh, t));
        const int both = add_two(&net, &q8_op_concat, t, a);
        const int b = net_finish(&net, net_after(&net, &q8_op_tanh, both));
        const int all = add_two(&net, &q8_op_concat, both, b);  /* of a concatenation */
        net_output(&net, add_two(&net, &q8_op_concat, all, b)); /* a piece elsewhere: copied */
        q8_exec *exec = open_exec(net.graph, Q8_BACKEND_PLAIN, batch, NULL);
        assert_int_equal(exec->n_steps,
                         batch == 1 ? 3 : 4); /* the inputs of a batch lie in a row */
        check_memory(exec);
        struct seen seen = forward(net.graph, exec, batch, 3);
        const int last = net.graph->n_tensors - 1;
        assert_int_equal(seen.count[last], batch * 96 * 48);
        const float *x = seen.data[last] + (batch - 1) * 96 * 48;
        for (int i = 0; i < 16 * 48; i++) {
            assert_true(fabsf(x[768 + i] - tanhf(x[i])) < 1e-6F);
            assert_true(fabsf(x[2304 + i] - tanhf(x[768 + i])) < 1e-6F);
            assert_true(x[1536 + i] == x[768 + i] && x[3072 + i] == x[768 + i]);
            assert_true(x[3840 + i] == x[2304 + i]);
        }
        seen_close(&seen);
        q8_exec_close(&exec);
        net_close(&net);
    }
}

/* --- results depend on the picture alone ------------------------------------------------------ */

static int classifier(struct net *net)
{
    int t = add_conv(net, net_input(net, 3, 13, 11), 32, 3, 1);
    t = add_conv(net, t, 32, 3, 1);
    t = add_conv(net, add_pool(net, t), 32, 3, 32);
    t = add_conv(net, t, 48, 1, 1);
    t = add_softmax(net, t, 1);
    t = add_inner_product(net, t, 130);
    t = add_inner_product(net, t, 37);
    t = add_softmax(net, t, 0);
    net_output(net, t);
    return t;
}

static void pictures_do_not_depend_on_their_place_or_neighbours(void **state)
{
    (void)state;
    enum { BATCH = 7 };
    for (int backend = Q8_BACKEND_PLAIN; backend <= Q8_BACKEND_CPU; backend++) {
        struct net net = net_open(4);
        classifier(&net);
        bool *wanted = all_wanted(net.graph);
        q8_exec *exec = open_exec(net.graph, (q8_backend_kind)backend, BATCH, wanted);
        struct seen all = forward(net.graph, exec, BATCH, 100);
        for (uint32_t i = 0; i < BATCH; i++)
            for (int n = 1; n <= BATCH - (int)i; n += 2) {
                struct seen part = forward(net.graph, exec, n, 100 + i); /* picture i comes first */
                for (int t = 0; t < net.graph->n_tensors; t++) {
                    const size_t count = part.count[t] / (size_t)n;
                    assert_memory_equal(part.data[t], all.data[t] + i * count,
                                        part.count[t] * sizeof(float));
                }
                seen_close(&part);
            }
        seen_close(&all);
        q8_exec_close(&exec);
        free(wanted);
        net_close(&net);
    }
}

/* Winograd tiles differ by the batch, all else does not. */
static void the_size_of_the_batch_shows_in_last_bits_only(void **state)
{
    (void)state;
    struct net net = net_open(4);
    classifier(&net);
    bool *wanted = all_wanted(net.graph);
    q8_exec *one = open_exec(net.graph, Q8_BACKEND_CPU, 1, wanted);
    struct seen alone = forward(net.graph, one, 1, 100);
    for (int batch = 2; batch <= 9; batch += 3) {
        q8_exec *many = open_exec(net.graph, Q8_BACKEND_CPU, batch, wanted);
        struct seen first = forward(net.graph, many, 1, 100);
        for (int t = 0; t < alone.n_tensors; t++)
            if (alone.count[t])
                assert_true(nmse(alone.data[t], first.data[t], alone.count[t]) < 1e-9);
        seen_close(&first);
        q8_exec_close(&many);
    }
    seen_close(&alone);
    q8_exec_close(&one);
    free(wanted);
    net_close(&net);
}

/* A picture's leftovers in the slab must not reach the next one. */
static void a_run_can_be_used_again(void **state)
{
    (void)state;
    struct net net = net_open(5);
    classifier(&net);
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_CPU, 2, NULL);
    struct seen fresh = forward(net.graph, exec, 1, 50), again = seen_open(net.graph);
    q8_run *run;
    q8_err err = {0};
    assert_int_equal(q8_run_open(&run, exec, &err), Q8_OK);
    fill_picture(net.graph, run, 0, 1);
    fill_picture(net.graph, run, 1, 2);
    assert_int_equal(q8_run_forward(run, 2, NULL, NULL, &err), Q8_OK);
    fill_picture(net.graph, run, 0, 50);
    assert_int_equal(q8_run_forward(run, 1, see, &again, &err), Q8_OK);
    assert_same(&fresh, &again);
    seen_close(&fresh);
    seen_close(&again);
    q8_run_close(&run);
    q8_exec_close(&exec);
    net_close(&net);
}

struct job {
    const q8_graph *graph;
    const q8_exec *exec;
    struct seen seen[8];
};

static void *work(void *user)
{
    struct job *job = user;
    for (int i = 0; i < 8; i++)
        job->seen[i] = forward(job->graph, job->exec, 3, (uint32_t)i);
    return NULL;
}

static void threads_share_a_plan(void **state)
{
    (void)state;
    struct net net = net_open(6);
    classifier(&net);
    bool *wanted = all_wanted(net.graph);
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_CPU, 3, wanted);
    struct job job[3];
    pthread_t thread[3];
    for (int i = 0; i < 3; i++) {
        job[i] = (struct job){.graph = net.graph, .exec = exec};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &job[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int k = 0; k < 8; k++) {
        struct seen alone = forward(net.graph, exec, 3, (uint32_t)k);
        for (int i = 0; i < 3; i++) {
            assert_same(&alone, &job[i].seen[k]);
            seen_close(&job[i].seen[k]);
        }
        seen_close(&alone);
    }
    q8_exec_close(&exec);
    free(wanted);
    net_close(&net);
}

/* --- errors ----------------------------------------------------------------------------------- */

static void wrong_arguments_are_errors(void **state)
{
    (void)state;
    struct net net = net_open(2);
    const int in = net_input(&net, 3, 6, 6);
    net_output(&net, net_finish(&net, net_after(&net, &q8_op_tanh, in)));
    const int orphan = q8_graph_add_tensor(net.graph, "orphan", NULL);
    q8_exec *exec;
    q8_run *run;
    q8_err err = {0};
    q8_exec_opts opts = {.backend = Q8_BACKEND_CPU, .batch = 0};
    assert_int_equal(q8_exec_open(&exec, net.graph, &opts, &err), Q8_EINVAL);
    assert_null(exec);

    bool *wanted = all_wanted(net.graph);
    opts = (q8_exec_opts){.backend = Q8_BACKEND_CPU, .batch = 1, .wanted = wanted};
    err = (q8_err){0};
    assert_true(wanted[orphan]);
    assert_int_equal(q8_exec_open(&exec, net.graph, &opts, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "orphan"));
    assert_null(exec);
    free(wanted);

    exec = open_exec(net.graph, Q8_BACKEND_CPU, 2, NULL);
    err = (q8_err){0};
    assert_int_equal(q8_run_open(&run, exec, &err), Q8_OK);
    assert_int_equal(q8_run_forward(run, 3, NULL, NULL, &err), Q8_EINVAL);
    err = (q8_err){0};
    assert_int_equal(q8_run_forward(run, 0, NULL, NULL, &err), Q8_EINVAL);
    q8_run_close(&run);
    q8_run_close(&run);
    q8_exec_close(&exec);
    q8_exec_close(&exec);
    net_close(&net);
}

static void a_batch_too_large_for_memory_is_an_error(void **state)
{
    (void)state;
    struct net net = net_open(2);
    const int in = net_input(&net, 1024, 1024, 1024); /* 4 GiB a picture */
    net_output(&net, net_finish(&net, net_after(&net, &q8_op_tanh, in)));
    q8_exec *exec = NULL;
    q8_run *run = NULL;
    q8_err err = {0};
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU, .batch = INT32_MAX};
    q8_code code = q8_exec_open(&exec, net.graph, &opts, &err);
    if (!code)
        code = q8_run_open(&run, exec, &err);
    assert_int_equal(code, Q8_ENOMEM);
    assert_null(run);
    q8_exec_close(&exec);
    net_close(&net);
}

static q8_code refuse(void *user, int tensor, const q8_view *view, q8_err *err)
{
    (void)tensor;
    (void)view;
    ++*(int *)user;
    return q8_fail(err, Q8_EINTR, NULL, NULL, "stop");
}

static void the_observer_can_stop_a_forward(void **state)
{
    (void)state;
    struct net net = net_open(2);
    classifier(&net);
    bool *wanted = all_wanted(net.graph);
    q8_exec *exec = open_exec(net.graph, Q8_BACKEND_CPU, 1, wanted);
    q8_run *run;
    q8_err err = {0};
    int calls = 0;
    assert_int_equal(q8_run_open(&run, exec, &err), Q8_OK);
    assert_int_equal(q8_run_forward(run, 1, refuse, &calls, &err), Q8_EINTR);
    assert_int_equal(calls, 1);
    assert_string_equal(err.text, "stop");
    q8_run_close(&run);
    q8_exec_close(&exec);
    free(wanted);
    net_close(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_networks_are_right_whatever_is_wanted),
        cmocka_unit_test(a_long_chain_needs_little_memory),
        cmocka_unit_test(only_what_is_needed_runs),
        cmocka_unit_test(an_input_can_be_wanted_and_an_unneeded_one_filled),
        cmocka_unit_test(a_tensor_is_converted_once_for_all_its_readers),
        cmocka_unit_test(identities_take_no_step),
        cmocka_unit_test(concatenations_of_channels_take_no_step),
        cmocka_unit_test(pictures_do_not_depend_on_their_place_or_neighbours),
        cmocka_unit_test(the_size_of_the_batch_shows_in_last_bits_only),
        cmocka_unit_test(a_run_can_be_used_again),
        cmocka_unit_test(threads_share_a_plan),
        cmocka_unit_test(wrong_arguments_are_errors),
        cmocka_unit_test(a_batch_too_large_for_memory_is_an_error),
        cmocka_unit_test(the_observer_can_stop_a_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
