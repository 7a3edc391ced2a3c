#include "quant/equalise_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "base/sums.h"
#include "base/thread.h"
#include "quant/quant.h"

/* --- forwards: power ------------------------------------------------------------------------ */

static int channels_of(const q8_error_model *m, int tensor)
{
    return m->graph->tensor[tensor].shape.dim[0];
}

static double spatial_of(const q8_error_model *m, int tensor)
{
    return (double)q8_shape_spatial(&m->graph->tensor[tensor].shape);
}

static double mean_of(const q8_error_model *m, const double *values, int tensor)
{
    const int channels = channels_of(m, tensor);
    double sum = 0;
    for (int c = 0; c < channels; c++)
        sum += values[m->classes->first[tensor] + c];
    return channels ? sum / channels : 0;
}

/* A larger output (a deconvolution's): each of its elements gets a part of the weights. */
static double part_of_taps(const q8_error_model *m, const q8_node *node)
{
    const double part = spatial_of(m, node->in[0]) / spatial_of(m, node->out[0]);
    return node->op->type[0] == 'D' && part < 1 ? part : 1;
}

/* The part of an output channel's elements through which changes pass. */
static double active_part(const q8_error_model *m, q8_node *node, int channel)
{
    const q8_activation *act = node->op->activation ? node->op->activation(node) : NULL;
    const q8_channel_values *values = m->values[channel];
    if (!act || act->type != Q8_ACT_RELU)
        return 1;
    if (!values || values->curve.values == 0)
        return 0.5;
    return values->curve.count[Q8_CHANNEL_BINS] / values->curve.values;
}

/* An averaging layer evens out what differs from element to element. */
static double averaging_gain(const q8_error_model *m, const q8_node *node)
{
    q8_shape in = m->graph->tensor[node->in[0]].shape;
    if (node->n_in != 1)
        return 1;
    const q8_channel_rule rule = node->op->channels(node, &in);
    const double gain = spatial_of(m, node->out[0]) / spatial_of(m, node->in[0]);
    return (rule == Q8_CHANNELS_MEAN || rule == Q8_CHANNELS_LINEAR) && gain < 1 ? gain : 1;
}

/* A layer with weights, as work for several threads. */
struct linear {
    q8_error_model *model;
    q8_node *node;
    const q8_linear *view;
    const q8_weight_parts *parts;
    int blocks; /* of inputs, in a group */
};

enum { INPUT_BLOCK = 64, OUTPUT_BLOCK = 16 };

/* On one block of outputs. */
static q8_code output_power(void *user, int item, q8_err *err)
{
    const struct linear *l = user;
    q8_error_model *m = l->model;
    const q8_linear *view = l->view;
    const int first = m->classes->first[l->node->out[0]], outputs = view->groups * view->outputs;
    const int begin = item * OUTPUT_BLOCK;
    const int end = begin + OUTPUT_BLOCK < outputs ? begin + OUTPUT_BLOCK : outputs;
    const size_t inputs = (size_t)view->inputs;
    float *room = malloc((q8_weight_row_room(l->parts) + 1) * sizeof(*room));
    if (!room)
        return q8_fail_nomem(err);
    for (int o = begin; o < end; o++) {
        const double *from =
            m->power + m->classes->first[l->node->in[0]] + o / view->outputs * view->inputs;
        const q8_weight_row row = q8_weight_row_of(l->parts, (size_t)o, 0, inputs, room);
        m->power[first + o] = q8_dot(from, row.power, inputs) * part_of_taps(m, l->node) *
                              active_part(m, l->node, first + o);
    }
    free(room);
    return Q8_OK;
}

static q8_code linear_power(q8_error_model *m, int index, q8_err *err)
{
    const q8_linear *view = &m->classes->node[index].view;
    struct linear l = {
        .model = m, .node = m->graph->node[index], .view = view, .parts = &m->parts[index]};
    const int blocks = (view->groups * view->outputs + OUTPUT_BLOCK - 1) / OUTPUT_BLOCK;
    return q8_parallel_each(m->threads, blocks, output_power, &l, err);
}

