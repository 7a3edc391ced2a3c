/* Which tensors are shifted, and in which direction. */
#include <math.h>

#include "base/sums.h"
#include "base/thread.h"
#include "calib/threshold.h"
#include "ops/conv.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "quant/quant.h"
#include "quant/shift_roles.h"

/* Beyond these a shift's products with weights might leave fp32's range. */
#define MAX_VALUE       1e15
#define MIN_VALUE       1e-15
#define MAX_WEIGHT_SUM  1e15
#define MAX_COEFFICIENT 1e4

/* Tensors that layers without weights link, so that they can only be shifted alike. */
struct group {
    bool blocked;
    bool has_max;   /* a maximum between them: not to be negated */
    bool is_padded; /* a reader pads one with zeros: to be negated, so that its code is +127 */
    bool wanted;    /* an int8 layer reads one */
    int sums;       /* inputs of sums that read one */
    int others;     /* sums that make one, and linear layers that read one */
    int sign;
};

struct chooser {
    const q8_graph *graph;
    const q8_calibration *calibration;
    const q8_trials *trials;
    const float **factor; /* by tensor, then by channel */
    q8_shift_role *role;  /* by node */
    bool *is_modest; /* by node: products of its weights with a shift stay inside fp32's range */
    int *parent;     /* by tensor, of a tree whose root stands for the group */
    struct group *groups; /* by root */
};

static int root(const struct chooser *c, int tensor)
{
    while (c->parent[tensor] != tensor)
        tensor = c->parent[tensor] = c->parent[c->parent[tensor]];
    return tensor;
}

static struct group *group_of(const struct chooser *c, int tensor)
{
    return &c->groups[root(c, tensor)];
}

/* --- groups ----------------------------------------------------------------------------------- */

static void link_all(const struct chooser *c, const q8_node *node)
{
    const int first = node->in[0];
    for (int i = 1; i < node->n_in; i++)
        c->parent[root(c, node->in[i])] = root(c, first);
    for (int i = 0; i < node->n_out; i++)
        c->parent[root(c, node->out[i])] = root(c, first);
}

static void block_all(const struct chooser *c, const q8_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        group_of(c, node->in[i])->blocked = true;
    for (int i = 0; i < node->n_out; i++)
        group_of(c, node->out[i])->blocked = true;
}

static q8_code look_at_weights(void *user, int index, q8_err *err)
{
    (void)err;
    const struct chooser *c = user;
    const q8_node *node = c->graph->node[index];
    const double sum = q8_sum_abs(node->weight[0].data, node->weight[0].count) +
                       q8_sum_abs(node->weight[1].data, node->weight[1].count);
    c->is_modest[index] = sum < MAX_WEIGHT_SUM;
    return Q8_OK;
}

/* Only ncnn's two convolutions can be told what to pad with. */
static bool can_pad_with(const q8_node *node, const q8_linear *view)
{
    const bool is = node->op == &q8_op_convolution || node->op == &q8_op_convolutiondepthwise;
    return is && view->pad_value == 0;
}

static void visit_affine(const struct chooser *c, const q8_node *node, bool is_modest)
{
    struct group *in = group_of(c, node->in[0]), *out = group_of(c, node->out[0]);
    in->others++;
    if (!is_modest)
        in->blocked = out->blocked = true;
}

static void visit_linear(const struct chooser *c, const q8_node *node)
{
    struct group *in = group_of(c, node->in[0]);
    q8_linear view = {0};
    node->op->linear(node, &c->graph->tensor[node->in[0]].shape, &view);
    if (view.pads && can_pad_with(node, &view))
        in->is_padded = true;
    else if (view.pads)
        in->blocked = true;
}

static void visit(const struct chooser *c, int index)
{
    const q8_node *node = c->graph->node[index];
    switch (c->role[index]) {
    case Q8_SHIFT_BLOCKS:
        block_all(c, node);
        break;
    case Q8_SHIFT_STARTS:
        for (int i = 0; i < node->n_out; i++)
            group_of(c, node->out[i])->blocked = true;
        break;
    case Q8_SHIFT_LINKS:
        break;
    case Q8_SHIFT_LINKS_MAX:
        group_of(c, node->in[0])->has_max = true;
        break;
    case Q8_SHIFT_SUMS:
        for (int i = 0; i < node->n_in; i++)
            group_of(c, node->in[i])->sums++;
        group_of(c, node->out[0])->others++;
        break;
    case Q8_SHIFT_AFFINE:
        visit_affine(c, node, c->is_modest[index]);
        break;
    case Q8_SHIFT_LINEAR:
        visit_affine(c, node, c->is_modest[index]);
        visit_linear(c, node);
        break;
    }
}

static bool links(q8_shift_role role)
{
    return role == Q8_SHIFT_LINKS || role == Q8_SHIFT_LINKS_MAX;
}

