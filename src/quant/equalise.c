#include "quant/equalise.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "calib/threshold.h"
#include "quant/equalise_error.h"
#include "quant/equalise_rewrite.h"

/* How far small channels are raised: factors are (largest / own)^(quarters / 4). */
enum { MOST_QUARTERS = 3 };

/* The error that a group's factors must leave at most, of that without them. */
#define WORTHWHILE 0.98

struct equaliser {
    q8_graph *graph;
    const q8_calibration *cal;
    q8_channel_classes classes;
    q8_error_model model;
    /* By tensor: its group, which is the number of one of its tensors. The tensors of a group have
     * classes in common, directly or through others. */
    int *group;
    double *size;  /* by class: its largest |x|, of that of the tensor's largest channel */
    float *factor; /* by class */
    const q8_trials *trials;
    const double **effect; /* by tensor, by channel */
    int threads;
};

static int channels_of(const struct equaliser *e, int tensor)
{
    return e->graph->tensor[tensor].shape.dim[0];
}

static int class_of(const struct equaliser *e, int tensor, int channel)
{
    return e->classes.of[e->classes.first[tensor] + channel];
}

static void find_groups(struct equaliser *e, int *first_tensor)
{
    int *of = e->group;
    for (int t = 0; t < e->graph->n_tensors; t++)
        of[t] = t;
    for (int i = 0; i < e->classes.n; i++)
        first_tensor[i] = -1;
    for (int t = 0; t < e->graph->n_tensors; t++)
        for (int c = 0; c < channels_of(e, t); c++) {
            int *first = &first_tensor[class_of(e, t, c)];
            if (*first < 0)
                *first = t;
            q8_set_join(of, *first, t);
        }
    for (int t = 0; t < e->graph->n_tensors; t++)
        of[t] = q8_set_find(of, t);
}

/* A tensor has one scale: its channels' sizes count relative to the largest of them. */
static void find_size(struct equaliser *e, int tensor)
{
    const float *absmax = e->cal->stats[tensor]->channel_absmax;
    const int channels = channels_of(e, tensor);
    double largest = 0;
    for (int c = 0; c < channels; c++)
        largest = fmax(largest, (double)absmax[c]);
    for (int c = 0; c < channels && largest > 0; c++) {
        double *size = &e->size[class_of(e, tensor, c)];
        *size = fmax(*size, (double)absmax[c] / largest);
    }
}

/* Square roots are the same on every processor, powers are not. */
static double factor_of(double size, int quarters)
{
    const double fourth = sqrt(sqrt(1 / size));
    double factor = 1;
    for (int i = 0; i < quarters; i++)
        factor *= fourth;
    return fmin(factor, Q8_MOST_FACTOR);
}

static void set_factors(const struct equaliser *e, int group, int quarters, float *factor)
{
    for (int t = 0; t < e->graph->n_tensors; t++) {
        if (e->group[t] != group)
            continue;
        for (int c = 0; c < channels_of(e, t); c++) {
            const int class = class_of(e, t, c);
            const double size = e->size[class];
            const bool may = size > 0 && !e->classes.pinned[class];
            factor[class] = may ? (float)factor_of(size, quarters) : 1;
        }
    }
}

/* --- what factors cost ------------------------------------------------------------------------ */

/* The factors of a tensor's channels, into `*memory`, which moves on. */
static const float *factors_of(const struct equaliser *e, int tensor, const float *factor,
                               float **memory)
{
    float *own = *memory;
    for (int c = 0; c < channels_of(e, tensor); c++)
        own[c] = factor[class_of(e, tensor, c)];
    *memory += channels_of(e, tensor);
    return own;
}

static bool reads(const struct equaliser *e, int node, int tensor)
{
    return e->classes.node[node].role == Q8_ROLE_LINEAR && e->graph->node[node]->in[0] == tensor;
}

/* The least error of a tensor's readers, near the threshold that is estimated to be best. */
static q8_code try_readers(const struct equaliser *e, int tensor, const float *factor,
                           double threshold, double *error, q8_err *err)
{
    const q8_graph *graph = e->graph;
    size_t channels = (size_t)channels_of(e, tensor) + 1;
    for (int i = 0; i < graph->n_nodes; i++)
        if (reads(e, i, tensor))
            channels += (size_t)channels_of(e, graph->node[i]->out[0]);
    float *memory = malloc(channels * sizeof(*memory)), *at = memory;
    const float **of = calloc((size_t)graph->n_tensors + 1, sizeof(*of));
    q8_readers readers = {0};
    q8_code code = memory && of ? Q8_OK : q8_fail_nomem(err);
    if (!code) {
        of[tensor] = factors_of(e, tensor, factor, &at);
        for (int i = 0; i < graph->n_nodes; i++)
            if (reads(e, i, tensor))
                of[graph->node[i]->out[0]] = factors_of(e, graph->node[i]->out[0], factor, &at);
        code = q8_readers_open(&readers, e->trials, graph, tensor, of, e->effect, err);
    }
    const int levels = e->model.steps[tensor] == 254 ? Q8_LEVELS_SHIFTED : Q8_LEVELS_SIGNED;
    const float thresholds[] = {(float)threshold, (float)threshold * 1.25f};
    double errors[2];
    if (!code)
        code = q8_readers_errors(&readers, thresholds, 2, levels, errors, err);
    if (!code)
        *error += fmin(errors[0], errors[1]);
    q8_readers_close(&readers);
    free(memory);
    free(of);
    return code;
}

