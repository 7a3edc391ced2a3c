/* The rewrite of a graph by a plan of shifts. */
#include "quant/shift.h"

#include <float.h>
#include <string.h>

#include "base/sums.h"
#include "base/thread.h"
#include "ops/affine.h"
#include "ops/conv.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"
#include "quant/shift_roles.h"

/* x becomes sign * x + by. */
struct change {
    float sign, by;
};

struct rewriter {
    q8_graph *graph;
    const q8_shift_plan *plan;
    struct change *change; /* by tensor */
    struct linear *linear; /* those that are moved */
    int n_linear;
};

static const struct change no_change = {1, 0};

static bool is_change(struct change c)
{
    return c.sign != no_change.sign || c.by != no_change.by;
}

int q8_shift_sign(const q8_tensor *tensor)
{
    return tensor->factor && tensor->factor[0] < 0 ? -1 : 1;
}

/* --- what each tensor's change is ------------------------------------------------------------- */

/* A group's c is half of its largest threshold. */
static q8_code set_changes(const struct rewriter *r, float *threshold, q8_err *err)
{
    const int n = r->graph->n_tensors;
    const q8_shift_of *of = r->plan->tensor;
    float *c = q8_arena_array(r->graph->arena, (size_t)n + 1, sizeof(*c)); /* by group */
    if (!c)
        return q8_fail_nomem(err);
    for (int t = 0; t < n; t++)
        if (threshold[t] / 2 > c[of[t].group])
            c[of[t].group] = threshold[t] / 2;
    for (int t = 0; t < n; t++) {
        const float half = c[of[t].group];
        r->change[t] = no_change;
        if (of[t].sign == 0 || half == 0)
            continue;
        r->change[t] = (struct change){(float)of[t].sign, -(float)of[t].sign * half};
        threshold[t] = half;
    }
    return Q8_OK;
}

static float coefficient(const q8_node *sum, int input)
{
    const q8_eltwise_attr *a = sum->attr;
    return a->coeffs.n ? a->coeffs.v[input] : 1;
}

/* The input whose shift is free makes a sum's shifts add up, and has the output's sign. Its group
 * has no other reader that is not a link, so its tensors are all that change. */
static void set_balance(const struct rewriter *r, const q8_node *sum, int free_input)
{
    const struct change out = r->change[sum->out[0]];
    double rest = (double)out.by;
    bool any = is_change(out);
    for (int i = 0; i < sum->n_in; i++) {
        const struct change in = r->change[sum->in[i]];
        if (i == free_input)
            continue;
        any = any || is_change(in);
        rest -= (double)coefficient(sum, i) * (double)(out.sign * in.sign * in.by);
    }
    const float k = coefficient(sum, free_input);
    if (!any)
        return;
    const int group = r->plan->tensor[sum->in[free_input]].group;
    for (int t = 0; t < r->graph->n_tensors; t++)
        if (r->plan->tensor[t].group == group)
            r->change[t] = (struct change){out.sign, (float)(rest / (double)k)};
}

/* --- nodes ------------------------------------------------------------------------------------ */

static float move_bound(float bound, struct change c)
{
    if (bound <= -FLT_MAX || bound >= FLT_MAX)
        return c.sign * bound;
    return c.sign * bound + c.by;
}

static q8_code move_activation(const struct rewriter *r, q8_activation *act, struct change c,
                               q8_err *err)
{
    if (act->type == Q8_ACT_NONE || !is_change(c))
        return Q8_OK;
    const bool is_relu = act->type == Q8_ACT_RELU;
    const float low = move_bound(is_relu ? 0 : act->params.v[0], c);
    const float high = move_bound(is_relu ? FLT_MAX : act->params.v[1], c);
    const float params[] = {c.sign > 0 ? low : high, c.sign > 0 ? high : low};
    return q8_make_activation(r->graph->arena, act, Q8_ACT_CLIP, params, 2) ? Q8_OK
                                                                            : q8_fail_nomem(err);
}

/* A ReLU or clip on its own becomes a clip. */
static q8_code move_clip(const struct rewriter *r, q8_node *node, q8_err *err)
{
    const struct change c = r->change[node->out[0]];
    q8_activation act = {0};
    q8_clip_attr *attr = q8_arena_alloc(r->graph->arena, sizeof(*attr));
    if (!attr || !node->op->as_activation(node, r->graph->arena, &act))
        return q8_fail_nomem(err);
    q8_code code = move_activation(r, &act, c, err);
    if (code || act.type != Q8_ACT_CLIP)
        return code;
    *attr = (q8_clip_attr){.min = act.params.v[0], .max = act.params.v[1]};
    node->op = &q8_op_clip;
    node->attr = attr;
    return Q8_OK;
}

/* A layer with weights that is moved, its memory made but not filled yet. */
struct linear {
    const float *from; /* weights */
    float *to, *bias;  /* to: NULL where the weights stay as they are */
    size_t rows, row;
    struct change in, out;
};

/*
 * With w' = out.sign * in.sign * w, w' * (in.sign * x + in.by) + bias' is out.sign * (w * x + bias)
 * + out.by for bias' = out.sign * bias + out.by - in.by * sum of w'.
 */
static q8_code fill_linear(void *user, int index, q8_err *err)
{
    (void)err;
    const struct linear *l = (const struct linear *)user + index;
    const double sign = l->to ? -1 : 1;
    for (size_t o = 0; o < l->rows; o++) {
        const float *from = l->from + o * l->row;
        const double sum = l->in.by == 0 ? 0 : sign * q8_sum(from, l->row);
        for (size_t i = 0; l->to && i < l->row; i++)
            l->to[o * l->row + i] = -from[i];
        l->bias[o] = (float)((double)(l->out.sign * l->bias[o]) + (double)l->out.by -
                             (double)l->in.by * sum);
    }
    return Q8_OK;
}