static void make_groups(const struct chooser *c)
{
    const q8_graph *graph = c->graph;
    for (int t = 0; t < graph->n_tensors; t++)
        c->parent[t] = t;
    for (int i = 0; i < graph->n_nodes; i++)
        if (links(c->role[i]))
            link_all(c, graph->node[i]);
    for (int i = 0; i < graph->n_nodes; i++)
        visit(c, i);
    for (int i = 0; i < graph->n_outputs; i++)
        group_of(c, graph->output[i])->blocked = true;
}

/* --- sums ------------------------------------------------------------------------------------- */

static double coefficient(const q8_node *sum, int input)
{
    const q8_eltwise_attr *a = sum->attr;
    return a->coeffs.n ? fabs((double)a->coeffs.v[input]) : 1;
}

static bool has_modest_coefficients(const q8_node *sum)
{
    for (int i = 0; i < sum->n_in; i++)
        if (!(coefficient(sum, i) <= MAX_COEFFICIENT))
            return false;
    return true;
}

/* An input that nothing else depends on may be shifted by whatever is missing. */
static int find_balance(const struct chooser *c, const q8_node *sum)
{
    for (int i = 0; i < sum->n_in && has_modest_coefficients(sum); i++) {
        const struct group *g = group_of(c, sum->in[i]);
        if (!g->blocked && !g->has_max && !g->is_padded && g->sums == 1 && g->others == 0 &&
            coefficient(sum, i) >= 1 / MAX_COEFFICIENT)
            return i;
    }
    return Q8_SHIFT_NO_INPUT;
}

static void choose_balances(const struct chooser *c, int *balance)
{
    for (int i = 0; i < c->graph->n_nodes; i++) {
        balance[i] = Q8_SHIFT_NO_INPUT;
        if (c->role[i] != Q8_SHIFT_SUMS)
            continue;
        balance[i] = find_balance(c, c->graph->node[i]);
        if (balance[i] == Q8_SHIFT_NO_INPUT)
            block_all(c, c->graph->node[i]);
    }
}

/* --- what is gained --------------------------------------------------------------------------- */

/* Sums over a histogram's bins from each on: of values, each taken as its bin's middle, in widths
 * of a bin. */
struct tails {
    double width;
    double n[Q8_HIST_BINS + 1], sum[Q8_HIST_BINS + 1], square[Q8_HIST_BINS + 1];
};

static void add_tails(struct tails *t, const q8_hist *hist)
{
    t->width = ldexp(1.0 / Q8_HIST_BINS, hist->exponent);
    t->n[Q8_HIST_BINS] = t->sum[Q8_HIST_BINS] = t->square[Q8_HIST_BINS] = 0;
    for (int i = Q8_HIST_BINS - 1; i >= 0; i--) {
        const double n = (double)hist->bin[i], x = i + 0.5;
        t->n[i] = t->n[i + 1] + n;
        t->sum[i] = t->sum[i + 1] + n * x;
        t->square[i] = t->square[i + 1] + n * x * x;
    }
}

/* Squared error of rounding to steps of `step` up to `top`, to which larger values are clipped. */
static double error_of(const struct tails *t, double top, double step)
{
    const double at = top / t->width; /* (x - at)^2 = x^2 - 2 x at + at^2 */
    const int first = at < Q8_HIST_BINS ? (int)floor(at + 0.5) : Q8_HIST_BINS;
    const double clipped = t->square[first] - 2 * at * t->sum[first] + at * at * t->n[first];
    return (clipped > 0 ? clipped : 0) * t->width * t->width +
           (t->n[0] - t->n[first]) * step * step / 12;
}

static double energy_of(const struct tails *t)
{
    return error_of(t, 0, 0);
}

/* The value up to which `levels` steps serve best. */
static double best_top(const struct tails *t, double max, int levels)
{
    enum { CANDIDATES = 64 };
    double best = max, least = INFINITY;
    for (int i = CANDIDATES; i > 0; i--) {
        const double top = max * i / CANDIDATES, error = error_of(t, top, top / levels);
        if (error < least) {
            least = error;
            best = top;
        }
    }
    return best;
}

static bool is_member(const struct chooser *c, int tensor, int group)
{
    return c->calibration->stats[tensor] && root(c, tensor) == group;
}

/* What becomes of a tensor's readers at these thresholds; of the tensor itself, relative to its
 * power, where its readers cannot be tried. */
static q8_code add_errors(const struct chooser *c, int tensor, const struct tails *tails,
                          double common, double *plain, double *shifted, q8_err *err)
{
    const double top = best_top(tails, c->calibration->stats[tensor]->max, 127);
    if (!q8_trials_have_readers(c->trials, c->graph, tensor)) {
        const double energy = energy_of(tails);
        *plain += error_of(tails, top, top / 127) / energy;
        *shifted += error_of(tails, common, common / 254) / energy;
        return Q8_OK;
    }
    const float at_top = (float)top, at_common = (float)common;
    double without = 0, with = 0;
    q8_readers readers;
    q8_code code = q8_readers_open(&readers, c->trials, c->graph, tensor, c->factor, NULL, err);
    if (!code)
        code = q8_readers_errors(&readers, &at_top, 1, Q8_LEVELS_SIGNED, &without, err);
    if (!code)
        code = q8_readers_errors(&readers, &at_common, 1, Q8_LEVELS_SHIFTED, &with, err);
    q8_readers_close(&readers);
    *plain += without;
    *shifted += with;
    return code;
}

