#include "quant/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "base/thread.h"
#include "calib/threshold.h"
#include "ops/activation.h"
#include "ops/int8.h"
#include "quant/quant.h"

/* Output channels of a layer that are looked at: about so many, evenly spaced. */
enum { MOST_OUTPUTS = 32 };

/* Sums that stay in registers: of outputs, at sampled positions. */
enum { LANES = 16, TILE_OUTPUTS = 4, TILE_VECTORS = Q8_WINDOWS_PAD / LANES };

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* A layer in float. */
struct layer {
    q8_node *node; /* NULL: it cannot be tried */
    const q8_layer_windows *windows;
    q8_linear view;
    q8_scale_units units; /* of all outputs */
    size_t n_units;       /* looked at */
    size_t n_outputs;     /* in these */
    size_t channels;      /* of the output tensor: as many as outputs, or all are elements of one */
    /* [output looked at][stride]: before and behind the activation. */
    float *exact, *active;
    double power; /* behind the activation, without the outputs' means: those carry nothing */
};

struct q8_trials {
    struct layer *layer; /* by node */
    int n_nodes;
    q8_quant_opts opts;
};

/* --- which outputs are looked at -------------------------------------------------------------- */

static size_t unit_at(const struct layer *l, size_t i)
{
    return i * l->units.units / l->n_units;
}

static size_t output_at(const struct layer *l, size_t i)
{
    return unit_at(l, i / l->units.rows) * l->units.rows + i % l->units.rows;
}

/* The output tensor's channel. */
static size_t channel_at(const struct layer *l, size_t i)
{
    return output_at(l, i) * l->channels / (l->units.units * l->units.rows);
}

static size_t group_at(const struct layer *l, size_t i)
{
    return output_at(l, i) / (size_t)l->view.outputs;
}

/* --- sums ------------------------------------------------------------------------------------- */

/* For TILE_OUTPUTS outputs, whose weights take turns in `w`, at Q8_WINDOWS_PAD positions. */
Q8_SIMD_CLONES
static void tile_sums(const float *w, const float *x, size_t columns, size_t stride,
                      float *const out[TILE_OUTPUTS])
{
    vector sum[TILE_OUTPUTS][TILE_VECTORS] = {0};
    for (size_t k = 0; k < columns; k++, w += TILE_OUTPUTS, x += stride)
        for (int o = 0; o < TILE_OUTPUTS; o++)
            for (int v = 0; v < TILE_VECTORS; v++)
                sum[o][v] += w[o] * ((const vector *)x)[v];
    for (int o = 0; o < TILE_OUTPUTS; o++)
        memcpy(out[o], sum[o], sizeof(sum[o]));
}

/* Memory for sums: a few outputs' weights, and where the sums of a tile's last outputs go when they
 * are no outputs any more. */
struct work {
    float *weight, *nowhere;
};

static size_t work_size(const struct layer *l)
{
    return (size_t)l->windows->columns * TILE_OUTPUTS + (size_t)l->windows->stride;
}

static struct work get_work(const struct layer *l, float *memory)
{
    return (struct work){memory, memory + (size_t)l->windows->columns * TILE_OUTPUTS};
}

/* Weights of an output looked at, floats or codes. */
struct weights {
    const float *exact;       /* of all outputs, or */
    const signed char *coded; /* of those looked at */
};

static float weight_at(const struct layer *l, const struct weights *w, size_t i, size_t k)
{
    const size_t columns = (size_t)l->windows->columns;
    return w->exact ? w->exact[output_at(l, i) * columns + k] : (float)w->coded[i * columns + k];
}

