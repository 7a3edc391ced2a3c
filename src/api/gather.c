/* Layers, weights and activations for the report. */
#include "api/gather.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/macs.h"
#include "quant/quant.h"
#include "quant/shift.h"

static const char *shape_of(const q8_tensor *tensor, q8_arena *arena)
{
    char text[64];
    return q8_arena_strdup(arena, q8_shape_text(&tensor->shape, text));
}

/* --- weights ---------------------------------------------------------------------------------- */

/* One output channel, whose `n` weights share a scale. */
static void add_channel(q8_report_weights *w, const float *weight, const signed char *code,
                        size_t n, float scale)
{
    float absmax = 0;
    int top = 0;
    for (size_t i = 0; i < n; i++) {
        absmax = fmaxf(absmax, fabsf(weight[i]));
        top = abs(code[i]) > top ? abs(code[i]) : top;
        w->moved += code[i] != q8_round_int8(weight[i] * scale);
    }
    const bool first = w->count == 0;
    w->absmax_min = first || absmax < w->absmax_min ? absmax : w->absmax_min;
    w->absmax_max = first || absmax > w->absmax_max ? absmax : w->absmax_max;
    w->scale_min = first || scale < w->scale_min ? scale : w->scale_min;
    w->scale_max = first || scale > w->scale_max ? scale : w->scale_max;
    if (absmax > 0 && (w->code_min == 0 || top < w->code_min))
        w->code_min = top;
    w->count += n;
}

static float bias_of(const q8_node *node, size_t channel)
{
    return channel < node->weight[1].count ? node->weight[1].data[channel] : 0;
}

/* @param exact the node before it was quantised; NULL: its biases are as they were */
static q8_report_weights *weights_of(const q8_node *node, const q8_node *exact, const q8_shape *in,
                                     q8_arena *arena)
{
    q8_linear view;
    q8_report_weights *w = q8_arena_alloc(arena, sizeof(*w));
    if (!w || !node->op->linear(node, in, &view))
        return w;
    const q8_quant *q = node->quant;
    w->biases = (size_t)view.groups * (size_t)view.outputs;
    const size_t row = node->weight[0].count / w->biases;
    for (size_t c = 0; c < w->biases; c++) {
        add_channel(w, node->weight[0].data + c * row, q->weight + c * row, row,
                    q->weight_scales[c * q->n_weight_scales / w->biases]);
        w->corrected += exact && bias_of(node, c) != bias_of(exact, c);
    }
    return w;
}

/* --- layers ----------------------------------------------------------------------------------- */

static const q8_node *before_quantising(const q8_model *model, int index)
{
    const q8_graph *graph = model->rewritten;
    return graph && graph->n_nodes == model->int8->n_nodes ? graph->node[index] : NULL;
}

static q8_code gather_layer(q8_report_layer *layer, const q8_model *model, int index,
                            q8_arena *arena, q8_err *err)
{
    const q8_graph *graph = model->int8;
    const q8_node *node = graph->node[index];
    q8_shape *in = q8_arena_array(arena, (size_t)(node->n_in + node->n_out) + 1, sizeof(*in));
    *layer = (q8_report_layer){.name = node->name, .type = node->op->type, .shape = ""};
    if (!in)
        return q8_fail_nomem(err);
    q8_shape *out = in + node->n_in;
    for (int i = 0; i < node->n_in; i++)
        in[i] = graph->tensor[node->in[i]].shape;
    for (int i = 0; i < node->n_out; i++)
        out[i] = graph->tensor[node->out[i]].shape;
    if (node->n_out > 0 && !(layer->shape = shape_of(&graph->tensor[node->out[0]], arena)))
        return q8_fail_nomem(err);
    layer->linear = node->op->linear != NULL;
    if (layer->linear)
        layer->macs = q8_node_macs(node, in, out);
    if (node->quant &&
        !(layer->weights = weights_of(node, before_quantising(model, index), in, arena)))
        return q8_fail_nomem(err);
    return Q8_OK;
}

q8_code q8_gather_layers(q8_report_data *data, const q8_model *model,
                         const q8_verify_result *verified, q8_arena *arena, q8_err *err)
{
    const q8_graph *graph = model->int8;
    const bool measured = verified && verified->n_layers == q8_model_layer_count(model);
    size_t linear = 0;
    data->layer = q8_arena_array(arena, (size_t)graph->n_nodes + 1, sizeof(*data->layer));
    if (!data->layer)
        return q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_report_layer *layer = &data->layer[data->n_layers++];
        const q8_code code = gather_layer(layer, model, i, arena, err);
        if (code)
            return code;
        if (!layer->linear)
            continue;
        const q8_layer_info info = q8_model_layer(model, linear);
        layer->int8 = info.int8;
        layer->reason = info.reason;
        layer->threshold = (double)info.threshold;
        layer->measured = measured ? &verified->layer[linear] : NULL;
        linear++;
    }
    return Q8_OK;
}

/* --- activations ------------------------------------------------------------------------------ */

/* The values that int8 layers see, before a shift: `copy` of the float network's statistics if
 * channels were multiplied. */