/* What rounding and clipping the tensor does, with what rounding its readers' weights does. */
static q8_code tensor_error(const struct equaliser *e, int tensor, const float *factor,
                            double *error, q8_err *err)
{
    double threshold;
    const double estimate = q8_error_of_tensor(&e->model, tensor, factor, &threshold);
    if (threshold > 0 && q8_trials_have_readers(e->trials, e->graph, tensor))
        return try_readers(e, tensor, factor, threshold, error, err);
    *error += estimate;
    q8_code code = Q8_OK;
    for (int i = 0; i < e->graph->n_nodes && !code; i++)
        if (reads(e, i, tensor))
            code = q8_error_of_weights(&e->model, i, factor, error, err);
    return code;
}

/* What the group's factors have an influence on. */
static q8_code group_error(const struct equaliser *e, int group, const float *factor, double *error,
                           q8_err *err)
{
    const q8_graph *graph = e->graph;
    q8_code code = Q8_OK;
    *error = 0;
    for (int t = 0; t < graph->n_tensors && !code; t++)
        if (e->group[t] == group && e->cal->stats[t])
            code = tensor_error(e, t, factor, error, err);
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        const q8_node *node = graph->node[i];
        if (e->classes.node[i].role == Q8_ROLE_LINEAR && e->cal->stats[node->in[0]] &&
            e->group[node->in[0]] != group && e->group[node->out[0]] == group)
            code = q8_error_of_weights(&e->model, i, factor, error, err);
    }
    return code;
}

/* --- choosing --------------------------------------------------------------------------------- */

struct choosing {
    const struct equaliser *e;
    int group;
    double error[MOST_QUARTERS + 1];
    atomic_int next; /* quarters */
};

static q8_code try_quarters(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct choosing *c = user;
    const size_t size = (size_t)c->e->classes.n * sizeof(float);
    float *factor = malloc(size);
    q8_code code = factor ? Q8_OK : q8_fail_nomem(err);
    for (int i; !code && (i = atomic_fetch_add(&c->next, 1)) <= MOST_QUARTERS;) {
        memcpy(factor, c->e->factor, size);
        set_factors(c->e, c->group, i, factor);
        code = group_error(c->e, c->group, factor, &c->error[i], err);
    }
    free(factor);
    return code;
}

static q8_code choose_group(struct equaliser *e, int group, q8_err *err)
{
    struct choosing c = {.e = e, .group = group};
    atomic_init(&c.next, 0);
    const q8_code code = q8_parallel(e->threads, try_quarters, &c, err);
    double least = c.error[0] * WORTHWHILE;
    int best = 0;
    for (int i = 1; i <= MOST_QUARTERS; i++)
        if (c.error[i] < least) {
            least = c.error[i];
            best = i;
        }
    set_factors(e, group, best, e->factor);
    return code;
}

static bool is_observed(const struct equaliser *e, int group)
{
    for (int t = 0; t < e->graph->n_tensors; t++)
        if (e->group[t] == group && e->cal->stats[t])
            return true;
    return false;
}

static q8_code open_equaliser(struct equaliser *e, const q8_quant_opts *opts, q8_arena *arena,
                              q8_err *err)
{
    const size_t tensors = (size_t)e->graph->n_tensors + 1;
    bool *observed = q8_arena_array(arena, tensors, sizeof(*observed));
    if (!observed)
        return q8_fail_nomem(err);
    for (int t = 0; t < e->graph->n_tensors; t++)
        observed[t] = e->cal->stats[t] != NULL;
    q8_code code = q8_channel_classes_find(&e->classes, e->graph, observed, arena, err);
    if (code || e->classes.n == 0)
        return code;
    const size_t classes = (size_t)e->classes.n;
    int *first_tensor = q8_arena_array(arena, classes, sizeof(*first_tensor));
    e->group = q8_arena_array(arena, tensors, sizeof(*e->group));
    e->size = q8_arena_array(arena, classes, sizeof(*e->size));
    e->effect = q8_arena_array(arena, tensors, sizeof(*e->effect));
    e->factor = q8_arena_array(arena, classes, sizeof(*e->factor));
    if (!first_tensor || !e->group || !e->size || !e->factor || !e->effect)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < classes; i++)
        e->factor[i] = 1;
    find_groups(e, first_tensor);
    for (int t = 0; t < e->graph->n_tensors; t++)
        if (observed[t])
            find_size(e, t);
    code =
        q8_error_model_make(&e->model, e->graph, &e->classes, e->cal, opts, e->threads, arena, err);
    for (int t = 0; t < e->graph->n_tensors && !code; t++)
        e->effect[t] = e->model.effect + e->classes.first[t];
    return code;
}

static q8_code scale_stats(void *user, int tensor, q8_err *err)
{
    (void)err;
    const struct equaliser *e = user;
    const float *factor = e->graph->tensor[tensor].factor;
    if (e->cal->stats[tensor] && factor)
        q8_stats_scale(e->cal->stats[tensor], factor);
    return Q8_OK;
}

q8_code q8_equalise_graph(q8_graph *graph, q8_calibration *cal, const q8_trials *trials,
                          const q8_quant_opts *opts, const q8_env *env, q8_err *err)
{
    struct equaliser e = {
        .graph = graph, .cal = cal, .trials = trials, .threads = q8_thread_count(env)};
    if (cal->n_tensors == 0) /* no int8 layer */
        return Q8_OK;
    q8_arena *arena = q8_arena_open();
    if (!arena)
        return q8_fail_nomem(err);
    q8_code code = open_equaliser(&e, opts, arena, err);
    if (code || e.classes.n == 0)
        goto done;
    for (int t = 0; t < graph->n_tensors && !code; t++)
        if (e.group[t] == t && is_observed(&e, t))
            code = choose_group(&e, t, err);
    if (!code)
        code = q8_equalise_rewrite(graph, &e.classes, e.factor, e.threads, err);
    if (!code)
        code = q8_parallel_each(e.threads, graph->n_tensors, scale_stats, &e, err);
done:
    q8_arena_close(&arena);
    return code;
}
