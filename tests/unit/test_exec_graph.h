/** For tests of exec/: small networks built by hand, filled with random numbers, and run. */
#ifndef TEST_EXEC_GRAPH_H
#define TEST_EXEC_GRAPH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/exec.h"
#include "ops/conv.h"
#include "ops/input.h"
#include "ops/rows.h"

struct net {
    q8_arena *arena;
    q8_graph *graph;
    uint32_t seed;
};

static inline uint32_t random_bits(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* In [-1, 1). */
static inline float random_float(uint32_t *seed)
{
    return (float)(random_bits(seed) >> 8) / (1 << 23) - 1;
}

static inline int random_int(uint32_t *seed, int from, int to)
{
    return from + (int)(random_bits(seed) % (uint32_t)(to - from + 1));
}

static inline struct net net_open(uint32_t seed)
{
    struct net net = {.seed = seed * 2654435761U + 1};
    net.arena = q8_arena_open();
    assert_non_null(net.arena);
    net.graph = q8_graph_new(net.arena);
    assert_non_null(net.graph);
    return net;
}

static inline void net_close(struct net *net)
{
    q8_arena_close(&net->arena);
}

/* A node that reads `in` and makes new tensors; attributes are set next, then net_finish(). */
static inline q8_node *net_node(struct net *net, const q8_op *op, int n_in, const int *in,
                                int n_out)
{
    const char *name = q8_arena_printf(net->arena, "%s_%d", op->type, net->graph->n_nodes);
    q8_node *node = q8_node_new(net->arena, op, name, n_in, n_out);
    assert_non_null(node);
    for (int i = 0; i < n_in; i++)
        node->in[i] = in[i];
    for (int i = 0; i < n_out; i++)
        node->out[i] =
            q8_graph_add_tensor(net->graph, q8_arena_printf(net->arena, "%s.%d", name, i), NULL);
    return node;
}

static inline q8_node *net_after(struct net *net, const q8_op *op, int in)
{
    return net_node(net, op, 1, &in, 1);
}

/* Random weights where there are none yet, shapes, and into the graph. @return output 0 */
static inline int net_finish(struct net *net, q8_node *node)
{
    for (int i = 0; i < node->op->n_weights; i++) {
        const size_t count = node->op->weights[i].count(node->attr);
        if (node->weight[i].data)
            continue;
        float *data = q8_arena_array(net->arena, count + 1, sizeof(*data));
        assert_non_null(data);
        for (size_t k = 0; k < count; k++)
            data[k] = random_float(&net->seed);
        node->weight[i] = (q8_weight){count ? data : NULL, count};
    }
    q8_err err = {0};
    if (q8_infer_node(net->graph, node, &err))
        fail_msg("%s: %s", node->name, err.text);
    assert_true(q8_graph_insert(net->graph, node, net->graph->n_nodes));
    return node->out[0];
}

/* A convolution of square kernels; further attributes may be set before net_finish(). */
static inline q8_node *net_conv(struct net *net, const q8_op *op, int in, int outputs, int kernel,
                                int stride, int pad, int dilation, int group)
{
    q8_node *node = net_after(net, op, in);
    q8_conv_attr *a = node->attr;
    const int inputs = net->graph->tensor[in].shape.dim[0];
    a->num_output = outputs;
    a->kernel_w = a->kernel_h = kernel;
    a->stride_w = a->stride_h = stride;
    a->dilation_w = a->dilation_h = dilation;
    a->pad_left = a->pad_right = a->pad_top = a->pad_bottom = pad;
    a->group = group;
    a->bias_term = 1;
    a->weight_data_size = outputs * (inputs / group) * kernel * kernel;
    return node;
}

static inline int net_input(struct net *net, int c, int h, int w)
{
    q8_node *node = net_node(net, &q8_op_input, 0, NULL, 1);
    *(q8_input_attr *)node->attr = (q8_input_attr){.w = w, .h = h, .c = c};
    return net_finish(net, node);
}

static inline void net_output(struct net *net, int tensor)
{
    int *outputs = q8_arena_grow(net->arena, net->graph->output, (size_t)net->graph->n_outputs,
                                 sizeof(*outputs));
    assert_non_null(outputs);
    net->graph->output = outputs;
    outputs[net->graph->n_outputs++] = tensor;
}

/* What a forward showed: per tensor, pictures one after the other in NCHW; NULL where not shown. */
struct seen {
    int n_tensors, n_shown; /* tensors, however many pictures at a time */
    float **data;
    size_t *count;
};

static inline bool padding_is_zero(const q8_view *view)
{
    const int c = view->shape.dim[0], b = view->block;
    const size_t area = q8_shape_spatial(&view->shape);
    const size_t blocks = ((size_t)c + (size_t)b - 1) / (size_t)b, size = blocks * (size_t)b * area;
    for (size_t n = 0; n < (size_t)view->batch; n++)
        for (size_t p = 0; p < area; p++)
            for (int l = c % b ? c % b : b; l < b; l++)
                if (view->data[n * size + ((blocks - 1) * area + p) * (size_t)b + (size_t)l] != 0)
                    return false;
    return true;
}

static inline q8_code see(void *user, int tensor, const q8_view *view, q8_err *err)
{
    (void)err;
    struct seen *seen = user;
    assert_in_range(tensor, 0, seen->n_tensors - 1);
    assert_true(padding_is_zero(view));
    const size_t count = q8_shape_count(&view->shape), before = seen->count[tensor];
    assert_true(before > 0 || (uintptr_t)view->data % 64 == 0);
    seen->n_shown += before == 0;
    seen->count[tensor] += count * (size_t)view->batch;
    seen->data[tensor] = realloc(seen->data[tensor], seen->count[tensor] * sizeof(float));
    assert_non_null(seen->data[tensor]);
    for (int i = 0; i < view->batch; i++)
        q8_view_to_nchw(view, i, seen->data[tensor] + before + (size_t)i * count);
    return Q8_OK;
}

static inline struct seen seen_open(const q8_graph *graph)
{
    struct seen seen = {.n_tensors = graph->n_tensors};
    seen.data = calloc((size_t)graph->n_tensors + 1, sizeof(*seen.data));
    seen.count = calloc((size_t)graph->n_tensors + 1, sizeof(*seen.count));
    assert_non_null(seen.data);
    assert_non_null(seen.count);
    return seen;
}

static inline void seen_close(struct seen *seen)
{
    for (int i = 0; i < seen->n_tensors; i++)
        free(seen->data[i]);
    free(seen->data);
    free(seen->count);
}

/* Picture `seed` of every input; the same seed is the same picture. */
static inline void fill_picture(const q8_graph *graph, q8_run *run, int place, uint32_t seed)
{
    int input = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        if (graph->node[i]->op != &q8_op_input)
            continue;
        uint32_t state = seed * 747796405U + (uint32_t)input * 977U + 1;
        const size_t count = q8_shape_count(&graph->tensor[graph->node[i]->out[0]].shape);
        float *to = q8_run_input(run, input++, place);
        for (size_t k = 0; k < count; k++)
            to[k] = 2 * random_float(&state);
    }
}

