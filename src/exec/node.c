#include "exec/node.h"

#include <stdatomic.h>
#include <string.h>

#include "base/thread.h"
#include "ops/rows.h"

struct job {
    const q8_exec *exec;
    const q8_graph *graph; /* of the node and an Input for each of its inputs */
    const q8_node *node;   /* in that graph */
    int n;
    const float *const *in;
    float *const *out;
    atomic_int next;
};

/* Where the run at hand puts its outputs. */
struct target {
    const struct job *job;
    int picture;
};

static q8_code store(void *user, int tensor, const q8_view *view, q8_err *err)
{
    (void)err;
    const struct target *t = user;
    const q8_node *node = t->job->node;
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k] == tensor)
            q8_view_to_nchw(view, 0,
                            t->job->out[k] + (size_t)t->picture * q8_shape_count(&view->shape));
    return Q8_OK;
}

static q8_code work(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct job *job = user;
    q8_run *run;
    q8_code code = q8_run_open(&run, job->exec, err);
    for (int i; !code && (i = atomic_fetch_add(&job->next, 1)) < job->n;) {
        struct target target = {job, i};
        for (int k = 0; k < job->node->n_in; k++) {
            const size_t count = q8_shape_count(&job->graph->tensor[job->node->in[k]].shape);
            memcpy(q8_run_input(run, k, 0), job->in[k] + (size_t)i * count, count * sizeof(float));
        }
        code = q8_run_forward(run, 1, store, &target, err);
    }
    q8_run_close(&run);
    return code;
}

/* Adds a tensor like `tensor` of the other graph. */
static int add_like(q8_graph *graph, const q8_graph *of, int tensor)
{
    return q8_graph_add_tensor(graph, of->tensor[tensor].name, &of->tensor[tensor].shape);
}

/* The node alone, reading Input nodes. NULL: out of memory. */
static q8_graph *graph_of(const q8_graph *of, const q8_node *node, q8_arena *arena, q8_node **copy)
{
    q8_graph *graph = q8_graph_new(arena);
    q8_node *own = q8_node_new(arena, node->op, node->name, node->n_in, node->n_out);
    if (!graph || !own)
        return NULL;
    own->attr = node->attr;
    memcpy(own->weight, node->weight, sizeof(own->weight));
    for (int k = 0; k < node->n_in; k++) {
        q8_node *input = q8_node_new(arena, &q8_op_input, "", 0, 1);
        if (!input || (own->in[k] = add_like(graph, of, node->in[k])) < 0 ||
            !q8_graph_insert(graph, input, k))
            return NULL;
        input->out[0] = own->in[k];
    }
    for (int k = 0; k < node->n_out; k++)
        if ((own->out[k] = add_like(graph, of, node->out[k])) < 0)
            return NULL;
    graph->output = own->out;
    graph->n_outputs = own->n_out;
    *copy = own;
    return q8_graph_insert(graph, own, node->n_in) ? graph : NULL;
}

q8_code q8_exec_node(const q8_graph *graph, const q8_node *node, int n, const float *const *in,
                     float *const *out, int threads, q8_err *err)
{
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU, .batch = 1};
    q8_arena *arena = q8_arena_open();
    q8_node *copy = NULL;
    q8_exec *exec = NULL;
    q8_graph *alone = arena ? graph_of(graph, node, arena, &copy) : NULL;
    q8_code code = alone ? q8_exec_open(&exec, alone, &opts, err) : q8_fail_nomem(err);
    if (!code) {
        struct job job = {.exec = exec, .graph = alone, .node = copy, .n = n, .in = in, .out = out};
        code = q8_parallel(threads < n ? threads : n, work, &job, err);
    }
    q8_exec_close(&exec);
    q8_arena_close(&arena);
    return code;
}
