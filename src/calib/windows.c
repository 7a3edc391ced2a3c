#include "calib/windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A float holds every integer up to this: elements have such numbers. */
#define MOST_ELEMENTS ((size_t)1 << 24)

struct q8_windows_capture {
    const q8_graph *graph;
    q8_windows windows;
    size_t samples, pictures; /* given, looked at */
    int *each;                /* by node: rows of a picture */
    float *number;            /* 1, 2, ...: an input whose elements tell which they are */
    bool *taken, *bad;        /* by picture looked at */
};

size_t q8_window_position(size_t positions, size_t picture, size_t k, size_t of)
{
    const size_t begin = positions * k / of, end = positions * (k + 1) / of;
    const uint32_t mix = ((uint32_t)picture * 0x9e3779b9u) ^ ((uint32_t)k * 0x85ebca6bu);
    return begin + (mix ^ mix >> 15) % (end - begin);
}

/* --- what is to be taken ---------------------------------------------------------------------- */

/* Padding with anything but 0 could not be told from an element. */
static bool can_be_sampled(const q8_graph *graph, const q8_node *node, const bool *wanted,
                           q8_linear *view)
{
    if (!node->op->linear || !node->op->set_int8 || !node->op->window || node->n_in != 1 ||
        !wanted[node->in[0]])
        return false;
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    return q8_shape_count(in) <= MOST_ELEMENTS && node->op->linear(node, in, view) &&
           (!view->pads || view->pad_value == 0);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t positions_of(const q8_graph *graph, const q8_node *node)
{
    return q8_shape_spatial(&graph->tensor[node->out[0]].shape);
}

/* Sets the layers' sizes for up to `rows` rows. @return bytes that all take */
static size_t plan(q8_windows_capture *c, const bool *wanted, size_t rows)
{
    const q8_graph *graph = c->graph;
    size_t bytes = 0;
    c->pictures = least(least(c->samples, Q8_WINDOWS_PICTURES), rows);
    for (int i = 0; i < graph->n_nodes; i++) {
        q8_layer_windows *w = &c->windows.layer[i];
        q8_linear view;
        *w = (q8_layer_windows){0};
        if (!can_be_sampled(graph, graph->node[i], wanted, &view))
            continue;
        const size_t each =
            least((rows + c->pictures - 1) / c->pictures, positions_of(graph, graph->node[i]));
        c->each[i] = (int)each;
        w->groups = view.groups;
        w->columns = view.inputs * view.kernel;
        w->rows = (int)(each * c->pictures);
        w->stride = (w->rows + Q8_WINDOWS_PAD - 1) / Q8_WINDOWS_PAD * Q8_WINDOWS_PAD;
        bytes += (size_t)w->groups * (size_t)w->columns * (size_t)w->stride * sizeof(float);
    }
    return bytes;
}

static q8_code alloc_layers(q8_windows_capture *c, q8_err *err)
{
    size_t most = 0;
    for (int i = 0; i < c->graph->n_nodes; i++) {
        q8_layer_windows *w = &c->windows.layer[i];
        if (w->groups == 0)
            continue;
        const size_t columns = (size_t)w->groups * (size_t)w->columns;
        const size_t count = q8_shape_count(&c->graph->tensor[c->graph->node[i]->in[0]].shape);
        most = count > most ? count : most;
        w->x = calloc(columns * (size_t)w->stride, sizeof(*w->x));
        if (!w->x)
            return q8_fail_nomem(err);
    }
    c->number = malloc((most + 1) * sizeof(*c->number));
    if (!c->number)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < most; i++)
        c->number[i] = (float)(i + 1);
    return Q8_OK;
}

q8_code q8_windows_open(q8_windows_capture **capture, const q8_graph *graph, const bool *wanted,
                        size_t samples, q8_err *err)
{
    const size_t nodes = (size_t)graph->n_nodes + 1;
    q8_windows_capture *c = *capture = calloc(1, sizeof(*c));
    if (!c)
        return q8_fail_nomem(err);
    *c = (q8_windows_capture){
        .graph = graph,
        .samples = samples,
        .windows = {.n_nodes = graph->n_nodes, .layer = calloc(nodes, sizeof(*c->windows.layer))},
        .each = calloc(nodes, sizeof(*c->each)),
        .taken = calloc(Q8_WINDOWS_PICTURES, sizeof(*c->taken)),
        .bad = calloc(Q8_WINDOWS_PICTURES, sizeof(*c->bad))};
    if (!c->windows.layer || !c->each || !c->taken || !c->bad)
        return q8_fail_nomem(err);
    size_t rows = Q8_WINDOWS_ROWS;
    while (samples > 0 && plan(c, wanted, rows) > Q8_WINDOWS_MEMORY && rows > 1)
        rows /= 2;
    return alloc_layers(c, err);
}