static inline q8_exec *open_exec_from(const q8_graph *graph, q8_backend_kind backend, int batch,
                                      int batch_from, const bool *wanted)
{
    q8_exec *exec = NULL;
    q8_err err = {0};
    const q8_exec_opts opts = {
        .backend = backend, .batch = batch, .batch_from = batch_from, .wanted = wanted};
    if (q8_exec_open(&exec, graph, &opts, &err))
        fail_msg("%s: %s", err.layer, err.text);
    return exec;
}

static inline q8_exec *open_exec(const q8_graph *graph, q8_backend_kind backend, int batch,
                                 const bool *wanted)
{
    return open_exec_from(graph, backend, batch, 0, wanted);
}

/* Runs pictures seed, seed+1, … in the first `n` places of a batch. */
static inline struct seen forward(const q8_graph *graph, const q8_exec *exec, int n, uint32_t seed)
{
    q8_err err = {0};
    q8_run *run = NULL;
    struct seen seen = seen_open(graph);
    assert_int_equal(q8_run_open(&run, exec, &err), Q8_OK);
    for (int i = 0; i < n; i++)
        fill_picture(graph, run, i, seed + (uint32_t)i);
    if (q8_run_forward(run, n, see, &seen, &err))
        fail_msg("%s: %s", err.layer, err.text);
    q8_run_close(&run);
    return seen;
}

/* Squared error relative to the energy of `right`. */
static inline double nmse(const float *right, const float *got, size_t count)
{
    double error = 0, energy = 0;
    for (size_t i = 0; i < count; i++) {
        error += ((double)got[i] - right[i]) * ((double)got[i] - right[i]);
        energy += (double)right[i] * right[i];
    }
    return energy > 0 ? error / energy : error;
}

#endif
