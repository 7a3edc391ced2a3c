/* Equalising: channels become more alike, statistics follow, and nothing odd comes out of odd data.
 */
#include <float.h>
#include <math.h>

#include "ops/simple.h"
#include "passes/passes.h"
#include "quant/equalise.h"
#include "quant/quant.h"
#include "test_exec_graph.h"

enum { CHANNELS = 16, PICTURES = 4 };

static int conv(struct net *net, const q8_op *op, int in, int outputs, int kernel, int group)
{
    q8_node *node = net_conv(net, op, in, outputs, kernel, 1, kernel / 2, 1, group);
    *node->op->activation(node) = (q8_activation){.type = Q8_ACT_RELU};
    return net_finish(net, node);
}

/* Makes the channels that a layer makes as different in size as its weights are. */
static void spread_channels(struct net *net, int tensor)
{
    for (int i = 0; i < net->graph->n_nodes; i++) {
        q8_node *node = net->graph->node[i];
        if (node->out[0] != tensor)
            continue;
        const size_t row = node->weight[0].count / CHANNELS;
        for (size_t k = 0; k < node->weight[0].count; k++)
            ((float *)node->weight[0].data)[k] *= exp2f(-(float)(k / row % 6));
        for (size_t k = 0; k < node->weight[1].count; k++)
            ((float *)node->weight[1].data)[k] *= exp2f(-(float)(k % 6));
    }
}

/* A convolution, one per channel, a sum with the first: the last is the output. */
struct sample_net {
    struct net net;
    int first, depthwise, sum;
};

static struct sample_net open_sample(void)
{
    struct sample_net s = {.net = net_open(5)};
    struct net *net = &s.net;
    const int in = net_input(net, 3, 12, 12);
    s.first = conv(net, &q8_op_convolution, in, CHANNELS, 3, 1);
    spread_channels(net, s.first);
    s.depthwise = conv(net, &q8_op_convolutiondepthwise, s.first, CHANNELS, 3, CHANNELS);
    const int other = conv(net, &q8_op_convolution, s.depthwise, CHANNELS, 1, 1);
    q8_node *node = net_node(net, &q8_op_eltwise, 2, (const int[]){s.first, other}, 1);
    ((q8_eltwise_attr *)node->attr)->type = Q8_ELTWISE_SUM;
    s.sum = net_finish(net, node);
    net_output(net, conv(net, &q8_op_convolution, s.sum, 5, 3, 1));
    return s;
}

static void calibrate(q8_calibration *cal, const q8_graph *graph, q8_arena *arena)
{
    const size_t n = (size_t)graph->n_tensors + 1;
    q8_err err = {0};
    bool *wanted = q8_arena_array(arena, n, sizeof(*wanted));
    assert_non_null(wanted);
    q8_quant_wanted(graph, wanted);
    *cal = (q8_calibration){.n_tensors = graph->n_tensors};
    cal->stats = calloc(n, sizeof(*cal->stats));
    assert_non_null(cal->stats);
    q8_exec *exec = open_exec(graph, Q8_BACKEND_PLAIN, PICTURES, wanted);
    struct seen seen = forward(graph, exec, PICTURES, 1);
    for (int t = 0; t < graph->n_tensors; t++) {
        if (!wanted[t])
            continue;
        const q8_view view = {seen.data[t], PICTURES, graph->tensor[t].shape, 1, NULL};
        cal->stats[t] = calloc(1, sizeof(**cal->stats));
        assert_non_null(cal->stats[t]);
        assert_int_equal(q8_stats_init(cal->stats[t], view.shape.dim[0], &err), Q8_OK);
        q8_stats_add(cal->stats[t], &view);
    }
    seen_close(&seen);
    q8_exec_close(&exec);
}

static void equalise(q8_graph *graph, q8_calibration *cal, const q8_quant_opts *opts)
{
    q8_err err = {0};
    if (q8_equalise_graph(graph, cal, NULL, opts, NULL, &err))
        fail_msg("%s", err.text);
    for (int t = 0; t < graph->n_tensors; t++)
        for (int c = 0; graph->tensor[t].factor && c < graph->tensor[t].shape.dim[0]; c++) {
            const float f = graph->tensor[t].factor[c];
            assert_true(f >= 1 && f <= Q8_MOST_FACTOR);
        }
}