/* --- taking it -------------------------------------------------------------------------------- */

/* Which of the pictures looked at a sample is; false: none. */
static bool place_of(const q8_windows_capture *c, size_t index, size_t *place)
{
    *place = c->samples ? (index * c->pictures + c->samples - 1) / c->samples : 0;
    return *place < c->pictures && *place * c->samples / c->pictures == index;
}

/* The value of element `number` (from 1; 0 is padding) of a view's picture. */
static float element(const q8_view *view, size_t spatial, float number)
{
    if (number == 0)
        return 0;
    const size_t i = (size_t)number - 1, block = (size_t)view->block;
    if (block == 1)
        return view->data[i];
    const size_t channel = i / spatial;
    return view->data[(channel / block * spatial + i % spatial) * block + channel % block];
}

static bool take_row(const q8_layer_windows *w, int group, size_t at, const q8_view *view,
                     const float *numbers)
{
    const size_t spatial = q8_shape_spatial(&view->shape), stride = (size_t)w->stride;
    float *x = w->x + (size_t)group * (size_t)w->columns * stride + at;
    bool finite = true;
    for (int k = 0; k < w->columns; k++, x += stride) {
        *x = element(view, spatial, numbers[k]);
        finite = finite && isfinite(*x);
    }
    return finite;
}

static q8_code take_layer(q8_windows_capture *c, int index, size_t place, const q8_view *view,
                          q8_err *err)
{
    const q8_node *node = c->graph->node[index];
    const q8_layer_windows *w = &c->windows.layer[index];
    const size_t each = (size_t)c->each[index], positions = positions_of(c->graph, node);
    float *numbers = malloc(((size_t)w->columns + 1) * sizeof(*numbers));
    if (!numbers)
        return q8_fail_nomem(err);
    for (int g = 0; g < w->groups; g++)
        for (size_t k = 0; k < each; k++) {
            node->op->window(node, &view->shape, c->number,
                             q8_window_position(positions, place, k, each), g, numbers);
            if (!take_row(w, g, place * each + k, view, numbers))
                c->bad[place] = true;
        }
    free(numbers);
    return Q8_OK;
}

q8_code q8_windows_observe(q8_windows_capture *capture, size_t index, int tensor,
                           const q8_view *view, q8_err *err)
{
    size_t place;
    if (!place_of(capture, index, &place))
        return Q8_OK;
    q8_code code = Q8_OK;
    for (int i = 0; i < capture->graph->n_nodes && !code; i++)
        if (capture->windows.layer[i].x && capture->graph->node[i]->in[0] == tensor)
            code = take_layer(capture, i, place, view, err);
    capture->taken[place] = true;
    return code;
}

/* --- giving it out ---------------------------------------------------------------------------- */

/* Moves the rows of pictures that count to the front. */
static void close_gaps(const q8_windows_capture *c, q8_layer_windows *w, size_t each)
{
    const size_t columns = (size_t)w->groups * (size_t)w->columns;
    float *x = w->x;
    size_t rows = 0;
    for (size_t k = 0; k < columns; k++, x += w->stride) {
        rows = 0;
        for (size_t p = 0; p < c->pictures; p++)
            if (c->taken[p] && !c->bad[p]) {
                memmove(x + rows, x + p * each, each * sizeof(*x));
                rows += each;
            }
        memset(x + rows, 0, ((size_t)w->stride - rows) * sizeof(*x));
    }
    w->rows = (int)rows;
    if (rows == 0) {
        free(w->x);
        w->x = NULL;
    }
}

void q8_windows_take(q8_windows_capture *capture, q8_windows *windows)
{
    for (int i = 0; i < capture->windows.n_nodes; i++)
        if (capture->windows.layer[i].x)
            close_gaps(capture, &capture->windows.layer[i], (size_t)capture->each[i]);
    *windows = capture->windows;
    capture->windows = (q8_windows){0};
}

void q8_windows_close(q8_windows_capture **capture)
{
    q8_windows_capture *c = *capture;
    if (!c)
        return;
    q8_windows_free(&c->windows);
    free(c->each);
    free(c->number);
    free(c->taken);
    free(c->bad);
    free(c);
    *capture = NULL;
}

void q8_windows_free(q8_windows *windows)
{
    for (int i = 0; windows->layer && i < windows->n_nodes; i++)
        free(windows->layer[i].x);
    free(windows->layer);
    *windows = (q8_windows){0};
}