static void add_each(double *to, int channels, const double *from, double gain)
{
    for (int c = 0; c < channels; c++)
        to[c] += gain * from[c];
}

static void add_one(double *to, int channels, double x)
{
    for (int c = 0; c < channels; c++)
        to[c] += x;
}

static q8_code node_power(q8_error_model *m, int index, q8_err *err)
{
    q8_node *node = m->graph->node[index];
    const q8_channel_node *info = &m->classes->node[index];
    const int *first = m->classes->first;
    if (info->role == Q8_ROLE_LINEAR)
        return linear_power(m, index, err);
    for (int i = 0; i < info->n_moves; i++)
        m->power[info->move[i].to] += (double)info->move[i].share * m->power[info->move[i].from];
    if (info->role == Q8_ROLE_MOVE)
        return Q8_OK;
    for (int k = 0; k < node->n_out; k++) {
        double *out = &m->power[first[node->out[k]]];
        const int channels = channels_of(m, node->out[k]);
        for (int c = 0; c < channels; c++)
            out[c] = node->n_in == 0 ? 1 : 0;
        for (int i = 0; i < node->n_in; i++)
            if (info->role == Q8_ROLE_SAME)
                add_each(out, channels, &m->power[first[node->in[i]]], 1);
            else
                add_one(out, channels, mean_of(m, m->power, node->in[i]));
    }
    return Q8_OK;
}

static void observed_power(q8_error_model *m, int tensor)
{
    const int first = m->classes->first[tensor];
    for (int c = first; c < first + channels_of(m, tensor); c++)
        if (m->values[c])
            m->power[c] = m->values[c]->power;
}

/* --- backwards: effect ---------------------------------------------------------------------- */

static bool can_be_int8(const q8_node *node)
{
    return node->op->linear && node->op->set_int8 && node->n_in > 0;
}

/* Adds `by` times what an output's weights do to errors of their inputs. */
Q8_SIMD_CLONES
static void add_effect(double *restrict effect, double *restrict clipping, double by,
                       const q8_weight_row *row, int n)
{
    const float *power = row->power, *sum = row->sum;
    for (int i = 0; i < n; i++) {
        const double square = (double)sum[i] * (double)sum[i];
        effect[i] += by * (double)power[i];
        clipping[i] += by * ((double)power[i] + square) / 2;
    }
}

/*
 * On one block of inputs. Errors of rounding are independent of each other. Those of clipping have
 * one sign, and where one value is clipped its neighbours tend to be: half-way between independent
 * and equal.
 */
static q8_code input_effect(void *user, int item, q8_err *err)
{
    (void)err;
    const struct linear *l = user;
    q8_error_model *m = l->model;
    const q8_linear *view = l->view;
    const int group = item / l->blocks, begin = item % l->blocks * INPUT_BLOCK;
    const int n = view->inputs - begin < INPUT_BLOCK ? view->inputs - begin : INPUT_BLOCK;
    const int from = m->classes->first[l->node->in[0]] + group * view->inputs + begin;
    const int out = m->classes->first[l->node->out[0]];
    const double part = part_of_taps(m, l->node);
    double effect[INPUT_BLOCK] = {0}, clipping[INPUT_BLOCK] = {0};
    float room[2 * INPUT_BLOCK];
    for (int o = group * view->outputs; o < (group + 1) * view->outputs; o++) {
        const double by = m->effect[out + o] * active_part(m, l->node, out + o) * part;
        const q8_weight_row row =
            q8_weight_row_of(l->parts, (size_t)o, (size_t)begin, (size_t)n, room);
        add_effect(effect, clipping, by, &row, n);
    }
    const bool int8 = can_be_int8(l->node);
    for (int i = 0; i < n; i++) {
        m->effect[from + i] += effect[i];
        m->rounding[from + i] += int8 ? effect[i] : 0;
        m->clipping[from + i] += int8 ? clipping[i] : 0;
    }
    return Q8_OK;
}

