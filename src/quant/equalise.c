#include "quant/equalise.h"

#include <math.h>

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

static void set_factors(struct equaliser *e, int group, int quarters)
{
    for (int t = 0; t < e->graph->n_tensors; t++) {
        if (e->group[t] != group)
            continue;
        for (int c = 0; c < channels_of(e, t); c++) {
            const int class = class_of(e, t, c);
            const double size = e->size[class];
            const bool may = size > 0 && !e->classes.pinned[class];
            e->factor[class] = may ? (float)factor_of(size, quarters) : 1;
        }
    }
}

/* What the group's factors have an influence on. */
static double group_error(const struct equaliser *e, int group)
{
    const q8_graph *graph = e->graph;
    double error = 0;
    for (int t = 0; t < graph->n_tensors; t++)
        if (e->group[t] == group && e->cal->stats[t])
            error += q8_error_of_tensor(&e->model, t, e->factor);
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (e->classes.node[i].role == Q8_ROLE_LINEAR && e->cal->stats[node->in[0]] &&
            (e->group[node->in[0]] == group || e->group[node->out[0]] == group))
            error += q8_error_of_weights(&e->model, i, e->factor);
    }
    return error;
}

static void choose_group(struct equaliser *e, int group)
{
    double least = group_error(e, group) * WORTHWHILE;
    int best = 0;
    for (int quarters = 1; quarters <= MOST_QUARTERS; quarters++) {
        set_factors(e, group, quarters);
        const double error = group_error(e, group);
        if (error < least) {
            least = error;
            best = quarters;
        }
    }
    set_factors(e, group, best);
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
    e->factor = q8_arena_array(arena, classes, sizeof(*e->factor));
    if (!first_tensor || !e->group || !e->size || !e->factor)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < classes; i++)
        e->factor[i] = 1;
    find_groups(e, first_tensor);
    for (int t = 0; t < e->graph->n_tensors; t++)
        if (observed[t])
            find_size(e, t);
    return q8_error_model_make(&e->model, e->graph, &e->classes, e->cal, opts, arena, err);
}

q8_code q8_equalise_graph(q8_graph *graph, q8_calibration *cal, const q8_quant_opts *opts,
                          q8_err *err)
{
    struct equaliser e = {.graph = graph, .cal = cal};
    if (cal->n_tensors == 0) /* no int8 layer */
        return Q8_OK;
    q8_arena *arena = q8_arena_open();
    if (!arena)
        return q8_fail_nomem(err);
    q8_code code = open_equaliser(&e, opts, arena, err);
    if (code || e.classes.n == 0)
        goto done;
    for (int t = 0; t < graph->n_tensors; t++)
        if (e.group[t] == t && is_observed(&e, t))
            choose_group(&e, t);
    code = q8_equalise_rewrite(graph, &e.classes, e.factor, err);
    for (int t = 0; t < graph->n_tensors && !code; t++)
        if (cal->stats[t] && graph->tensor[t].factor)
            q8_stats_scale(cal->stats[t], graph->tensor[t].factor);
done:
    q8_arena_close(&arena);
    return code;
}
