/* Which blobs are sequences, whose first axis is the time and the second the batch. A layer that
 * works on each element, row of values or further axis alike has either none or all of its blobs
 * sequences, so that blobs fall into classes; those that a recurrent layer is in are sequences. */
#include "ops/sequence.h"

#include <stdlib.h>
#include <string.h>

/* All blobs' names in order, and of each the next one on the way to its class's first. */
struct q8_sequences {
    const char **name;
    int *up;
    bool *is_sequence; /* of a class's first */
    int n;
};

/* --- kinds of layers -------------------------------------------------------------------------- */

static bool is_one_of(const char *type, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, type) == 0)
            return true;
    return false;
}

static bool is_recurrent(const q8_caffe_layer *layer)
{
    return is_one_of(layer->type, (const char *const[]){"LSTM", "RNN", NULL});
}

/* Makes the markers of one, of any bottom. */
static bool is_indicator(const q8_caffe_layer *layer)
{
    return strcmp(layer->type, "ContinuationIndicator") == 0;
}

static bool is_elementwise(const q8_caffe_layer *layer)
{
    static const char *const types[] = {
        "AbsVal",         "BNLL",      "Clip",     "Dropout", "ELU",  "Eltwise",   "Exp",
        "GradientScaler", "HardSwish", "Identity", "Log",     "Mish", "Power",     "ReLU",
        "ReLU6",          "Sigmoid",   "Split",    "Swish",   "TanH", "Threshold", NULL};
    return is_one_of(layer->type, types);
}

/* Behind time and batch, seen from the front or, of three axes, from the end. */
static bool is_further(int axis)
{
    return axis >= 2 || axis == -1;
}

/* Of the layers that work along an axis. */
static bool works_further(const q8_caffe_layer *layer)
{
    const Caffe__LayerParameter *p = layer->param;
    const char *type = layer->type;
    if (strcmp(type, "InnerProduct") == 0)
        return p->inner_product_param && is_further(p->inner_product_param->axis);
    if (strcmp(type, "Softmax") == 0)
        return p->softmax_param && is_further(p->softmax_param->axis);
    if (strcmp(type, "Concat") == 0)
        return p->concat_param && is_further(p->concat_param->axis);
    if (strcmp(type, "Slice") == 0)
        return p->slice_param && is_further(p->slice_param->axis);
    if (strcmp(type, "Flatten") == 0)
        return p->flatten_param && is_further(p->flatten_param->axis);
    if (strcmp(type, "Scale") == 0)
        return p->n_bottom == 1 && p->scale_param && is_further(p->scale_param->axis);
    if (strcmp(type, "Bias") == 0)
        return p->n_bottom == 1 && p->bias_param && is_further(p->bias_param->axis);
    return false;
}

/* Leaves the first two axes where they are. */
static bool arranges_further(const q8_caffe_layer *layer)
{
    const Caffe__PermuteParameter *permute = layer->param->permute_param;
    const Caffe__ReshapeParameter *reshape = layer->param->reshape_param;
    if (strcmp(layer->type, "Permute") == 0)
        return permute && permute->n_order > 1 && permute->order[0] == 0 && permute->order[1] == 1;
    if (strcmp(layer->type, "Reshape") == 0 && reshape && reshape->shape)
        return reshape->axis == 2 ||
               (reshape->axis == 0 && reshape->num_axes == -1 && reshape->shape->n_dim > 1 &&
                reshape->shape->dim[0] == 0 && reshape->shape->dim[1] == 0);
    return false;
}

/* All of its blobs are sequences, or none. */
static bool is_alike(const q8_caffe_layer *layer)
{
    return strcmp(layer->type, "Embed") == 0 || is_elementwise(layer) || works_further(layer) ||
           arranges_further(layer);
}

/* --- classes ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* -1: there is no such blob. */
static int class_of(const struct q8_sequences *s, const char *name)
{
    const char **found = bsearch(&name, s->name, (size_t)s->n, sizeof(*s->name), compare);
    if (!found)
        return -1;
    int i = (int)(found - s->name);
    while (s->up[i] != i)
        i = s->up[i] = s->up[s->up[i]];
    return i;
}

static void join(struct q8_sequences *s, const char *a, const char *b)
{
    const int x = class_of(s, a), y = class_of(s, b);
    s->up[y] = x;
    s->is_sequence[x] |= s->is_sequence[y];
}