static q8_code linear_effect(q8_error_model *m, int index, q8_err *err)
{
    const q8_linear *view = &m->classes->node[index].view;
    struct linear l = {
        .model = m, .node = m->graph->node[index], .view = view, .parts = &m->parts[index]};
    l.blocks = (view->inputs + INPUT_BLOCK - 1) / INPUT_BLOCK;
    return q8_parallel_each(m->threads, view->groups * l.blocks, input_effect, &l, err);
}

static q8_code node_effect(q8_error_model *m, int index, q8_err *err)
{
    q8_node *node = m->graph->node[index];
    const q8_channel_node *info = &m->classes->node[index];
    const int *first = m->classes->first;
    if (info->role == Q8_ROLE_LINEAR)
        return linear_effect(m, index, err);
    for (int i = 0; i < info->n_moves; i++)
        m->effect[info->move[i].from] += (double)info->move[i].share * m->effect[info->move[i].to];
    if (info->role == Q8_ROLE_MOVE)
        return Q8_OK;
    for (int i = 0; i < node->n_in; i++) {
        double *effect = &m->effect[first[node->in[i]]];
        const int channels = channels_of(m, node->in[i]);
        if (info->role == Q8_ROLE_SAME)
            add_each(effect, channels, &m->effect[first[node->out[0]]], averaging_gain(m, node));
        for (int k = 0; info->role != Q8_ROLE_SAME && k < node->n_out; k++)
            add_one(effect, channels, mean_of(m, m->effect, node->out[k]));
    }
    return Q8_OK;
}

/* --- errors --------------------------------------------------------------------------------- */

static double factor_of(const q8_error_model *m, const float *factor, int channel)
{
    return (double)factor[m->classes->of[channel]];
}

/* At one threshold. */
static double tensor_error(const q8_error_model *m, int tensor, const float *factor,
                           double threshold)
{
    const int first = m->classes->first[tensor];
    double sum = 0;
    for (int c = first; c < first + channels_of(m, tensor); c++) {
        const q8_curve_errors e = q8_channel_curve_errors(
            &m->values[c]->curve, threshold / factor_of(m, factor, c), m->steps[tensor]);
        sum += m->rounding[c] * e.rounding + m->clipping[c] * e.clipping;
    }
    return sum;
}

/* Thresholds from `*threshold` down, by `by` each. @return the least error, with its threshold */
static double search(const q8_error_model *m, int tensor, const float *factor, int n, double by,
                     double *threshold)
{
    double at = *threshold, least = HUGE_VAL;
    for (int i = 0; i < n; i++, at *= by) {
        const double error = tensor_error(m, tensor, factor, at);
        if (error < least) {
            least = error;
            *threshold = at;
        }
    }
    return least;
}

double q8_error_of_tensor(const q8_error_model *model, int tensor, const float *factor,
                          double *threshold)
{
    const double sqrt_half = 0.70710678118654757, eighth = 0.91700404320467123; /* of an octave */
    const int first = model->classes->first[tensor];
    *threshold = 0;
    for (int c = first; c < first + channels_of(model, tensor); c++)
        *threshold = fmax(*threshold, factor_of(model, factor, c) * model->values[c]->absmax);
    search(model, tensor, factor, 12, sqrt_half, threshold);
    *threshold /= eighth * eighth * eighth;
    return search(model, tensor, factor, 7, eighth, threshold);
}

/* --- rounded weights ------------------------------------------------------------------------ */

/* Of each input: 1 / factor, factor^2, variance. */
struct inputs {
    const float *inverse, *square, *variance;
};

static struct inputs inputs_of(const q8_error_model *m, int tensor, const float *factor,
                               float *room)
{
    const size_t n = (size_t)channels_of(m, tensor);
    float *inverse = room, *square = inverse + n, *variance = square + n;
    for (size_t i = 0; i < n; i++) {
        const int channel = m->classes->first[tensor] + (int)i;
        const double s = factor_of(m, factor, channel);
        inverse[i] = (float)(1 / s);
        square[i] = (float)(s * s);
        variance[i] = (float)m->values[channel]->variance;
    }
    return (struct inputs){inverse, square, variance};
}

