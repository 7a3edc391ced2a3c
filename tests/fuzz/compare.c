#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "layers.h"
#include "ops/input.h"
#include "ops/rows.h"
#include "ops/unary.h"

enum { RUNS = 3, MORE_RUNS = 24 };

static const double noise = 1e-6;

/* --- inputs ----------------------------------------------------------------------------------- */

enum kind { SIGNED, POSITIVE, INTEGERS, PIXELS, N_KINDS };

static enum kind kind_of(uint64_t seed, const char *input)
{
    const uint64_t hash = q8_hash_text(seed, input);
    return hash % 8 < N_KINDS ? (enum kind)(hash % 8) : SIGNED;
}

float fuzz_input_value(uint64_t seed, const char *input, int sample, size_t element)
{
    uint64_t state = q8_hash_text(seed, input) + (uint64_t)sample * 1000003 + element;
    const float x = (float)(fuzz_random(&state) >> 40) * 0x1p-24f;
    switch (kind_of(seed, input)) {
    case POSITIVE:
        return 4 * x;
    case INTEGERS:
        return floorf(4 * x);
    case PIXELS:
        return 255 * x - 110;
    default:
        return 2 * x - 1;
    }
}

/* --- the reference ---------------------------------------------------------------------------- */

static float **new_values(const q8_graph *graph)
{
    float **value = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*value));
    if (!value)
        abort();
    for (int t = 0; t < graph->n_tensors; t++) {
        const size_t n = q8_shape_count(&graph->tensor[t].shape);
        value[t] = q8_arena_array(graph->arena, n + 1, sizeof(float));
        if (!value[t])
            abort();
    }
    return value;
}

/* What an op's rounding is relative to even where its output is small: the 1 that ELU takes off
 * exp(x) and Mish adds to it, as Caffe and oneDNN do it. */
static double scale_inside(const q8_node *node)
{
    const q8_elu_attr *a = node->attr;
    if (node->op == &q8_op_mish)
        return 1;
    return node->op == &q8_op_elu ? fabs((double)a->alpha) : 0;
}

/* Every element a little off, relative to itself, to the tensor's usual size or to `least`. */
static void disturb(float *x, size_t n, double least, uint64_t *state)
{
    double power = 0;
    for (size_t i = 0; i < n; i++)
        power += isfinite(x[i]) ? (double)x[i] * (double)x[i] : 0;
    const double usual = fmax(n ? sqrt(power / (double)n) : 0, least);
    for (size_t i = 0; i < n; i++) {
        const double unit = (double)(fuzz_random(state) >> 11) * 0x1p-52 - 1;
        const double y = (double)x[i] + noise * unit * fmax(fabs((double)x[i]), usual);
        if (isfinite(x[i]) && fabs(y) < 3e38)
            x[i] = (float)y;
    }
}

static q8_code run_node(const q8_graph *graph, const q8_node *node, float **value, q8_err *err)
{
    q8_shape *shape = malloc(((size_t)node->n_in + (size_t)node->n_out + 1) * sizeof(*shape));
    float **data = malloc(((size_t)node->n_in + (size_t)node->n_out + 1) * sizeof(*data));
    if (!shape || !data)
        abort();
    for (int i = 0; i < node->n_in + node->n_out; i++) {
        const int t = i < node->n_in ? node->in[i] : node->out[i - node->n_in];
        shape[i] = graph->tensor[t].shape;
        data[i] = value[t];
    }
    const q8_forward f = {node, shape, shape + node->n_in, (const float *const *)data,
                          data + node->n_in};
    const q8_code code = node->op->forward(&f, err);
    free(shape);
    free(data);
    return code;
}

/* @param disturbed 0: exactly; else the number of the run */
static q8_code run_all(const fuzz_reference *r, float **value, int disturbed, q8_err *err)
{
    uint64_t state = r->seed + (uint64_t)disturbed;
    for (int i = 0; i < r->graph->n_nodes; i++) {
        const q8_node *node = r->graph->node[i];
        bool is_noisy = disturbed > 0;
        if (node->op == &q8_op_input) {
            const q8_tensor *tensor = &r->graph->tensor[node->out[0]];
            for (size_t k = 0; k < q8_shape_count(&tensor->shape); k++)
                value[node->out[0]][k] = fuzz_input_value(r->seed, tensor->name, 0, k);
            is_noisy &= kind_of(r->seed, tensor->name) != INTEGERS;
        } else {
            const q8_code code = run_node(r->graph, node, value, err);
            if (code)
                return code;
        }
        for (int k = 0; k < node->n_out && is_noisy; k++)
            disturb(value[node->out[k]], q8_shape_count(&r->graph->tensor[node->out[k]].shape),
                    scale_inside(node), &state);
    }
    return Q8_OK;
}

/* Values below 1e-10 count as 0, as functions
 * like log(1 + exp(x)) end in 0 there or not. */
static double nmse(const float *expected, const float *x, size_t n)
{
    double power = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return INFINITY;
        const double d = (double)x[i] - (double)expected[i];
        power += (double)expected[i] * (double)expected[i];
        error += d * d;
    }
    return n ? error / fmax(power, (double)n * 1e-20) : 0;
}

