/* q8_reach(): layers are left in float, those first that harm the outputs most per multiply-add,
 * until the int8 network is as near the float one as it is to be. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/macs.h"
#include "api/model.h"
#include "base/team.h"

enum {
    RANKED_ON = 32,  /* pictures that each layer's harm is measured on */
    PUT_BACK = 6,    /* layers that are tried in int8 again at the end */
    MOST_TRIES = 96, /* 31 doublings, 31 bisections, PUT_BACK and the first and last */
    STEPS_AFTER = 16 /* about so many models are tried after ranking, for the progress */
};

struct candidate {
    const char *name;
    uint64_t macs;
    double harm; /* to the outputs, with only this layer in int8, per multiply-add */
};

struct search {
    q8_model *model;
    const q8_quant_opts *opts;
    q8_verify_opts on;
    const q8_goals *goals;
    q8_env env; /* for what is done over and over: silent */
    const q8_env *outer;
    q8_arena *arena;
    struct candidate *candidate; /* by falling harm once ranked */
    size_t n;
    const char **names; /* by hand, then those of a try */
    size_t steps;
    double changes, amplitudes; /* sums over what was tried: see expected_agreement() */
    q8_reach_result *result;
    bool *tried; /* the model's: candidates in float */
};

/* --- one try ---------------------------------------------------------------------------------- */

static void count_layers(const q8_graph *graph, q8_trade_off *at)
{
    double all = 0, int8 = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (!node->op->linear || node->n_in == 0)
            continue;
        const double macs = (double)q8_node_macs(node, &graph->tensor[node->in[0]].shape,
                                                 &graph->tensor[node->out[0]].shape);
        all += macs;
        int8 += node->quant ? macs : 0;
        at->n_float += !node->quant;
    }
    at->int8_share = all > 0 ? int8 / all : 0;
}

/* Of the worst output; NaN where no output has the figure. */
static void note_outputs(const q8_verify_result *v, q8_trade_off *at)
{
    at->kl = at->agreement = at->cosine = NAN;
    for (size_t i = 0; i < v->n_outputs; i++) {
        const q8_verify_output *out = &v->output[i];
        at->kl = fmax(at->kl, out->kl);
        at->agreement = fmin(at->agreement, out->agreement);
        at->cosine = fmin(at->cosine, out->cosine);
    }
}

/* How large the errors at the outputs are; divergence grows with their square. */
static double amplitude(const q8_trade_off *at)
{
    return sqrt(fmax(isnan(at->kl) ? 1 - at->cosine : at->kl, 0));
}

/*
 * A picture changes its class where the two largest outputs are nearer to each other than the
 * errors are large. Pictures with any small distance are about equally many, so that the share that
 * changes is proportional to the errors' amplitude. One factor for all that was tried tells it more
 * exactly than the few pictures that change in a single model.
 */
static double expected_agreement(const struct search *s, const q8_trade_off *at)
{
    return s->amplitudes > 0 ? 1 - s->changes / s->amplitudes * amplitude(at) : 1;
}

static bool meets(const struct search *s, const q8_trade_off *at)
{
    const q8_goals *goals = s->goals;
    return (goals->max_kl == 0 || at->kl <= goals->max_kl) &&
           (goals->min_cosine == 0 || at->cosine >= goals->min_cosine) &&
           (goals->min_agreement == 0 || (at->agreement >= goals->min_agreement &&
                                          expected_agreement(s, at) >= goals->min_agreement));
}

static void advance(struct search *s, size_t total)
{
    s->steps++;
    if (s->outer && s->outer->progress)
        s->outer->progress(s->outer->user, "search", s->steps < total ? s->steps : total, total);
}

/* Quantises with some candidates in float and compares. @param in_float NULL: none */
static q8_code run(struct search *s, const bool *in_float, const q8_quant_opts *how,
                   const q8_verify_opts *on, q8_verify_result *verified, q8_err *err)
{
    q8_quant_opts opts = *how;
    opts.keep_float = s->names;
    opts.n_for_accuracy = 0;
    for (size_t i = 0; i < s->n && in_float; i++)
        if (in_float[i])
            s->names[s->opts->n_keep_float + opts.n_for_accuracy++] = s->candidate[i].name;
    opts.n_keep_float += opts.n_for_accuracy;
    q8_code code = q8_quantize(s->model, &opts, in_float ? &s->env : s->outer, err);
    if (!code && on)
        code = q8_verify(s->model, on, &s->env, verified, err);
    return code;
}