enum { LANES = 16 };

/* A row's weights with the factors on: what its scale depends on. */
struct row {
    float largest, total; /* of |w| */
};

Q8_SIMD_CLONES
static struct row measure_row(const q8_weight_row *p, const float *inverse, int n)
{
    float largest[LANES] = {0}, total[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const float scaled = p->largest[i + k] * inverse[i + k];
            largest[k] = scaled > largest[k] ? scaled : largest[k];
            total[k] += p->total[i + k] * inverse[i + k];
        }
    for (int k = 0; i < n; i++, k++) {
        const float scaled = p->largest[i] * inverse[i];
        largest[k] = scaled > largest[k] ? scaled : largest[k];
        total[k] += p->total[i] * inverse[i];
    }
    struct row row = {0, 0};
    for (int k = 0; k < LANES; k++) {
        row.largest = largest[k] > row.largest ? largest[k] : row.largest;
        row.total += total[k];
    }
    return row;
}

/* Error power of an output whose weights are rounded, each with an error power of `rounded`; those
 * that are smaller than it are dropped. */
Q8_SIMD_CLONES
static float row_error(const q8_weight_row *p, const struct inputs *in, int first, int n,
                       float rounded)
{
    const float *square = in->square + first, *variance = in->variance + first;
    float lane[LANES] = {0}, sum = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const float r = rounded * square[i + k], dropped = p->power[i + k];
            lane[k] += (r < dropped ? r : dropped) * variance[i + k];
        }
    for (int k = 0; i < n; i++, k++) {
        const float r = rounded * square[i];
        lane[k] += (r < p->power[i] ? r : p->power[i]) * variance[i];
    }
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

/* Rows that share a scale: their factors on the output side count too. */
static int rows_together(const q8_error_model *m, const q8_node *node, const q8_linear *view)
{
    if (m->per_layer)
        return view->groups * view->outputs;
    return strcmp(node->op->type, "ConvolutionDepthWise") ? 1 : view->outputs;
}

q8_code q8_error_of_weights(const q8_error_model *model, int index, const float *factor,
                            double *error, q8_err *err)
{
    q8_node *node = model->graph->node[index];
    const q8_linear *view = &model->classes->node[index].view;
    const int out = model->classes->first[node->out[0]], n = view->inputs;
    const int outputs = view->groups * view->outputs, together = rows_together(model, node, view);
    const size_t channels = (size_t)channels_of(model, node->in[0]);
    float *room = malloc(5 * channels * sizeof(*room)), *scratch = room + 3 * channels;
    if (!room)
        return q8_fail_nomem(err);
    const struct inputs in = inputs_of(model, node->in[0], factor, room);
    const double limit = (double)q8_quant_sum_limit(node);
    double sum = 0;
    for (int o = 0; o < outputs; o += together) {
        q8_weight_row p = {0};
        double step = 0;
        for (int k = o; k < o + together; k++) {
            p = q8_weight_row_of(&model->parts[index], (size_t)k, 0, (size_t)n, scratch);
            const struct row row = measure_row(&p, in.inverse + k / view->outputs * n, n);
            const double s = factor_of(model, factor, out + k);
            step = fmax(step, s * fmax((double)row.largest / 127, (double)row.total / limit));
        }
        for (int k = o; k < o + together; k++) {
            const double own = step / factor_of(model, factor, out + k);
            if (together > 1)
                p = q8_weight_row_of(&model->parts[index], (size_t)k, 0, (size_t)n, scratch);
            const float of_row = row_error(&p, &in, k / view->outputs * n, n,
                                           (float)(view->kernel * own * own / 12));
            sum += model->effect[out + k] * active_part(model, node, out + k) * (double)of_row;
        }
    }
    free(room);
    *error += sum * part_of_taps(model, node);
    return Q8_OK;
}

/* --- the model ------------------------------------------------------------------------------ */