static q8_code widen(fuzz_reference *r, int from, int to, q8_err *err)
{
    float **value = new_values(r->graph);
    for (int run = from; run < to; run++) {
        const q8_code code = run_all(r, value, run + 1, err);
        if (code)
            return code;
        for (int t = 0; t < r->graph->n_tensors; t++) {
            const size_t n = q8_shape_count(&r->graph->tensor[t].shape);
            r->tolerance[t] = fmax(r->tolerance[t], 100 * nmse(r->value[t], value[t], n));
        }
    }
    return Q8_OK;
}

q8_code fuzz_reference_make(fuzz_reference *reference, const q8_graph *graph, uint64_t seed,
                            q8_err *err)
{
    *reference = (fuzz_reference){graph, seed, new_values(graph), NULL};
    reference->tolerance =
        q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(double));
    if (!reference->tolerance)
        abort();
    for (int t = 0; t < graph->n_tensors; t++)
        reference->tolerance[t] = FUZZ_NMSE;
    const q8_code code = run_all(reference, reference->value, 0, err);
    return code ? code : widen(reference, 0, RUNS, err);
}

static bool is_within(const fuzz_reference *reference, int tensor, float largest)
{
    for (size_t i = 0; i < q8_shape_count(&reference->graph->tensor[tensor].shape); i++)
        if (!(fabsf(reference->value[tensor][i]) <= largest))
            return false;
    return true;
}

bool fuzz_reference_finite(const fuzz_reference *reference)
{
    const q8_graph *graph = reference->graph;
    bool finite = true;
    for (int t = 0; t < graph->n_tensors; t++)
        finite = finite && is_within(reference, t, FUZZ_LARGEST);
    return finite;
}

/* --- the other network ------------------------------------------------------------------------ */

struct watched {
    fuzz_reference *reference;
    const q8_graph *graph, *named;
    const char *what;
    bool is_finite;
};

/* The reference's output that a tensor is; -1: none. */
static int find_output(const fuzz_reference *r, const q8_graph *named, const char *name)
{
    for (int i = 0; i < named->n_outputs; i++)
        if (strcmp(named->tensor[named->output[i]].name, name) == 0)
            return r->graph->output[i];
    return -1;
}

static void complain(const struct watched *w, const char *name, double error, double tolerance)
{
    const q8_graph *graph = w->reference->graph;
    for (int t = 0; t < graph->n_tensors; t++) {
        float largest = 0;
        for (size_t i = 0; i < q8_shape_count(&graph->tensor[t].shape); i++)
            largest = fmaxf(largest, fabsf(w->reference->value[t][i]));
        fprintf(stderr, "fuzz: up to %g in '%s'\n", (double)largest, graph->tensor[t].name);
    }
    fprintf(stderr, "fuzz: %s: output '%s' has an NMSE of %g, not %g\n", w->what, name, error,
            tolerance);
    abort();
}

static q8_code compare(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct watched *w = user;
    fuzz_reference *r = w->reference;
    const char *name = w->graph->tensor[tensor].name;
    const int t = find_output(r, w->named, name);
    const size_t n = q8_shape_count(&view->shape);
    if (t < 0)
        return Q8_OK;
    if (n != q8_shape_count(&r->graph->tensor[t].shape))
        complain(w, name, NAN, 0);
    float *x = malloc((n + 1) * sizeof(*x));
    if (!x)
        abort();
    q8_view_to_nchw(view, 0, x);
    const double error = w->is_finite ? nmse(r->value[t], x, n) : 0;
    free(x);
    if (error > r->tolerance[t]) { /* perhaps it was a decision that is rarely made otherwise */
        fuzz_must(widen(r, RUNS, MORE_RUNS, err), err, "running again");
        if (error > r->tolerance[t])
            complain(w, name, error, r->tolerance[t]);
    }
    return Q8_OK;
}

static void fill_inputs(q8_run *run, const q8_graph *graph, uint64_t seed)
{
    for (int i = 0, input = 0; i < graph->n_nodes; i++) {
        if (graph->node[i]->op != &q8_op_input)
            continue;
        const q8_tensor *tensor = &graph->tensor[graph->node[i]->out[0]];
        float *x = q8_run_input(run, input++, 0);
        for (size_t k = 0; k < q8_shape_count(&tensor->shape); k++)
            x[k] = fuzz_input_value(seed, tensor->name, 0, k);
    }
}

void fuzz_must_agree(const fuzz_reference *reference, const q8_graph *graph, const q8_graph *named,
                     const char *what, q8_err *err)
{
    q8_exec *exec = NULL;
    q8_run *run = NULL;
    fuzz_reference copy = *reference;
    bool *wanted = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted)
        abort();
    for (int i = 0; i < graph->n_nodes; i++) /* a network that was read has no list of outputs */
        for (int k = 0; k < graph->node[i]->n_out; k++)
            wanted[graph->node[i]->out[k]] =
                find_output(reference, named, graph->tensor[graph->node[i]->out[k]].name) >= 0;
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU, .batch = 1, .wanted = wanted};
    fuzz_must(q8_exec_open(&exec, graph, &opts, err), err, what);
    fuzz_must(q8_run_open(&run, exec, err), err, what);
    fill_inputs(run, graph, reference->seed);
    struct watched watched = {&copy, graph, named, what, fuzz_reference_finite(reference)};
    fuzz_must(q8_run_forward(run, 1, compare, &watched, err), err, what);
    q8_run_close(&run);
    q8_exec_close(&exec);
}