/* The same, as a point of the curve. */
static q8_code try(struct search *s, const bool *in_float, bool *met, q8_err *err)
{
    q8_verify_result verified = {0};
    q8_trade_off *at = &s->result->curve[s->result->n_curve];
    q8_code code = run(s, in_float, s->opts, &s->on, &verified, err);
    if (!code) {
        *at = (q8_trade_off){0};
        count_layers(s->model->int8, at);
        note_outputs(&verified, at);
        s->result->used = verified.used;
        if (!isnan(at->agreement)) {
            s->changes += 1 - at->agreement;
            s->amplitudes += amplitude(at);
        }
        *met = meets(s, at);
        /* A team of different processors must not take different decisions. */
        code = q8_team_broadcast(&s->env, Q8_OK, at, sizeof(*at), err);
        code = q8_team_broadcast(&s->env, code, met, sizeof(*met), err);
        s->result->chosen = s->result->n_curve++;
        if (in_float)
            memcpy(s->tried, in_float, s->n * sizeof(*in_float));
        advance(s, s->n + STEPS_AFTER);
    }
    q8_verify_free(&verified);
    return code;
}

/* --- ranking ---------------------------------------------------------------------------------- */

static q8_code find_candidates(struct search *s, q8_err *err)
{
    const q8_graph *graph = s->model->int8;
    s->candidate = q8_arena_array(s->arena, (size_t)graph->n_nodes + 1, sizeof(*s->candidate));
    if (!s->candidate)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (node->quant)
            s->candidate[s->n++] = (struct candidate){
                .name = s->model->graph->node[i]->name,
                .macs = q8_node_macs(node, &graph->tensor[node->in[0]].shape,
                                     &graph->tensor[node->out[0]].shape),
            };
    }
    s->tried = q8_arena_array(s->arena, s->n + 1, sizeof(*s->tried));
    return s->tried ? Q8_OK : q8_fail_nomem(err);
}

/* Divergence where there are distributions, else noise to signal. Both are about proportional to
 * the power of a layer's errors, so that those of several layers add up. */
static double harm_of(const q8_verify_result *v)
{
    double sum = 0;
    for (size_t i = 0; i < v->n_outputs; i++)
        sum += isnan(v->output[i].kl) ? pow(10, -v->output[i].sqnr / 10) : fmax(v->output[i].kl, 0);
    return sum;
}

static int by_harm(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->harm != y->harm ? (x->harm < y->harm) - (x->harm > y->harm)
                              : strcmp(x->name, y->name);
}

/* Each layer as the only one in int8, without refinement, which would not change the order much. */
static q8_code rank(struct search *s, q8_err *err)
{
    q8_quant_opts how = *s->opts;
    q8_verify_opts on = s->on;
    bool *others = q8_arena_array(s->arena, s->n + 1, sizeof(*others));
    q8_code code = others ? Q8_OK : q8_fail_nomem(err);
    how.pictures = NULL;
    if (on.pictures.limit == 0 || on.pictures.limit > RANKED_ON)
        on.pictures.limit = RANKED_ON;
    for (size_t i = 0; i < s->n && !code; i++) {
        q8_verify_result verified = {0};
        for (size_t k = 0; k < s->n; k++)
            others[k] = k != i;
        code = run(s, others, &how, &on, &verified, err);
        s->candidate[i].harm = harm_of(&verified) / fmax((double)s->candidate[i].macs, 1);
        code = q8_team_broadcast(&s->env, code, &s->candidate[i].harm, sizeof(double), err);
        q8_verify_free(&verified);
        advance(s, s->n + STEPS_AFTER);
    }
    if (!code)
        qsort(s->candidate, s->n, sizeof(*s->candidate), by_harm);
    return code;
}

/* --- the search ------------------------------------------------------------------------------- */

static q8_code try_first(struct search *s, bool *in_float, size_t count, bool *met, q8_err *err)
{
    for (size_t i = 0; i < s->n; i++)
        in_float[i] = i < count;
    return try(s, in_float, met, err);
}

/* The least number of layers in float, in order of harm, that meets the goals: in doubling steps,
 * then between the last two. Accuracy need not grow with each layer; what is found was measured. */
static q8_code find_count(struct search *s, bool *in_float, size_t *count, q8_err *err)
{
    const size_t most = s->n - 1;
    size_t below = 0, enough = 1;
    bool met = false;
    q8_code code = Q8_OK;
    for (;;) {
        enough = enough < most ? enough : most;
        code = try_first(s, in_float, enough, &met, err);
        if (code || met || enough == most)
            break;
        below = enough;
        enough *= 2;
    }
    s->result->met = met;
    while (!code && s->result->met && enough - below > 1) {
        const size_t middle = below + (enough - below) / 2;
        code = try_first(s, in_float, middle, &met, err);
        if (met)
            enough = middle;
        else
            below = middle;
    }
    *count = enough;
    return code;
}

/* The largest layer in float that has not been looked at; n: none. */
static size_t largest(const struct search *s, const bool *in_float, const bool *seen)
{
    size_t best = s->n;
    for (size_t i = 0; i < s->n; i++)
        if (in_float[i] && !seen[i] &&
            (best == s->n || s->candidate[i].macs > s->candidate[best].macs))
            best = i;
    return best;
}

