/* From a graph and the tensors wanted of it to a plan: which nodes run, by whose kernels, in which
 * layouts, and where in the slab each tensor lies. */
#include <stdlib.h>

#include "exec/layout.h"
#include "exec/planner.h"
#include "ops/rows.h"

/* --- what is needed --------------------------------------------------------------------------- */

bool q8_planner_wants(const q8_planner *p, int tensor)
{
    return p->opts->wanted ? p->opts->wanted[tensor] : q8_graph_is_output(p->graph, tensor);
}

static bool is_needed(const q8_planner *p, const q8_node *node)
{
    for (int i = 0; i < node->n_out; i++)
        if (p->place[node->out[i]].needed)
            return true;
    return false;
}

/* An output may be the input under another name. */
static void mark_use(q8_planner *p, int tensor, const q8_node *node, int index)
{
    q8_place *place = &p->place[tensor];
    place->needed = true;
    if (place->last_use < index)
        place->last_use = index;
    for (int k = 0; k < node->n_out; k++)
        if (node->op->is_identity && place->last_use < p->place[node->out[k]].last_use)
            place->last_use = p->place[node->out[k]].last_use;
}

static void mark_needed(q8_planner *p)
{
    for (int t = 0; t < p->graph->n_tensors; t++) {
        p->place[t].needed = q8_planner_wants(p, t);
        p->place[t].last_use = -1;
    }
    for (int i = p->graph->n_nodes - 1; i >= 0; i--) {
        const q8_node *node = p->graph->node[i];
        for (int k = 0; k < node->n_in && is_needed(p, node); k++)
            mark_use(p, node->in[k], node, i);
    }
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* An Input always has its memory, as callers fill it whether or not it is needed. */
static q8_code plan_input(q8_planner *p, const q8_node *node)
{
    q8_exec *exec = p->exec;
    q8_input *inputs =
        q8_arena_grow(exec->arena, exec->input, (size_t)exec->n_inputs, sizeof(*inputs));
    if (!inputs)
        return q8_fail_nomem(p->err);
    exec->input = inputs;
    int part;
    q8_code code = q8_planner_add_part(p, node->out[0], 1, -1, &part);
    if (code)
        return code;
    inputs[exec->n_inputs++] = (q8_input){part, q8_shape_count(q8_planner_shape(p, node->out[0]))};
    q8_planner_set_made(p, node->out[0], 1, part);
    return Q8_OK;
}

static q8_code get_edges(const q8_planner *p, const q8_node *node, q8_edges *e)
{
    const size_t n_in = (size_t)node->n_in, n_out = (size_t)node->n_out;
    *e = (q8_edges){0};
    e->in = malloc((n_in + 1) * sizeof(*e->in));
    e->out = malloc((n_out + 1) * sizeof(*e->out));
    e->in_block = malloc((n_in + 1) * sizeof(*e->in_block));
    if (!e->in || !e->out || !e->in_block)
        return q8_fail_nomem(p->err);
    for (size_t i = 0; i < n_in; i++) {
        e->in[i] = *q8_planner_shape(p, node->in[i]);
        const int block = p->place[node->in[i]].block;
        e->in_block[i] = block == Q8_ON_GPU ? 1 : block;
        if (!block)
            return q8_fail(p->err, Q8_EINTERNAL, &node->loc, node->name,
                           "reads tensor '%s' before it is made",
                           p->graph->tensor[node->in[i]].name);
    }
    for (size_t i = 0; i < n_out; i++)
        e->out[i] = *q8_planner_shape(p, node->out[i]);
    return Q8_OK;
}

static void free_edges(q8_edges *e)
{
    free(e->in);
    free(e->out);
    free(e->in_block);
}

/* The parts that a kernel reads, and behind them the one it adds to. Conversions come before the
 * node's own step. */
static q8_code get_parts(q8_planner *p, const q8_node *node, const q8_kernel *kernel,
                         const q8_residual *residual, int *parts)
{
    q8_code code = Q8_OK;
    for (int i = 0; !code && i < node->n_in; i++)
        code = q8_planner_get_part(p, node->in[i], kernel->in_block, &parts[i]);
    if (!code && kernel->adds)
        code = q8_planner_get_part(p, residual->other, kernel->out_block, &parts[node->n_in]);
    return code;
}

static q8_code add_outputs(q8_planner *p, const q8_node *node, const q8_step *step)
{
    q8_code code = Q8_OK;
    for (int i = 0; !code && i < node->n_out; i++) {
        code = q8_planner_add_part(p, node->out[i], step->kernel->out_block, p->exec->n_steps - 1,
                                   &step->out[i]);
        if (!code)
            q8_planner_set_made(p, node->out[i], step->kernel->out_block, step->out[i]);
    }
    return code;
}

/* The sum takes the place of what is added to. */
static void finish_residual(q8_planner *p, int index, const q8_residual *residual,
                            const q8_step *step)
{
    step->out[0] = step->in[step->n_in - 1];
    q8_planner_set_made(p, residual->out, step->kernel->out_block, step->out[0]);
    for (int i = index + 1; i <= residual->last; i++)
        p->exec->node_backend[i] = p->exec->node_backend[index];
    p->planned = residual->last;
}

static q8_code add_node_step(q8_planner *p, int index, q8_kernel *kernel,
                             const q8_residual *residual, int *parts)
{
    const q8_node *node = p->graph->node[index];
    const int n_in = node->n_in + kernel->adds;
    q8_step *step;
    q8_code code = get_parts(p, node, kernel, residual, parts);
    if (code) {
        kernel->close(kernel);
        return code;
    }
    code = q8_planner_add_step(p, kernel, n_in, node->n_out, &step);
    if (code)
        return code;
    for (int i = 0; i < n_in; i++) {
        q8_planner_touch(p, parts[i], p->exec->n_steps - 1);
        step->in[i] = parts[i];
    }
    if (!kernel->adds)
        return add_outputs(p, node, step);
    finish_residual(p, index, residual, step);
    return Q8_OK;
}

static q8_code plan_kernel(q8_planner *p, int index, const q8_edges *e)
{
    const q8_node *node = p->graph->node[index];
    q8_residual residual;
    const bool found = q8_plan_residual(p, index, &residual);
    q8_kernel *kernel;
    q8_code code =
        q8_plan_kernel(p->graph, node, p->opts, found ? &residual.after : NULL, e->in_block,
                       p->batch, &kernel, &p->exec->node_backend[index], p->err);
    if (code)
        return code;
    int *parts = malloc(((size_t)node->n_in + 1) * sizeof(*parts));
    if (parts) {
        code = add_node_step(p, index, kernel, &residual, parts);
    } else {
        kernel->close(kernel);
        code = q8_fail_nomem(p->err);
    }
    free(parts);
    return code;
}

/* Wanted outputs are shown after the latest step, which must not have overwritten them. */
static q8_code plan_sights(q8_planner *p, const q8_node *node)
{
    q8_exec *exec = p->exec;
    for (int i = 0; i < node->n_out; i++) {
        const int tensor = node->out[i];
        if (!q8_planner_wants(p, tensor))
            continue;
        q8_sight *sights =
            q8_arena_grow(exec->arena, exec->sight, (size_t)exec->n_sights, sizeof(*sights));
        if (!sights)
            return q8_fail_nomem(p->err);
        exec->sight = sights;
        int block = p->place[tensor].block, part;
        if (block == Q8_ON_GPU && !p->opts->gpu_views)
            block = 1;
        const q8_code code = q8_planner_get_part(p, tensor, block, &part);
        if (code)
            return code;
        const bool on_gpu = block == Q8_ON_GPU;
        const int after = exec->n_steps - 1;
        q8_planner_touch(p, part, after);
        sights[exec->n_sights++] =
            (q8_sight){.after = after,
                       .tensor = tensor,
                       .part = part,
                       .block = on_gpu ? 1 : q8_layout_block(q8_planner_shape(p, tensor), block),
                       .on_gpu = on_gpu};
    }
    return Q8_OK;
}

static q8_code plan_node(q8_planner *p, int index)
{
    const q8_node *node = p->graph->node[index];
    q8_edges e;
    bool planned = false;
    q8_code code = get_edges(p, node, &e);
    if (!code && q8_plan_passes_through(node, &e)) {
        code = q8_plan_alias(p, node, &e);
        planned = true;
    }
    if (!code && !planned)
        code = q8_plan_concat(p, node, &e, &planned);
    if (!code && !planned)
        code = plan_kernel(p, index, &e);
    free_edges(&e);
    return code ? code : plan_sights(p, node);
}

static q8_code check_wanted_made(const q8_planner *p)
{
    for (int t = 0; t < p->graph->n_tensors; t++)
        if (q8_planner_wants(p, t) && !p->place[t].block)
            return q8_fail(p->err, Q8_EINVAL, NULL, NULL, "no node makes the wanted tensor '%s'",
                           p->graph->tensor[t].name);
    return Q8_OK;
}

/* What is planned from here on runs for the whole batch. */
static void begin_batch(q8_planner *p)
{
    p->exec->front = p->exec->n_steps;
    p->batch = p->exec->batch;
}

/* Where the front ends. A GPU is the faster the more it is given at once. */
static int front_of(const q8_planner *p)
{
    if (p->opts->backend == Q8_BACKEND_GPU)
        return 0;
    return p->opts->batch_from ? p->opts->batch_from : q8_plan_front(p->graph, p->exec->batch);
}

static q8_code plan_graph(q8_planner *p)
{
    const q8_graph *graph = p->graph;
    q8_code code = Q8_OK;
    mark_needed(p);
    p->front = front_of(p);
    p->batch = p->front > 0 ? 1 : p->exec->batch;
    /* Inputs first: all are filled before the first step, wherever their nodes stand. */
    for (int i = 0; !code && i < graph->n_nodes; i++)
        if (graph->node[i]->op == &q8_op_input)
            code = plan_input(p, graph->node[i]);
    for (int i = 0; !code && i < graph->n_nodes; i++) {
        if (i == p->front)
            begin_batch(p);
        if (graph->node[i]->op == &q8_op_input || i <= p->planned)
            code = plan_sights(p, graph->node[i]);
        else if (is_needed(p, graph->node[i]))
            code = plan_node(p, i);
    }
    if (p->front >= graph->n_nodes)
        begin_batch(p);
    if (!code)
        code = check_wanted_made(p);
    q8_planner_spread(p);
    q8_planner_align(p);
    if (!code)
        code = q8_slab_place(p->exec->part, p->exec->n_parts, false, &p->exec->slab_bytes, p->err);
    if (!code)
        code =
            q8_slab_place(p->exec->part, p->exec->n_parts, true, &p->exec->gpu_slab_bytes, p->err);
    return code;
}

/* --- open and close --------------------------------------------------------------------------- */

q8_code q8_exec_open(q8_exec **out, const q8_graph *graph, const q8_exec_opts *opts, q8_err *err)
{
    *out = NULL;
    if (opts->batch < 1)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "a batch has at least one picture");
    q8_code code = Q8_OK;
    q8_exec *exec = calloc(1, sizeof(*exec));
    q8_planner p = {.exec = exec, .graph = graph, .opts = opts, .err = err, .planned = -1};
    p.place = calloc((size_t)graph->n_tensors + 1, sizeof(*p.place));
    if (!exec || !p.place || !(exec->arena = q8_arena_open())) {
        code = q8_fail_nomem(err);
        goto fail;
    }
    exec->graph = graph;
    exec->batch = opts->batch;
    exec->gpu = opts->backend == Q8_BACKEND_GPU ? opts->gpu : NULL;
    exec->node_backend =
        q8_arena_array(exec->arena, (size_t)graph->n_nodes + 1, sizeof(*exec->node_backend));
    if (!exec->node_backend) {
        code = q8_fail_nomem(err);
        goto fail;
    }
    for (int t = 0; t < graph->n_tensors; t++)
        for (int i = 0; i < Q8_N_PLACES; i++)
            p.place[t].part[i] = -1;
    code = plan_graph(&p);
    if (!code)
        code = q8_plan_prepare(exec, opts->threads > 0 ? opts->threads : 1, err);
fail:
    free(p.place);
    if (code)
        q8_exec_close(&exec);
    *out = exec;
    return code;
}

void q8_exec_close(q8_exec **exec)
{
    if (!*exec)
        return;
    for (int i = 0; i < (*exec)->n_steps; i++)
        (*exec)->step[i].kernel->close((*exec)->step[i].kernel);
    q8_arena_close(&(*exec)->arena);
    free((*exec)->constants);
    free(*exec);
    *exec = NULL;
}

int q8_exec_batch(const q8_exec *exec)
{
    return exec->batch;
}

const char *q8_exec_node_backend(const q8_exec *exec, int index)
{
    const char *name = exec->node_backend[index];
    return name ? name : "";
}