/* The largest over the smallest of the channels' sizes. */
static double unevenness(const q8_stats *stats)
{
    double least = INFINITY, most = 0;
    for (int c = 0; c < stats->channels; c++) {
        least = fmin(least, (double)stats->channel_absmax[c]);
        most = fmax(most, (double)stats->channel_absmax[c]);
    }
    return most / least;
}

/* On a picture that calibration saw. */
static void check_same_function(const q8_graph *before, const q8_graph *after)
{
    for (q8_backend_kind backend = Q8_BACKEND_PLAIN; backend <= Q8_BACKEND_CPU; backend++) {
        q8_exec *a = open_exec(before, backend, 1, NULL), *b = open_exec(after, backend, 1, NULL);
        struct seen want = forward(before, a, 1, 1), got = forward(after, b, 1, 1);
        const int t = before->output[0];
        assert_true(nmse(want.data[t], got.data[t], want.count[t]) <= 1e-10);
        seen_close(&want);
        seen_close(&got);
        q8_exec_close(&a);
        q8_exec_close(&b);
    }
}

/* --- the statistics are those of the rewritten network ---------------------------------------- */

static void statistics_follow(void **state)
{
    (void)state;
    struct sample_net s = open_sample();
    q8_graph *graph = q8_graph_copy(s.net.graph, s.net.arena);
    q8_calibration cal, again;
    calibrate(&cal, s.net.graph, s.net.arena);
    const double before = unevenness(cal.stats[s.first]);
    equalise(graph, &cal, &(q8_quant_opts){0});
    assert_non_null(graph->tensor[s.first].factor);
    assert_true(unevenness(cal.stats[s.first]) < 0.8 * before);
    check_same_function(s.net.graph, graph);
    calibrate(&again, graph, s.net.arena);
    for (int t = 0; t < graph->n_tensors; t++) {
        const q8_stats *got = cal.stats[t], *want = again.stats[t];
        for (int c = 0; got && c < got->channels; c++) {
            const float most = want->channel_absmax[c];
            assert_true(fabsf(got->channel_absmax[c] - most) <= 1e-5F * most);
            assert_true(fabsf(q8_stats_channel_mean(got, c) - q8_stats_channel_mean(want, c)) <=
                        1e-5F * most);
        }
        assert_true(!got || fabsf(got->max - want->max) <= 1e-5F * want->max);
    }
    q8_calibration_free(&cal);
    q8_calibration_free(&again);
    net_close(&s.net);
}

/* Bounds stay, and nothing that was seen comes to reach them. */
static void relu6_stays(void **state)
{
    (void)state;
    struct net net = net_open(11);
    static const float bounds[] = {0, 3};
    int t = net_input(&net, 3, 12, 12);
    t = conv(&net, &q8_op_convolution, t, CHANNELS, 3, 1);
    spread_channels(&net, t);
    const int clipped = t;
    q8_node *node = net.graph->node[1];
    *node->op->activation(node) = (q8_activation){Q8_ACT_CLIP, {2, bounds}};
    net_output(&net, conv(&net, &q8_op_convolution, t, 4, 3, 1));
    q8_graph *graph = q8_graph_copy(net.graph, net.arena);
    q8_calibration cal;
    calibrate(&cal, net.graph, net.arena);
    assert_true(cal.stats[clipped]->max == bounds[1]);
    equalise(graph, &cal, &(q8_quant_opts){0});
    assert_non_null(graph->tensor[clipped].factor);
    assert_true(cal.stats[clipped]->max == bounds[1]);
    check_same_function(net.graph, graph);
    q8_calibration_free(&cal);
    net_close(&net);
}

/* --- what is kept from it ----------------------------------------------------------------------
 */

static void even_channels_stay(void **state)
{
    (void)state;
    struct net net = net_open(8);
    const int in = net_input(&net, 3, 16, 16);
    const int t = conv(&net, &q8_op_convolution, in, CHANNELS, 1, 1);
    /* All rows alike: so are all channels. */
    const q8_weight *w = net.graph->node[1]->weight;
    for (size_t i = 0; i < w[0].count; i++)
        ((float *)w[0].data)[i] = 0.5F;
    for (size_t i = 0; i < w[1].count; i++)
        ((float *)w[1].data)[i] = 1;
    net_output(&net, conv(&net, &q8_op_convolution, t, 4, 1, 1));
    q8_calibration cal;
    calibrate(&cal, net.graph, net.arena);
    equalise(net.graph, &cal, &(q8_quant_opts){0});
    for (int i = 0; i < net.graph->n_tensors; i++)
        assert_null(net.graph->tensor[i].factor);
    q8_calibration_free(&cal);
    net_close(&net);
}

