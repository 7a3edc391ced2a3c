#include "exec/node_gpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ops/rows.h"

struct q8_lone_node {
    q8_arena *arena;
    q8_graph *graph; /* an Input for each of the node's inputs, and the node */
    q8_exec *exec;
    q8_run *run;
    pthread_mutex_t lock; /* of the run */
    bool has_lock;
};

static bool add_input(q8_graph *graph, const q8_shape *shape, int *tensor)
{
    q8_node *node = q8_node_new(graph->arena, &q8_op_input, "", 0, 1);
    *tensor = q8_graph_add_tensor(graph, "", shape);
    if (!node || *tensor < 0)
        return false;
    node->out[0] = *tensor;
    return q8_graph_insert(graph, node, graph->n_nodes);
}

/* @return false when out of memory */
static bool make_graph(q8_lone_node *lone, const q8_graph *from, const q8_node *node)
{
    q8_graph *graph = lone->graph = q8_graph_new(lone->arena);
    q8_node *copy = q8_node_new(lone->arena, node->op, node->name, node->n_in, node->n_out);
    if (!graph || !copy)
        return false;
    int *in = copy->in, *out = copy->out;
    *copy = *node;
    copy->in = in;
    copy->out = out;
    for (int i = 0; i < node->n_in; i++)
        if (!add_input(graph, &from->tensor[node->in[i]].shape, &in[i]))
            return false;
    for (int i = 0; i < node->n_out; i++)
        if ((out[i] = q8_graph_add_tensor(graph, "", &from->tensor[node->out[i]].shape)) < 0)
            return false;
    graph->output = out;
    graph->n_outputs = node->n_out;
    return q8_graph_insert(graph, copy, graph->n_nodes);
}

q8_code q8_lone_node_open(q8_lone_node **out, const q8_graph *graph, const q8_node *node,
                          q8_gpu *gpu, q8_err *err)
{
    const q8_exec_opts opts = {.backend = Q8_BACKEND_GPU, .gpu = gpu, .batch = 1};
    q8_lone_node *lone = *out = calloc(1, sizeof(*lone));
    q8_code code = Q8_OK;
    if (!lone || !(lone->arena = q8_arena_open()) || !make_graph(lone, graph, node) ||
        pthread_mutex_init(&lone->lock, NULL) != 0)
        code = q8_fail_nomem(err);
    else
        lone->has_lock = true;
    if (!code)
        code = q8_exec_open(&lone->exec, lone->graph, &opts, err);
    if (!code)
        code = q8_run_open(&lone->run, lone->exec, err);
    if (code)
        q8_lone_node_close(out);
    return code;
}

void q8_lone_node_close(q8_lone_node **out)
{
    q8_lone_node *lone = *out;
    if (!lone)
        return;
    q8_run_close(&lone->run);
    q8_exec_close(&lone->exec);
    if (lone->has_lock)
        pthread_mutex_destroy(&lone->lock);
    q8_arena_close(&lone->arena);
    free(lone);
    *out = NULL;
}

struct outputs {
    const q8_graph *graph;
    float *const *out;
};

static q8_code take_output(void *user, int tensor, const q8_view *view, q8_err *err)
{
    const struct outputs *o = user;
    (void)err;
    for (int i = 0; i < o->graph->n_outputs; i++)
        if (o->graph->output[i] == tensor)
            q8_view_to_nchw(view, 0, o->out[i]);
    return Q8_OK;
}

q8_code q8_lone_node_run(q8_lone_node *lone, const float *const *in, float *const *out, q8_err *err)
{
    const q8_graph *graph = lone->graph;
    struct outputs outputs = {graph, out};
    pthread_mutex_lock(&lone->lock);
    for (int i = 0; i < graph->n_nodes - 1; i++)
        memcpy(q8_run_input(lone->run, i, 0), in[i],
               q8_shape_count(&graph->tensor[graph->node[i]->out[0]].shape) * sizeof(float));
    const q8_code code = q8_run_forward(lone->run, 1, take_output, &outputs, err);
    pthread_mutex_unlock(&lone->lock);
    return code;
}
