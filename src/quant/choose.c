#include "quant/choose.h"

#include <math.h>
#include <stdlib.h>

#include "base/thread.h"
#include "calib/threshold.h"
#include "ops/op.h"

struct choosing {
    const q8_choice_of *what;
    float *threshold;
    const float **factor; /* by tensor */
};

/* Mean square of a channel's values. */
static double power_of(const q8_channel_bins *bins)
{
    const double count = (double)q8_channel_bins_count(bins);
    double sum = 0;
    for (int i = 0; i < Q8_CHANNEL_BINS; i++)
        if (bins->bin[i]) {
            const double x =
                (q8_channel_bins_edge(bins, i) + q8_channel_bins_edge(bins, i + 1)) / 2;
            sum += bins->bin[i] * x * x;
        }
    return count > 0 ? sum / count : 0;
}

/* What errors in each channel cost one reader: the sum of the squares of the weights that they are
 * multiplied by, relative to the power of its output, estimated as if channels were independent. */
static void add_reader(double *cost, double *own, const q8_node *node, const q8_linear *view,
                       const q8_stats *stats)
{
    const float *weight = node->weight[0].data;
    double power = 0;
    for (int c = 0; c < stats->channels; c++)
        own[c] = 0;
    for (int o = 0; o < view->groups * view->outputs; o++)
        for (int i = 0; i < view->inputs; i++)
            for (int k = 0; k < view->kernel; k++, weight++)
                own[o / view->outputs * view->inputs + i] += (double)*weight * (double)*weight;
    for (int c = 0; c < stats->channels; c++)
        power += own[c] * power_of(&stats->channel_bins[c]);
    for (int c = 0; c < stats->channels && power > 0; c++)
        cost[c] += own[c] / power;
}

static q8_code estimate(float *threshold, const q8_choice_of *what, int tensor, int levels,
                        q8_err *err)
{
    const q8_graph *graph = what->graph;
    const q8_stats *stats = what->stats[tensor];
    double *cost = calloc(2 * (size_t)stats->channels, sizeof(*cost));
    if (!cost)
        return q8_fail_nomem(err);
    for (int n = 0; n < graph->n_nodes; n++) {
        const q8_node *node = graph->node[n];
        q8_linear view;
        if (node->n_in == 1 && node->in[0] == tensor && node->op->linear && node->op->set_int8 &&
            node->op->linear(node, &graph->tensor[tensor].shape, &view) &&
            view.groups * view.inputs == stats->channels &&
            node->weight[0].count ==
                (size_t)stats->channels * (size_t)view.outputs * (size_t)view.kernel)
            add_reader(cost, cost + stats->channels, node, &view, stats);
    }
    *threshold = q8_threshold_auto(stats, cost, levels);
    free(cost);
    return Q8_OK;
}

/* --- by trials -------------------------------------------------------------------------------- */

/* The largest threshold whose error is at most this, of the least, is taken: what clips next to
 * nothing here clips the peaks of other pictures, which mean more to the network than their squares
 * tell. */
#define TOLERANCE 1.125

/* Steps up from the threshold of least error, 2^(1/8). */
#define STEP_UP 1.0905077f

enum { MOST_CANDIDATES = 4 };

struct search {
    const q8_readers *readers;
    int levels;
    float best;
    double least;
};

static q8_code try_all(struct search *s, const float *threshold, int n, q8_err *err)
{
    double error[MOST_CANDIDATES];
    const q8_code code = q8_readers_errors(s->readers, threshold, n, s->levels, error, err);
    for (int i = 0; i < n && !code; i++)
        if (error[i] < s->least) {
            s->least = error[i];
            s->best = threshold[i];
        }
    return code;
}

/* Up from the best while the error stays within the tolerance. */
static q8_code go_up(struct search *s, float most, q8_err *err)
{
    double error = 0;
    q8_code code = Q8_OK;
    for (float next = s->best; s->best < most && !code; s->best = next) {
        next = fminf(s->best * STEP_UP, most);
        code = q8_readers_errors(s->readers, &next, 1, s->levels, &error, err);
        if (!(error <= s->least * TOLERANCE))
            break;
    }
    return code;
}

/* Thresholds of other methods (kl would take longer than all trials), then ever finer steps around
 * the best. */
static q8_code search(struct search *s, const q8_stats *stats, q8_err *err)
{
    static const q8_method methods[] = {Q8_METHOD_MSE, Q8_METHOD_MINMAX, Q8_METHOD_PERCENTILE,
                                        Q8_METHOD_ACIQ};
    float candidate[MOST_CANDIDATES], least = INFINITY, most = 0;
    for (int i = 0; i < MOST_CANDIDATES; i++) {
        candidate[i] = q8_threshold(methods[i], stats, s->levels);
        least = fminf(least, candidate[i]);
        most = fmaxf(most, candidate[i]);
    }
    s->best = candidate[0];
    if (least == most) /* too few values to choose by */
        return Q8_OK;
    q8_code code = try_all(s, candidate, MOST_CANDIDATES, err);
    for (float by = 1.189207115f; by > 1.04f && !code; by = sqrtf(by)) {
        const float around[] = {s->best / by, fminf(s->best * by, most)};
        code = try_all(s, around, 2, err);
    }
    return code ? code : go_up(s, most, err);
}

static q8_code choose_by_trial(float *threshold, const struct choosing *c, int tensor, int levels,
                               q8_err *err)
{
    q8_readers readers;
    q8_code code =
        q8_readers_open(&readers, c->what->trials, c->what->graph, tensor, c->factor, NULL, err);
    struct search s = {.readers = &readers, .levels = levels, .least = INFINITY};
    if (!code)
        code = search(&s, c->what->stats[tensor], err);
    *threshold = s.best;
    q8_readers_close(&readers);
    return code;
}

static q8_code choose(void *user, int tensor, q8_err *err)
{
    const struct choosing *c = user;
    const q8_choice_of *what = c->what;
    const int levels = what->levels ? what->levels[tensor] : Q8_LEVELS_SIGNED;
    float *threshold = &c->threshold[tensor];
    if (!what->stats[tensor])
        return Q8_OK;
    if (what->method != Q8_METHOD_AUTO) {
        *threshold = q8_threshold(what->method, what->stats[tensor], levels);
        return Q8_OK;
    }
    if (q8_trials_have_readers(what->trials, what->graph, tensor))
        return choose_by_trial(threshold, c, tensor, levels, err);
    return estimate(threshold, what, tensor, levels, err);
}

q8_code q8_choose_thresholds(float *threshold, const q8_choice_of *what, const q8_env *env,
                             q8_err *err)
{
    struct choosing choosing = {.what = what, .threshold = threshold};
    choosing.factor = calloc((size_t)what->graph->n_tensors + 1, sizeof(*choosing.factor));
    if (!choosing.factor)
        return q8_fail_nomem(err);
    for (int t = 0; t < what->graph->n_tensors; t++)
        choosing.factor[t] = what->graph->tensor[t].factor;
    const q8_code code =
        q8_parallel_each(q8_thread_count(env), what->graph->n_tensors, choose, &choosing, err);
    free(choosing.factor);
    return code;
}