/* out[output looked at][stride] = weights times x, which is as in q8_layer_windows. */
static void make_sums(const struct layer *l, const struct weights *weights, const float *x,
                      const struct work *work, float *out)
{
    const size_t columns = (size_t)l->windows->columns, stride = (size_t)l->windows->stride;
    for (size_t i = 0, n; i < l->n_outputs; i += n) {
        for (n = 1; n < TILE_OUTPUTS && i + n < l->n_outputs; n++)
            if (group_at(l, i + n) != group_at(l, i))
                break;
        for (size_t o = 0; o < TILE_OUTPUTS; o++)
            for (size_t k = 0; k < columns; k++)
                work->weight[k * TILE_OUTPUTS + o] = o < n ? weight_at(l, weights, i + o, k) : 0;
        const float *from = x + group_at(l, i) * columns * stride;
        for (size_t p = 0; p < stride; p += Q8_WINDOWS_PAD) {
            float *to[TILE_OUTPUTS];
            for (size_t o = 0; o < TILE_OUTPUTS; o++)
                to[o] = o < n ? out + (i + o) * stride + p : work->nowhere + p;
            tile_sums(work->weight, from + p, columns, stride, to);
        }
    }
}

/* --- layers in float -------------------------------------------------------------------------- */

static float bias_of(const struct layer *l, size_t output)
{
    return l->node->weight[1].count ? l->node->weight[1].data[output] : 0;
}

static const q8_activation *activation_of(const struct layer *l)
{
    return l->node->op->activation ? l->node->op->activation(l->node) : NULL;
}

static double sum_of_squares(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static float mean_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return n ? (float)(sum / (double)n) : 0;
}

static double variance_of(const float *x, size_t n)
{
    const double mean = (double)mean_of(x, n);
    const double variance = sum_of_squares(x, n) / (double)n - mean * mean;
    return variance > 0 ? variance : 0;
}

static void activate(const q8_activation *act, float *x, size_t n)
{
    if (act)
        q8_activate_array(act, x, n);
}

static q8_code prepare(struct layer *l, q8_err *err)
{
    const size_t stride = (size_t)l->windows->stride;
    const size_t count = l->n_outputs * stride, rows = (size_t)l->windows->rows;
    float *memory = malloc(work_size(l) * sizeof(*memory));
    l->exact = malloc(2 * count * sizeof(*l->exact));
    if (!memory || !l->exact) {
        free(memory);
        return q8_fail_nomem(err);
    }
    l->active = l->exact + count;
    const struct work work = get_work(l, memory);
    const struct weights weights = {.exact = l->node->weight[0].data};
    make_sums(l, &weights, l->windows->x, &work, l->exact);
    for (size_t i = 0; i < l->n_outputs; i++) {
        float *exact = l->exact + i * stride, *active = l->active + i * stride;
        const float bias = bias_of(l, output_at(l, i));
        for (size_t r = 0; r < rows; r++)
            active[r] = exact[r] = exact[r] + bias;
        activate(activation_of(l), active, rows);
        l->power += variance_of(active, rows);
    }
    l->power /= (double)l->n_outputs;
    free(memory);
    return Q8_OK;
}

static q8_code prepare_layer(void *user, int node, q8_err *err)
{
    const q8_trials *t = user;
    return t->layer[node].node ? prepare(&t->layer[node], err) : Q8_OK;
}

static void find_layer(q8_trials *t, const q8_graph *graph, const q8_windows *windows, int index)
{
    q8_node *node = graph->node[index];
    struct layer *l = &t->layer[index];
    const q8_layer_windows *w = &windows->layer[index];
    if (!w->x || w->rows == 0 ||
        !node->op->linear(node, &graph->tensor[node->in[0]].shape, &l->view) ||
        node->weight[0].count != (size_t)w->groups * (size_t)w->columns * (size_t)l->view.outputs)
        return;
    l->node = node;
    l->windows = w;
    l->units = q8_quant_units(node, &l->view, t->opts.per_layer);
    const size_t most = l->units.rows < MOST_OUTPUTS ? MOST_OUTPUTS / l->units.rows : 1;
    l->n_units = l->units.units < most ? l->units.units : most;
    l->n_outputs = l->n_units * l->units.rows;
    l->channels = (size_t)graph->tensor[node->out[0]].shape.dim[0];
}