static bool list_names(struct q8_sequences *s, const q8_caffe_net *net, q8_arena *arena)
{
    size_t n = 0;
    for (int i = 0; i < net->n_layers; i++)
        n += net->layer[i].param->n_bottom + net->layer[i].param->n_top;
    s->name = q8_arena_array(arena, n + 1, sizeof(*s->name));
    s->up = q8_arena_array(arena, n + 1, sizeof(*s->up));
    s->is_sequence = q8_arena_array(arena, n + 1, sizeof(*s->is_sequence));
    if (!s->name || !s->up || !s->is_sequence)
        return false;
    size_t all = 0;
    for (int i = 0; i < net->n_layers; i++) {
        const Caffe__LayerParameter *p = net->layer[i].param;
        for (size_t k = 0; k < p->n_bottom; k++)
            s->name[all++] = p->bottom[k];
        for (size_t k = 0; k < p->n_top; k++)
            s->name[all++] = p->top[k];
    }
    qsort(s->name, all, sizeof(*s->name), compare);
    for (size_t i = 0; i < all; i++)
        if (s->n == 0 || strcmp(s->name[s->n - 1], s->name[i]) != 0)
            s->name[s->n++] = s->name[i];
    for (int i = 0; i < s->n; i++)
        s->up[i] = i;
    return true;
}

static void classify(struct q8_sequences *s, const q8_caffe_layer *layer)
{
    const Caffe__LayerParameter *p = layer->param;
    const bool recurrent = is_recurrent(layer);
    for (size_t i = 0; i < p->n_top && is_indicator(layer); i++)
        s->is_sequence[class_of(s, p->top[i])] = true;
    if (!p->n_bottom || (!recurrent && !is_alike(layer)))
        return;
    /* The other bottoms of a recurrent layer are no sequences of values. */
    for (size_t i = 1; i < p->n_bottom && !recurrent; i++)
        join(s, p->bottom[0], p->bottom[i]);
    for (size_t i = 0; i < p->n_top; i++)
        join(s, p->bottom[0], p->top[i]);
    if (recurrent)
        s->is_sequence[class_of(s, p->bottom[0])] = true;
}

/* --- what may be ------------------------------------------------------------------------------ */

static bool any_sequence(const q8_caffe_import *im, char **name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (q8_is_sequence(im, name[i]))
            return true;
    return false;
}

static q8_code check(const q8_caffe_import *im, const q8_caffe_layer *layer)
{
    const Caffe__LayerParameter *p = layer->param;
    if (is_recurrent(layer) || is_alike(layer) || is_indicator(layer) ||
        is_one_of(layer->type, (const char *const[]){"Input", "Permute", "Reshape", NULL}))
        return Q8_OK;
    if (any_sequence(im, p->bottom, p->n_bottom))
        return q8_fail(im->err, Q8_EUNSUPPORTED, &layer->loc, layer->name,
                       "%s cannot read a sequence, whose first axis is the time, which ncnn has no "
                       "axis of its own for: only LSTM, RNN, layers of single elements, and "
                       "InnerProduct, Softmax, Concat and the like with axis: 2 can; a Permute "
                       "that starts with order: 1 puts the batch first again",
                       layer->type);
    if (any_sequence(im, p->top, p->n_top))
        return q8_fail(im->err, Q8_EUNSUPPORTED, &layer->loc, layer->name,
                       "%s makes what a recurrent layer reads as a sequence, whose first axis is "
                       "the time, with the batch first: a Permute whose order is the time's axis "
                       "and 0 must come between",
                       layer->type);
    return Q8_OK;
}

q8_code q8_find_sequences(q8_caffe_import *im)
{
    const q8_caffe_net *net = im->net;
    bool any = false;
    for (int i = 0; i < net->n_layers; i++)
        any |= is_recurrent(&net->layer[i]);
    if (!any)
        return Q8_OK;
    struct q8_sequences *s = q8_arena_alloc(im->arena, sizeof(*s));
    if (!s || !list_names(s, net, im->arena))
        return q8_fail_nomem(im->err);
    for (int i = 0; i < net->n_layers; i++)
        classify(s, &net->layer[i]);
    im->sequences = s;
    q8_code code = Q8_OK;
    for (int i = 0; i < net->n_layers && !code; i++)
        code = check(im, &net->layer[i]);
    return code;
}

bool q8_is_sequence(const q8_caffe_import *im, const char *blob)
{
    const struct q8_sequences *s = im->sequences;
    const int first = s ? class_of(s, blob) : -1;
    return first >= 0 && s->is_sequence[first];
}