/* Adds the layer to those that are to be filled. */
static q8_code move_linear(struct rewriter *r, q8_node *node, q8_err *err)
{
    const struct change in = r->change[node->in[0]], out = r->change[node->out[0]];
    q8_linear view = {0};
    if (!is_change(in) && !is_change(out))
        return Q8_OK;
    node->op->linear(node, &r->graph->tensor[node->in[0]].shape, &view);
    struct linear *l = &r->linear[r->n_linear++];
    const size_t rows = (size_t)view.groups * (size_t)view.outputs, count = node->weight[0].count;
    const bool negated = in.sign * out.sign < 0;
    *l = (struct linear){
        .from = node->weight[0].data, .rows = rows, .row = count / rows, .in = in, .out = out};
    l->bias = q8_own_bias(r->graph->arena, node, &view);
    l->to = negated ? q8_arena_array(r->graph->arena, count, sizeof(*l->to)) : NULL;
    if (!l->bias || (negated && !l->to))
        return q8_fail_nomem(err);
    if (negated)
        node->weight[0].data = l->to;
    if (view.pads && is_change(in)) {
        q8_conv_attr *a = node->attr;
        a->pad_value = in.by; /* of padding with 0, which is all that is shifted */
    }
    return node->op->activation ? move_activation(r, node->op->activation(node), out, err) : Q8_OK;
}

/* The same of y = a * x + b. */
static q8_code move_affine(const struct rewriter *r, q8_node *node, q8_err *err)
{
    const struct change in = r->change[node->in[0]], out = r->change[node->out[0]];
    const size_t n = node->weight[0].count;
    if (!is_change(in) && !is_change(out))
        return Q8_OK;
    float *a = q8_arena_array(r->graph->arena, n, sizeof(*a));
    float *b = q8_arena_array(r->graph->arena, n, sizeof(*b));
    if (!a || !b)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const float before = node->weight[1].count ? node->weight[1].data[i] : 0;
        a[i] = in.sign * out.sign * node->weight[0].data[i];
        b[i] = (float)((double)(out.sign * before) + (double)out.by - (double)in.by * (double)a[i]);
    }
    node->weight[0].data = a;
    node->weight[1] = (q8_weight){b, n};
    ((q8_scale_attr *)node->attr)->bias_term = 1;
    return Q8_OK;
}

/* Coefficients take the changes of sign; the shifts add up. */
static q8_code move_sum(const struct rewriter *r, q8_node *node, q8_err *err)
{
    q8_eltwise_attr *a = node->attr;
    bool any = false;
    float *coeffs = q8_arena_array(r->graph->arena, (size_t)node->n_in, sizeof(*coeffs));
    if (!coeffs)
        return q8_fail_nomem(err);
    for (int i = 0; i < node->n_in; i++) {
        const float sign = r->change[node->out[0]].sign * r->change[node->in[i]].sign;
        coeffs[i] = sign * coefficient(node, i);
        any = any || sign < 0;
    }
    if (any)
        a->coeffs = (q8_floats){.n = node->n_in, .v = coeffs};
    return Q8_OK;
}

static q8_code move_node(struct rewriter *r, q8_node *node, q8_err *err)
{
    q8_shift_role role;
    if (!q8_shift_role_of(r->graph, node, &role))
        return q8_fail_nomem(err);
    switch (role) {
    case Q8_SHIFT_LINEAR:
        return move_linear(r, node, err);
    case Q8_SHIFT_AFFINE:
        return move_affine(r, node, err);
    case Q8_SHIFT_SUMS:
        return move_sum(r, node, err);
    case Q8_SHIFT_LINKS:
        return node->op->as_activation ? move_clip(r, node, err) : Q8_OK;
    case Q8_SHIFT_LINKS_MAX:
    case Q8_SHIFT_STARTS:
    case Q8_SHIFT_BLOCKS:
        break;
    }
    return Q8_OK;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static q8_code mark_tensor(const struct rewriter *r, int t, q8_err *err)
{
    q8_tensor *tensor = &r->graph->tensor[t];
    tensor->shift = r->change[t].sign * tensor->shift + r->change[t].by;
    if (r->change[t].sign > 0)
        return Q8_OK;
    float *factor =
        q8_arena_array(r->graph->arena, (size_t)tensor->shape.dim[0] + 1, sizeof(*factor));
    if (!factor)
        return q8_fail_nomem(err);
    for (int c = 0; c < tensor->shape.dim[0]; c++)
        factor[c] = tensor->factor ? -tensor->factor[c] : -1;
    tensor->factor = factor;
    return Q8_OK;
}

q8_code q8_shift_graph(q8_graph *graph, const q8_shift_plan *plan, float *threshold, int threads,
                       q8_err *err)
{
    struct rewriter r = {.graph = graph, .plan = plan};
    r.change = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*r.change));
    r.linear = q8_arena_array(graph->arena, (size_t)graph->n_nodes + 1, sizeof(*r.linear));
    q8_code code = r.change && r.linear ? set_changes(&r, threshold, err) : q8_fail_nomem(err);
    for (int i = 0; !code && i < graph->n_nodes; i++)
        if (plan->balance[i] != Q8_SHIFT_NO_INPUT)
            set_balance(&r, graph->node[i], plan->balance[i]);
    for (int i = 0; !code && i < graph->n_nodes; i++)
        code = move_node(&r, graph->node[i], err);
    if (!code)
        code = q8_parallel_each(threads, r.n_linear, fill_linear, r.linear, err);
    for (int t = 0; !code && t < graph->n_tensors; t++)
        code = mark_tensor(&r, t, err);
    return code;
}