/* Layers that need not be in float after all, as others are. */
static q8_code put_back(struct search *s, bool *in_float, q8_err *err)
{
    bool *seen = q8_arena_array(s->arena, s->n + 1, sizeof(*seen));
    q8_code code = seen ? Q8_OK : q8_fail_nomem(err);
    for (int k = 0; k < PUT_BACK && !code; k++) {
        const size_t i = largest(s, in_float, seen);
        bool met = false;
        if (i == s->n)
            break;
        seen[i] = true;
        in_float[i] = false;
        code = try(s, in_float, &met, err);
        in_float[i] = !met;
    }
    return code;
}

static q8_code search(struct search *s, q8_err *err)
{
    size_t count;
    bool *in_float = q8_arena_array(s->arena, s->n + 1, sizeof(*in_float));
    q8_code code = in_float ? rank(s, err) : q8_fail_nomem(err);
    if (!code)
        code = find_count(s, in_float, &count, err);
    for (size_t i = 0; i < s->n && !code; i++)
        in_float[i] = i < count;
    if (!code && s->result->met && count > 1)
        code = put_back(s, in_float, err);
    /* The last that was tried need not be the one. */
    bool met;
    if (!code && memcmp(in_float, s->tried, s->n * sizeof(*in_float)) != 0)
        code = try(s, in_float, &met, err);
    return code;
}

/* --- around it -------------------------------------------------------------------------------- */

static int by_share(const void *a, const void *b)
{
    const q8_trade_off *x = a, *y = b;
    if (x->int8_share != y->int8_share)
        return (x->int8_share < y->int8_share) - (x->int8_share > y->int8_share);
    return (x->n_float > y->n_float) - (x->n_float < y->n_float);
}

/* The same model twice is one point. */
static void finish_curve(q8_reach_result *r)
{
    const q8_trade_off chosen = r->curve[r->chosen];
    size_t n = 0;
    qsort(r->curve, r->n_curve, sizeof(*r->curve), by_share);
    for (size_t i = 0; i < r->n_curve; i++)
        if (n == 0 || by_share(&r->curve[n - 1], &r->curve[i]) != 0 ||
            r->curve[n - 1].cosine != r->curve[i].cosine)
            r->curve[n++] = r->curve[i];
    r->n_curve = n;
    for (size_t i = n; i-- > 0;)
        if (by_share(&r->curve[i], &chosen) == 0 && r->curve[i].cosine == chosen.cosine)
            r->chosen = i;
}

/* A goal that no output has a figure for is a mistake. */
static q8_code check_goals(const q8_goals *goals, const q8_trade_off *at, q8_err *err)
{
    if (goals->max_kl > 0 && isnan(at->kl))
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "no output is a Softmax's, so there is no KL divergence to limit");
    if (goals->min_agreement > 0 && isnan(at->agreement))
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "no output has classes, so there is no agreement to ask for");
    return Q8_OK;
}

static q8_code reach(struct search *s, q8_err *err)
{
    const size_t nodes = (size_t)s->model->graph->n_nodes;
    s->result->curve = q8_arena_array(s->arena, MOST_TRIES, sizeof(*s->result->curve));
    s->names = q8_arena_array(s->arena, s->opts->n_keep_float + nodes + 1, sizeof(*s->names));
    if (!s->result->curve || !s->names)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < s->opts->n_keep_float; i++)
        s->names[i] = s->opts->keep_float[i];
    q8_code code = try(s, NULL, &s->result->met, err);
    if (!code)
        code = check_goals(s->goals, s->result->curve, err);
    if (!code && !s->result->met)
        code = find_candidates(s, err);
    if (!code && !s->result->met && s->n > 1)
        code = search(s, err);
    if (!code)
        finish_curve(s->result);
    return code;
}

q8_code q8_reach(q8_model *model, const q8_quant_opts *opts, const q8_verify_opts *on,
                 const q8_goals *goals, const q8_env *env, q8_reach_result *result, q8_err *err)
{
    *result = (q8_reach_result){0};
    if (opts->table || opts->compat)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "an accuracy can be reached only where scales are chosen: not with a table "
                       "or those of an older tool");
    struct search s = {.model = model,
                       .opts = opts,
                       .on = *on,
                       .goals = goals,
                       .outer = env,
                       .result = result,
                       .arena = q8_arena_open()};
    if (!s.arena)
        return q8_agree(env, q8_fail_nomem(err), err);
    s.on.outputs_only = true;
    s.on.labels = NULL;
    if (env)
        s.env = (q8_env){.user = env->user,
                         .warn = env->warn,
                         .cancel = env->cancel,
                         .threads = env->threads,
                         .team = env->team};
    result->memory = s.arena;
    return q8_agree(env, reach(&s, err), err);
}

void q8_reach_free(q8_reach_result *result)
{
    q8_arena *arena = result->memory;
    q8_arena_close(&arena);
    *result = (q8_reach_result){0};
}