q8_code q8_trials_open(q8_trials **trials, const q8_graph *exact, const q8_windows *windows,
                       const q8_quant_opts *opts, const q8_env *env, q8_err *err)
{
    q8_trials *t = *trials = calloc(1, sizeof(*t));
    if (!t || !(t->layer = calloc((size_t)exact->n_nodes + 1, sizeof(*t->layer))))
        return q8_fail_nomem(err);
    t->n_nodes = exact->n_nodes;
    t->opts = *opts;
    for (int i = 0; i < windows->n_nodes && i < exact->n_nodes; i++)
        find_layer(t, exact, windows, i);
    return q8_parallel_each(q8_thread_count(env), t->n_nodes, prepare_layer, t, err);
}

void q8_trials_close(q8_trials **trials)
{
    q8_trials *t = *trials;
    for (int i = 0; t && t->layer && i < t->n_nodes; i++)
        free(t->layer[i].exact);
    if (t)
        free(t->layer);
    free(t);
    *trials = NULL;
}

bool q8_trials_have(const q8_trials *trials, int node)
{
    return trials && trials->layer[node].node;
}

/* --- layers in int8 --------------------------------------------------------------------------- */

static float factor_at(const float *factor, size_t channel)
{
    return factor ? factor[channel] : 1;
}

/* A row's weights with the factors multiplied in. */
static void rewrite_row(const q8_trial *t, const struct layer *l, size_t output, float *out)
{
    const size_t columns = (size_t)l->windows->columns, kernel = (size_t)l->view.kernel;
    const size_t first = output / (size_t)l->view.outputs * (size_t)l->view.inputs;
    const float *w = l->node->weight[0].data + output * columns;
    for (size_t k = 0; k < columns; k++)
        out[k] = (float)((double)w[k] * (double)factor_at(t->out_factor, output) /
                         (double)factor_at(t->in_factor, first + k / kernel));
}

q8_code q8_trial_open(q8_trial *trial, const q8_trials *trials, int node, const float *in_factor,
                      const float *out_factor, q8_err *err)
{
    const struct layer *l = &trials->layer[node];
    const size_t columns = (size_t)l->windows->columns, rows = l->units.rows;
    float *unit = malloc(rows * columns * sizeof(*unit));
    *trial = (q8_trial){.trials = trials,
                        .node = node,
                        .in_factor = in_factor,
                        .out_factor = out_factor,
                        .scale = malloc(l->n_units * sizeof(*trial->scale)),
                        .weight = calloc(l->n_outputs, columns)};
    if (!unit || !trial->scale || !trial->weight) {
        free(unit);
        return q8_fail_nomem(err);
    }
    q8_quant_set_limits(&trial->quant, l->node, trials->opts.weight_bits);
    for (size_t i = 0; i < l->n_units; i++) {
        for (size_t r = 0; r < rows; r++)
            rewrite_row(trial, l, output_at(l, i * rows + r), unit + r * columns);
        trial->scale[i] =
            q8_quantize_unit(unit, &l->units, 1, &trial->quant, trial->weight + i * rows * columns);
    }
    free(unit);
    return Q8_OK;
}

void q8_trial_close(q8_trial *trial)
{
    free(trial->scale);
    free(trial->weight);
    *trial = (q8_trial){0};
}

/* The input as the rewritten network's int8 layer codes it. */
static void code_windows(const q8_trial *t, const struct layer *l, float scale, float shift,
                         float *out)
{
    const size_t stride = (size_t)l->windows->stride, kernel = (size_t)l->view.kernel;
    const size_t columns = (size_t)l->windows->groups * (size_t)l->windows->columns;
    const float *x = l->windows->x;
    for (size_t k = 0; k < columns; k++, x += stride, out += stride) {
        const float factor = factor_at(t->in_factor, k / kernel);
        for (size_t r = 0; r < stride; r++)
            out[r] = x[r] * factor + shift;
        q8_int8_codes(out, scale, stride, out);
    }
}