static q8_code as_equalised(const q8_stats **seen, q8_stats *copy, const q8_stats *stats,
                            const q8_report_tensor *t, const q8_tensor *tensor, q8_err *err)
{
    *seen = stats;
    if (t->equalised == 0)
        return Q8_OK;
    float *factor = malloc((size_t)stats->channels * sizeof(*factor));
    q8_code code = factor ? q8_stats_copy(copy, stats, err) : q8_fail_nomem(err);
    for (int c = 0; c < stats->channels && !code; c++)
        factor[c] = fabsf(tensor->factor[c]);
    if (!code) {
        q8_stats_scale(copy, factor);
        *seen = copy;
    }
    free(factor);
    return code;
}

static void describe_factors(q8_report_tensor *t, const q8_tensor *tensor, size_t channels)
{
    t->channels = channels;
    t->shifted = tensor->shift != 0;
    t->negated = q8_shift_sign(tensor) < 0;
    t->factor_min = t->factor_max = 1;
    for (size_t c = 0; tensor->factor && c < channels; c++) {
        const double factor = fabs((double)tensor->factor[c]);
        t->equalised += factor != 1;
        t->factor_min = c == 0 || factor < t->factor_min ? factor : t->factor_min;
        t->factor_max = c == 0 || factor > t->factor_max ? factor : t->factor_max;
    }
}

static void describe_histogram(q8_report_tensor *t, const q8_hist *hist)
{
    const bool empty = hist->exponent == Q8_HIST_EMPTY;
    const double width = empty ? 0 : ldexp(1.0 / Q8_HIST_BINS, hist->exponent);
    double count[Q8_REPORT_BARS] = {0}, total = (double)hist->zeros, most = 0, beyond = 0;
    int used = Q8_HIST_BINS;
    while (used > 0 && hist->bin[used - 1] == 0)
        used--;
    t->top = used * width > t->threshold ? used * width : t->threshold;
    for (int i = 0; i < used; i++) {
        const double n = (double)hist->bin[i];
        int bar = (int)((i + 0.5) * width / t->top * Q8_REPORT_BARS);
        bar = bar < Q8_REPORT_BARS ? bar : Q8_REPORT_BARS - 1;
        count[bar] += n;
        most = count[bar] > most ? count[bar] : most;
        beyond += i * width >= t->threshold ? n : 0;
        total += n;
    }
    for (int i = 0; i < Q8_REPORT_BARS; i++)
        t->bar[i] = most > 0 ? log1p(count[i]) / log1p(most) : 0;
    t->beyond = t->threshold > 0 && total > 0 ? beyond / total : NAN;
}

static q8_code gather_tensor(q8_report_tensor *t, const q8_model *model, int id, q8_err *err)
{
    const q8_tensor *tensor = &model->int8->tensor[id];
    const q8_calibration *cal = &model->calibration;
    const q8_stats *stats = id < cal->n_tensors ? cal->stats[id] : NULL, *seen;
    q8_stats copy = {0};
    describe_factors(t, tensor, (size_t)tensor->shape.dim[0]);
    if (t->shifted)
        t->threshold *= 2; /* which is c, half of where codes ended without the shift */
    if (!stats || stats->count == 0)
        return Q8_OK;
    const q8_code code = as_equalised(&seen, &copy, stats, t, tensor, err);
    if (!code) {
        t->seen = true;
        t->min = (double)stats->min;
        t->max = (double)stats->max;
        t->zeros = (double)stats->hist.zeros / (double)stats->count;
        describe_histogram(t, &seen->hist);
    }
    q8_stats_free(&copy);
    return code;
}

/* Names the readers, and takes the threshold if one of them is int8. */
static void find_readers(q8_report_tensor *t, const q8_model *model, int id)
{
    const q8_graph *graph = model->int8;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (!node->op->linear || node->n_in == 0 || node->in[0] != id)
            continue;
        if (t->n_readers++ == 0)
            t->reader = node->name;
        if (node->quant)
            t->threshold = (double)model->threshold[id];
    }
}

static const q8_fast_tensor *find_fast(const q8_fast_info *fast, const char *name)
{
    for (size_t i = 0; i < fast->n_tensors; i++)
        if (strcmp(fast->tensor[i].name, name) == 0)
            return &fast->tensor[i];
    return NULL;
}

q8_code q8_gather_tensors(q8_report_data *data, const q8_model *model, q8_arena *arena, q8_err *err)
{
    const q8_graph *graph = model->int8;
    const size_t n = (size_t)graph->n_tensors;
    bool *wanted = q8_arena_array(arena, n + 1, sizeof(*wanted));
    data->tensor = q8_arena_array(arena, n + 1, sizeof(*data->tensor));
    if (!wanted || !data->tensor)
        return q8_fail_nomem(err);
    q8_quant_wanted(graph, wanted);
    data->fast = model->fast.info.used ? &model->fast.info : NULL;
    for (int id = 0; id < graph->n_tensors; id++) {
        if (!wanted[id])
            continue;
        q8_report_tensor *t = &data->tensor[data->n_tensors++];
        t->name = graph->tensor[id].name;
        t->shape = shape_of(&graph->tensor[id], arena);
        t->reader = "";
        t->fast = data->fast ? find_fast(data->fast, t->name) : NULL;
        find_readers(t, model, id);
        const q8_code code = t->shape ? gather_tensor(t, model, id, err) : q8_fail_nomem(err);
        if (code)
            return code;
    }
    return Q8_OK;
}