/* What tensors' statistics become, as work for several threads. */
struct observed {
    q8_error_model *model;
    const q8_calibration *cal;
    bool with_mean; /* which no bias takes up */
};

static q8_code fill_values(void *user, int tensor, q8_err *err)
{
    (void)err;
    const struct observed *of = user;
    const q8_stats *stats = of->cal->stats[tensor];
    for (int c = 0; stats && c < stats->channels; c++) {
        q8_channel_values *values = of->model->values[of->model->classes->first[tensor] + c];
        const q8_channel_curve *curve = &values->curve;
        const double mean = of->with_mean ? 0 : (double)q8_stats_channel_mean(stats, c);
        q8_channel_curve_make(&values->curve, &stats->channel_bins[c]);
        values->absmax = (double)stats->channel_absmax[c];
        values->power = curve->values > 0 ? curve->square[Q8_CHANNEL_BINS] / curve->values : 0;
        values->variance = fmax(values->power - mean * mean, 0);
    }
    return Q8_OK;
}

static q8_code add_values(q8_error_model *m, const q8_calibration *cal, const q8_quant_opts *opts,
                          q8_arena *arena, q8_err *err)
{
    struct observed of = {.model = m, .cal = cal, .with_mean = opts->no_bias_correction};
    for (int t = 0; t < m->graph->n_tensors; t++) {
        const q8_stats *stats = cal->stats[t];
        if (!stats)
            continue;
        q8_channel_values *values = q8_arena_array(arena, (size_t)stats->channels, sizeof(*values));
        if (!values)
            return q8_fail_nomem(err);
        for (int c = 0; c < stats->channels; c++)
            m->values[m->classes->first[t] + c] = &values[c];
        m->steps[t] = stats->min >= 0 && !opts->no_shift ? 254 : 127;
    }
    return q8_parallel_each(m->threads, m->graph->n_tensors, fill_values, &of, err);
}

static q8_code alloc_model(q8_error_model *m, q8_arena *arena, q8_err *err)
{
    const size_t n = (size_t)m->classes->n + 1;
    m->steps = q8_arena_array(arena, (size_t)m->graph->n_tensors + 1, sizeof(*m->steps));
    m->values = q8_arena_array(arena, n, sizeof(*m->values));
    m->power = q8_arena_array(arena, n, sizeof(*m->power));
    m->effect = q8_arena_array(arena, n, sizeof(*m->effect));
    m->rounding = q8_arena_array(arena, n, sizeof(*m->rounding));
    m->clipping = q8_arena_array(arena, n, sizeof(*m->clipping));
    return m->steps && m->values && m->power && m->effect && m->rounding && m->clipping
               ? Q8_OK
               : q8_fail_nomem(err);
}

/* Each output counts alike: errors relative to its power. */
static void output_effect(q8_error_model *m, int tensor)
{
    const int first = m->classes->first[tensor];
    const double power = mean_of(m, m->power, tensor);
    for (int c = first; c < first + channels_of(m, tensor); c++)
        m->effect[c] += power > 0 ? 1 / power : 1;
}

q8_code q8_error_model_make(q8_error_model *model, const q8_graph *graph,
                            const q8_channel_classes *classes, const q8_calibration *cal,
                            const q8_quant_opts *opts, int threads, q8_arena *arena, q8_err *err)
{
    *model = (q8_error_model){
        .graph = graph, .classes = classes, .per_layer = opts->per_layer, .threads = threads};
    q8_code code = alloc_model(model, arena, err);
    if (!code)
        code = q8_weight_parts_make(&model->parts, graph, classes, threads, arena, err);
    if (!code)
        code = add_values(model, cal, opts, arena, err);
    if (code)
        return code;
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        code = node_power(model, i, err);
        for (int k = 0; k < graph->node[i]->n_out; k++)
            observed_power(model, graph->node[i]->out[k]);
    }
    for (int i = 0; i < graph->n_outputs; i++)
        output_effect(model, graph->output[i]);
    for (int i = graph->n_nodes - 1; i >= 0 && !code; i--)
        code = node_effect(model, i, err);
    return code;
}