/* What the int8 weights make of an input of 1 everywhere, in codes. */
static double sum_of_codes(const signed char *weight, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += weight[k];
    return sum;
}

Q8_SIMD_CLONES
static void scale_sums(float *sums, const float *exact, float scale, float offset, size_t n)
{
    for (size_t r = 0; r < n; r++)
        sums[r] = sums[r] * scale + (offset - exact[r]);
}

/* Turns an output's sums of codes into what they are off by, before the activation. */
static void find_differences(const q8_trial *t, const struct layer *l, size_t i, float bottom_scale,
                             float shift, float *sums)
{
    const size_t columns = (size_t)l->windows->columns, rows = (size_t)l->windows->rows;
    const size_t output = output_at(l, i);
    const double weight_scale = (double)t->scale[i / l->units.rows];
    const double in_units = weight_scale * (double)factor_at(t->out_factor, output);
    const double scale = weight_scale == 0 ? 0 : 1 / ((double)bottom_scale * in_units);
    const double shifted = weight_scale == 0 ? 0
                                             : (double)shift / in_units *
                                                   sum_of_codes(t->weight + i * columns, columns);
    scale_sums(sums, l->exact + i * (size_t)l->windows->stride, (float)scale,
               (float)((double)bias_of(l, output) - shifted), rows);
    if (t->trials->opts.no_bias_correction)
        return;
    const float mean = mean_of(sums, rows);
    for (size_t r = 0; r < rows; r++)
        sums[r] -= mean;
}

/* Mean square of what an output is off by behind the activation; before it: `off`. */
static double output_error(const struct layer *l, size_t i, float *off)
{
    const size_t stride = (size_t)l->windows->stride, rows = (size_t)l->windows->rows;
    const float *exact = l->exact + i * stride, *active = l->active + i * stride;
    for (size_t r = 0; r < rows; r++)
        off[r] += exact[r];
    activate(activation_of(l), off, rows);
    for (size_t r = 0; r < rows; r++)
        off[r] -= active[r];
    return sum_of_squares(off, rows) / (double)rows;
}

static double error_at(const q8_trial *t, const struct layer *l, float threshold, int levels,
                       const double *effect, float *memory)
{
    const size_t stride = (size_t)l->windows->stride;
    const size_t columns = (size_t)l->windows->groups * (size_t)l->windows->columns;
    const float half = levels == Q8_LEVELS_SHIFTED ? threshold / 2 : 0;
    const float scale = 127 / (half > 0 ? half : threshold);
    float *codes = memory, *sums = codes + columns * stride;
    const struct work work = get_work(l, sums + l->n_outputs * stride);
    const struct weights weights = {.coded = t->weight};
    code_windows(t, l, scale, -half, codes);
    make_sums(l, &weights, codes, &work, sums);
    double total = 0;
    for (size_t i = 0; i < l->n_outputs; i++) {
        find_differences(t, l, i, scale, -half, sums + i * stride);
        total += output_error(l, i, sums + i * stride) * (effect ? effect[channel_at(l, i)] : 1);
    }
    total /= (double)l->n_outputs;
    if (effect)
        return total * (double)l->channels;
    return l->power > 0 ? total / l->power : total;
}

q8_code q8_trial_errors(const q8_trial *trial, const float *threshold, int n, int levels,
                        const double *effect, double *error, q8_err *err)
{
    const struct layer *l = &trial->trials->layer[trial->node];
    const size_t stride = (size_t)l->windows->stride;
    const size_t columns = (size_t)l->windows->groups * (size_t)l->windows->columns;
    float *memory = malloc(((columns + l->n_outputs) * stride + work_size(l)) * sizeof(*memory));
    if (!memory)
        return q8_fail_nomem(err);
    for (int i = 0; i < n; i++)
        error[i] = error_at(trial, l, threshold[i], levels, effect, memory);
    free(memory);
    return Q8_OK;
}