/* What is 0 in all of calibration is not raised: it might be something later. */
static void dead_channels_stay(void **state)
{
    (void)state;
    struct sample_net s = open_sample();
    q8_node *node = s.net.graph->node[1];
    const size_t row = node->weight[0].count / CHANNELS;
    memset((float *)node->weight[0].data + 3 * row, 0, row * sizeof(float));
    ((float *)node->weight[1].data)[3] = -1;
    q8_calibration cal;
    s.net.graph->node[4]->in[0] = s.depthwise; /* the sum, which would tie it to live channels */
    calibrate(&cal, s.net.graph, s.net.arena);
    assert_true(cal.stats[s.first]->channel_absmax[3] == 0);
    equalise(s.net.graph, &cal, &(q8_quant_opts){0});
    assert_non_null(s.net.graph->tensor[s.first].factor);
    assert_true(s.net.graph->tensor[s.first].factor[3] == 1);
    q8_calibration_free(&cal);
    net_close(&s.net);
}

/* With one scale per layer rows of the producer would come to differ: factors are smaller. */
static void one_scale_per_layer(void **state)
{
    (void)state;
    double left[2];
    for (int per_layer = 0; per_layer < 2; per_layer++) {
        struct sample_net s = open_sample();
        q8_calibration cal;
        calibrate(&cal, s.net.graph, s.net.arena);
        equalise(s.net.graph, &cal, &(q8_quant_opts){.per_layer = per_layer});
        left[per_layer] = unevenness(cal.stats[s.first]);
        q8_calibration_free(&cal);
        net_close(&s.net);
    }
    assert_true(left[0] <= left[1]);
}

/* --- odd statistics ----------------------------------------------------------------------------
 */

static void odd_statistics(void **state)
{
    (void)state;
    static const float sizes[] = {0, 1e-45F, 1e-38F, 1e-20F, 1, 1e20F, 3e38F};
    uint32_t seed = 3;
    for (int round = 0; round < 200; round++) {
        struct sample_net s = open_sample();
        q8_calibration cal;
        calibrate(&cal, s.net.graph, s.net.arena);
        for (int t = 0; t < cal.n_tensors; t++) {
            if (!cal.stats[t])
                continue;
            const int channels = cal.stats[t]->channels;
            q8_stats_free(cal.stats[t]);
            assert_int_equal(q8_stats_init(cal.stats[t], channels, NULL), Q8_OK);
            float x[CHANNELS * 9];
            for (int i = 0; i < channels * 9; i++)
                x[i] = sizes[random_int(&seed, 0, round < 100 ? 6 : 4)] *
                       (random_bits(&seed) & 1 ? 1.0F : -0.5F);
            if (round % 10 == 0)
                memset(x, 0, sizeof(x));
            q8_stats_add(cal.stats[t], &(q8_view){x, 1, {3, {channels, 3, 3}}, 1, NULL});
        }
        equalise(s.net.graph, &cal, &(q8_quant_opts){.per_layer = round & 1});
        for (int i = 0; i < s.net.graph->n_nodes; i++)
            for (int w = 0; w < Q8_MAX_WEIGHTS; w++)
                for (size_t k = 0; k < s.net.graph->node[i]->weight[w].count; k++)
                    assert_true(isfinite(s.net.graph->node[i]->weight[w].data[k]));
        q8_calibration_free(&cal);
        net_close(&s.net);
    }
}

static void nothing_observed(void **state)
{
    (void)state;
    struct sample_net s = open_sample();
    q8_calibration cal = {0};
    equalise(s.net.graph, &cal, &(q8_quant_opts){0});
    cal.n_tensors = s.net.graph->n_tensors;
    cal.stats = calloc((size_t)cal.n_tensors, sizeof(*cal.stats));
    assert_non_null(cal.stats);
    equalise(s.net.graph, &cal, &(q8_quant_opts){0});
    for (int t = 0; t < s.net.graph->n_tensors; t++)
        assert_null(s.net.graph->tensor[t].factor);
    q8_calibration_free(&cal);
    net_close(&s.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_follow),  cmocka_unit_test(relu6_stays),
        cmocka_unit_test(even_channels_stay), cmocka_unit_test(one_scale_per_layer),
        cmocka_unit_test(odd_statistics),     cmocka_unit_test(nothing_observed),
        cmocka_unit_test(dead_channels_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