/* The tensors of a group share their range, so one with larger values than the others can cost them
 * more than the finer steps bring. */
static q8_code measure_gain(const struct chooser *c, int group, bool *gains, q8_err *err)
{
    double common = 0, plain = 0, shifted = 0;
    struct tails tails;
    q8_code code = Q8_OK;
    for (int t = 0; t < c->graph->n_tensors; t++)
        if (is_member(c, t, group)) {
            const q8_stats *s = c->calibration->stats[t];
            add_tails(&tails, &s->hist);
            const double top = best_top(&tails, s->max, 254);
            common = top > common ? top : common;
        }
    for (int t = 0; t < c->graph->n_tensors && !code; t++)
        if (is_member(c, t, group)) {
            add_tails(&tails, &c->calibration->stats[t]->hist);
            code = add_errors(c, t, &tails, common, &plain, &shifted, err);
        }
    *gains = shifted < plain;
    return code;
}

static bool is_shiftable(const q8_stats *s)
{
    return s->count > 0 && s->hist.not_finite == 0 && s->min >= 0 && s->max <= MAX_VALUE &&
           s->max >= MIN_VALUE;
}

static bool is_observed_shiftable(const struct chooser *c, int group)
{
    bool any = false;
    for (int t = 0; t < c->graph->n_tensors; t++)
        if (is_member(c, t, group)) {
            any = true;
            if (!is_shiftable(c->calibration->stats[t]))
                return false;
        }
    return any;
}

static q8_code choose_sign(const struct chooser *c, int tensor, q8_err *err)
{
    struct group *g = &c->groups[tensor];
    if (!g->wanted || g->blocked || (g->has_max && g->is_padded) ||
        !is_observed_shiftable(c, tensor))
        return Q8_OK;
    bool gains;
    const q8_code code = measure_gain(c, tensor, &gains, err);
    if (!code && gains)
        g->sign = g->is_padded ? -1 : 1;
    return code;
}

/* --- the plan --------------------------------------------------------------------------------- */

static void fill_plan(const struct chooser *c, const bool *wanted, q8_shift_plan *plan, int *levels)
{
    for (int t = 0; t < c->graph->n_tensors; t++) {
        plan->tensor[t] = (q8_shift_of){.sign = group_of(c, t)->sign, .group = root(c, t)};
        if (plan->tensor[t].sign != 0 && wanted[t])
            levels[t] = Q8_LEVELS_SHIFTED;
    }
}

q8_code q8_shift_choose(q8_shift_plan *plan, const q8_graph *graph,
                        const q8_calibration *calibration, const q8_trials *trials, int threads,
                        int *levels, q8_err *err)
{
    const size_t n_tensors = (size_t)graph->n_tensors + 1, n_nodes = (size_t)graph->n_nodes + 1;
    struct chooser c = {.graph = graph, .calibration = calibration, .trials = trials};
    bool *wanted = q8_arena_array(graph->arena, n_tensors, sizeof(*wanted));
    plan->tensor = q8_arena_array(graph->arena, n_tensors, sizeof(*plan->tensor));
    plan->balance = q8_arena_array(graph->arena, n_nodes, sizeof(*plan->balance));
    c.role = q8_arena_array(graph->arena, n_nodes, sizeof(*c.role));
    c.is_modest = q8_arena_array(graph->arena, n_nodes, sizeof(*c.is_modest));
    c.parent = q8_arena_array(graph->arena, n_tensors, sizeof(*c.parent));
    c.groups = q8_arena_array(graph->arena, n_tensors, sizeof(*c.groups));
    c.factor = q8_arena_array(graph->arena, n_tensors, sizeof(*c.factor));
    if (!wanted || !plan->tensor || !plan->balance || !c.role || !c.is_modest || !c.parent ||
        !c.groups || !c.factor)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes; i++)
        if (!q8_shift_role_of(graph, graph->node[i], &c.role[i]))
            return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++)
        c.factor[t] = graph->tensor[t].factor;
    q8_code code = q8_parallel_each(threads, graph->n_nodes, look_at_weights, &c, err);
    if (code)
        return code;
    make_groups(&c);
    choose_balances(&c, plan->balance);
    q8_quant_wanted(graph, wanted);
    for (int t = 0; t < graph->n_tensors; t++)
        if (wanted[t])
            group_of(&c, t)->wanted = true;
    for (int t = 0; t < graph->n_tensors && !code; t++)
        if (root(&c, t) == t)
            code = choose_sign(&c, t, err);
    fill_plan(&c, wanted, plan, levels);
    return code;
}
