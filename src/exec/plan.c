/* From a graph and the tensors wanted of it to a plan: which nodes run, by whose kernels, in which
 * layouts, and where in the slab each tensor lies. */
#include "exec/plan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exec/layout.h"
#include "ops/conv.h"
#include "ops/rows.h"
#include "ops/simple.h"

enum { N_PLACES = Q8_N_BLOCKS + 1 };

/* Where a tensor can be found while the plan is made. */
struct place {
    bool needed;
    int last_use;       /* the last node that reads it, under whatever name; -1: none */
    int block;          /* asked for when it was made; 0 until then */
    int part[N_PLACES]; /* by layout, the last on the GPU; -1 where it is not available */
};

struct planner {
    q8_exec *exec;
    const q8_graph *graph;
    const q8_exec_opts *opts;
    q8_err *err;
    struct place *place; /* by tensor */
    bool *in_batch;      /* by part: there has to be room for all pictures of the batch */
    int front;           /* nodes that run picture by picture */
    int batch;           /* pictures at once of the kernels made now */
};

/* --- what is needed --------------------------------------------------------------------------- */

static bool is_wanted(const struct planner *p, int tensor)
{
    return p->opts->wanted ? p->opts->wanted[tensor] : q8_graph_is_output(p->graph, tensor);
}

static bool is_needed(const struct planner *p, const q8_node *node)
{
    for (int i = 0; i < node->n_out; i++)
        if (p->place[node->out[i]].needed)
            return true;
    return false;
}

/* An output may be the input under another name. */
static void mark_use(struct planner *p, int tensor, const q8_node *node, int index)
{
    struct place *place = &p->place[tensor];
    place->needed = true;
    if (place->last_use < index)
        place->last_use = index;
    for (int k = 0; k < node->n_out; k++)
        if (node->op->is_identity && place->last_use < p->place[node->out[k]].last_use)
            place->last_use = p->place[node->out[k]].last_use;
}

static void mark_needed(struct planner *p)
{
    for (int t = 0; t < p->graph->n_tensors; t++) {
        p->place[t].needed = is_wanted(p, t);
        p->place[t].last_use = -1;
    }
    for (int i = p->graph->n_nodes - 1; i >= 0; i--) {
        const q8_node *node = p->graph->node[i];
        for (int k = 0; k < node->n_in && is_needed(p, node); k++)
            mark_use(p, node->in[k], node, i);
    }
}

/* --- parts of the slab ------------------------------------------------------------------------ */

static const q8_shape *shape_of(const struct planner *p, int tensor)
{
    return &p->graph->tensor[tensor].shape;
}

static int place_index(int block)
{
    return block == Q8_ON_GPU ? Q8_N_BLOCKS : q8_block_index(block);
}

static int asked(const q8_shape *shape, int block)
{
    return block == Q8_ON_GPU ? Q8_ON_GPU : q8_layout_asked(shape, block);
}

static bool in_front(const struct planner *p)
{
    return p->batch < p->exec->batch;
}

/* Steps count from 0; inputs are there before, at -1. */
static void touch(struct planner *p, int part, int step)
{
    if (p->exec->part[part].last < step)
        p->exec->part[part].last = step;
    if (!in_front(p))
        p->in_batch[part] = true;
}

/* Memory for a tensor in one layout, live from `step` on. */
static q8_code add_part(struct planner *p, int tensor, int block, int step, int *part)
{
    q8_exec *exec = p->exec;
    const q8_shape *shape = shape_of(p, tensor);
    const bool on_gpu = block == Q8_ON_GPU;
    size_t bytes;
    if (q8_shape_count(shape) == 0)
        return q8_fail(p->err, Q8_EINTERNAL, NULL, NULL, "tensor '%s' has no shape",
                       p->graph->tensor[tensor].name);
    const size_t picture = q8_layout_count(shape, on_gpu ? 1 : block) * sizeof(float);
    if (__builtin_mul_overflow(picture, (size_t)exec->batch, &bytes) ||
        bytes > SIZE_MAX - Q8_GPU_ALIGN)
        return q8_fail(p->err, Q8_ENOMEM, NULL, NULL, "a batch of %d pictures is too large",
                       exec->batch);
    q8_slab_part *parts =
        q8_arena_grow(exec->arena, exec->part, (size_t)exec->n_parts, sizeof(*parts));
    bool *in_batch =
        q8_arena_grow(exec->arena, p->in_batch, (size_t)exec->n_parts, sizeof(*in_batch));
    if (!parts || !in_batch)
        return q8_fail_nomem(p->err);
    exec->part = parts;
    p->in_batch = in_batch;
    in_batch[exec->n_parts] = step < 0 || !in_front(p);
    parts[exec->n_parts] =
        (q8_slab_part){.bytes = picture, .first = step, .last = step, .on_gpu = on_gpu};
    *part = exec->n_parts++;
    return Q8_OK;
}

/* Room for the batch in parts that need it. What lies between the front and the rest lives through
 * all of the front, as its steps run once for each picture. */
static void spread_parts(struct planner *p)
{
    q8_exec *exec = p->exec;
    if (exec->batch == 1)
        return;
    for (int i = 0; i < exec->n_parts; i++) /* wholes stand behind their pieces */
        if (exec->part[i].whole && p->in_batch[i])
            p->in_batch[exec->part[i].whole - 1] = true;
    for (int i = exec->n_parts - 1; i >= 0; i--) {
        q8_slab_part *part = &exec->part[i];
        const int whole = part->whole - 1;
        if (!p->in_batch[whole >= 0 ? whole : i])
            continue;
        p->in_batch[i] = true;
        part->stride = whole >= 0 ? exec->part[whole].stride : part->bytes;
        if (part->first >= exec->front)
            continue;
        part->first = part->first < 0 ? part->first : 0;
        part->last = part->last < exec->front - 1 ? exec->front - 1 : part->last;
    }
    for (int i = 0; i < exec->n_parts; i++)
        if (exec->part[i].stride)
            exec->part[i].bytes *= (size_t)exec->batch;
}

static void align_on_gpu(q8_exec *exec)
{
    for (int i = 0; i < exec->n_parts; i++)
        if (exec->part[i].on_gpu)
            exec->part[i].bytes =
                (exec->part[i].bytes + Q8_GPU_ALIGN - 1) / Q8_GPU_ALIGN * Q8_GPU_ALIGN;
}

/* Where the front ends. A GPU is the faster the more it is given at once. */
static int front_of(const struct planner *p)
{
    if (p->opts->backend == Q8_BACKEND_GPU)
        return 0;
    return p->opts->batch_from ? p->opts->batch_from : q8_plan_front(p->graph, p->exec->batch);
}

/* The tensor was made in this layout, in this part. */
static void set_made(struct planner *p, int tensor, int block, int part)
{
    struct place *place = &p->place[tensor];
    place->block = asked(shape_of(p, tensor), block);
    place->part[place_index(place->block)] = part;
}

static q8_code add_step(struct planner *p, q8_kernel *kernel, int n_in, int n_out, q8_step **step)
{
    q8_exec *exec = p->exec;
    q8_step *steps = q8_arena_grow(exec->arena, exec->step, (size_t)exec->n_steps, sizeof(*steps));
    int *ids = q8_arena_array(exec->arena, (size_t)n_in + (size_t)n_out, sizeof(*ids));
    if (!steps || !ids) {
        kernel->close(kernel);
        return q8_fail_nomem(p->err);
    }
    exec->step = steps;
    *step = &steps[exec->n_steps++];
    **step = (q8_step){kernel, n_in, n_out, ids, ids + n_in};
    if (exec->most_edges < n_in + n_out)
        exec->most_edges = n_in + n_out;
    if (kernel->scratch > exec->scratch_bytes)
        exec->scratch_bytes = kernel->scratch;
    if (kernel->gpu_scratch > exec->gpu_scratch_bytes)
        exec->gpu_scratch_bytes = kernel->gpu_scratch;
    return Q8_OK;
}

static q8_code convert_kernel(const struct planner *p, const q8_shape *shape, int from, int to,
                              q8_kernel **kernel)
{
    if (from == Q8_ON_GPU || to == Q8_ON_GPU)
        return q8_gpu_transfer(p->exec->gpu, shape, p->batch, to == Q8_ON_GPU, kernel, p->err);
    return q8_layout_kernel(shape, p->batch, from, to, kernel, p->err);
}

/* Adds a step that makes the tensor in the layout `block` from that in part `have`. */
static q8_code convert(struct planner *p, int tensor, int have, int from, int block)
{
    q8_kernel *kernel;
    q8_step *step;
    int part;
    q8_code code = convert_kernel(p, shape_of(p, tensor), from, block, &kernel);
    if (!code)
        code = add_step(p, kernel, 1, 1, &step);
    if (!code)
        code = add_part(p, tensor, block, p->exec->n_steps - 1, &part);
    if (code)
        return code;
    touch(p, have, p->exec->n_steps - 1);
    step->in[0] = have;
    step->out[0] = part;
    p->place[tensor].part[place_index(block)] = part;
    return Q8_OK;
}

/* The tensor in the layout `block`, by steps that convert it if it is not there yet. What goes to
 * the GPU or comes from there does so in plain order. */
static q8_code get_part(struct planner *p, int tensor, int block, int *part)
{
    struct place *place = &p->place[tensor];
    const q8_shape *shape = shape_of(p, tensor);
    if (!place->block)
        return q8_fail(p->err, Q8_EINTERNAL, NULL, NULL, "tensor '%s' is read before it is made",
                       p->graph->tensor[tensor].name);
    block = asked(shape, block);
    int *found = &place->part[place_index(block)], from = place->block;
    int have = place->part[place_index(from)];
    q8_code code = Q8_OK;
    if (*found < 0 && from != block && (block == Q8_ON_GPU || (from == Q8_ON_GPU && block != 1))) {
        from = 1;
        code = get_part(p, tensor, from, &have);
    }
    if (!code && *found < 0 && block != Q8_ON_GPU && from != Q8_ON_GPU &&
        q8_layout_same(shape, block, from))
        *found = have;
    if (!code && *found < 0)
        code = convert(p, tensor, have, from, block);
    *part = *found;
    return code;
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* An Input always has its memory, as callers fill it whether or not it is needed. */
static q8_code plan_input(struct planner *p, const q8_node *node)
{
    q8_exec *exec = p->exec;
    q8_input *inputs =
        q8_arena_grow(exec->arena, exec->input, (size_t)exec->n_inputs, sizeof(*inputs));
    if (!inputs)
        return q8_fail_nomem(p->err);
    exec->input = inputs;
    int part;
    q8_code code = add_part(p, node->out[0], 1, -1, &part);
    if (code)
        return code;
    inputs[exec->n_inputs++] = (q8_input){part, q8_shape_count(shape_of(p, node->out[0]))};
    set_made(p, node->out[0], 1, part);
    return Q8_OK;
}

/* Shapes and layouts of a node's edges, in arrays the caller frees. */
struct edges {
    q8_shape *in, *out;
    int *in_block;
};

static q8_code get_edges(const struct planner *p, const q8_node *node, struct edges *e)
{
    const size_t n_in = (size_t)node->n_in, n_out = (size_t)node->n_out;
    *e = (struct edges){0};
    e->in = malloc((n_in + 1) * sizeof(*e->in));
    e->out = malloc((n_out + 1) * sizeof(*e->out));
    e->in_block = malloc((n_in + 1) * sizeof(*e->in_block));
    if (!e->in || !e->out || !e->in_block)
        return q8_fail_nomem(p->err);
    for (size_t i = 0; i < n_in; i++) {
        e->in[i] = *shape_of(p, node->in[i]);
        const int block = p->place[node->in[i]].block;
        e->in_block[i] = block == Q8_ON_GPU ? 1 : block;
        if (!block)
            return q8_fail(p->err, Q8_EINTERNAL, &node->loc, node->name,
                           "reads tensor '%s' before it is made",
                           p->graph->tensor[node->in[i]].name);
    }
    for (size_t i = 0; i < n_out; i++)
        e->out[i] = *shape_of(p, node->out[i]);
    return Q8_OK;
}

static void free_edges(struct edges *e)
{
    free(e->in);
    free(e->out);
    free(e->in_block);
}

static bool passes_through(const q8_node *node, const struct edges *e)
{
    return node->n_in == 1 && node->op->is_identity && node->op->is_identity(node, e->in, e->out);
}

/* The outputs are other names of the input's memory. Only a changed shape needs plain order. */
static q8_code plan_alias(struct planner *p, const q8_node *node, const struct edges *e)
{
    int block = p->place[node->in[0]].block, part;
    for (int i = 0; i < node->n_out && block != Q8_ON_GPU; i++)
        if (!q8_shape_equal(&e->in[0], &e->out[i]))
            block = 1;
    q8_code code = get_part(p, node->in[0], block, &part);
    if (code)
        return code;
    for (int i = 0; i < node->n_out; i++)
        set_made(p, node->out[i], block, part);
    return Q8_OK;
}

/* --- concatenations in place ------------------------------------------------------------------ */

/* Does the concatenation put its inputs, as they lie in memory, one behind the other? Only for a
 * picture at a time, and where nothing reads an input as a batch of its own. */
static bool inputs_lie_in_a_row(const struct planner *p, const q8_node *node, const struct edges *e)
{
    const q8_concat_attr *a = node->attr;
    if (p->batch != 1 || (a->axis != 0 && a->axis != -e->out[0].rank))
        return false;
    for (int i = 0; i < node->n_in; i++) {
        if (e->in_block[i] != e->in_block[0] || e->in_block[i] == Q8_CHANNELS_LAST)
            return false;
        const int block = q8_layout_block(&e->in[i], e->in_block[i]);
        const size_t bytes = q8_layout_count(&e->in[i], block) * sizeof(float);
        if (e->in[i].dim[0] % block || bytes % Q8_SLAB_ALIGN ||
            p->place[node->in[i]].last_use >= p->front)
            return false;
    }
    return true;
}

/* The part a tensor was made in, if it may become a piece of a larger one: of a batch, a piece's
 * pictures would not follow each other. */
static q8_slab_part *free_part(const struct planner *p, int tensor)
{
    const struct place *place = &p->place[tensor];
    const int index = place->part[place_index(place->block)];
    q8_slab_part *part = &p->exec->part[index];
    return part->whole || (p->exec->batch > 1 && p->in_batch[index]) ? NULL : part;
}

/* Makes the inputs pieces of the output's memory, so that nothing needs to be copied. */
static q8_code plan_concat(struct planner *p, const q8_node *node, const struct edges *e,
                           bool *planned)
{
    int whole;
    size_t at = 0;
    *planned = false;
    if (node->op != &q8_op_concat || !inputs_lie_in_a_row(p, node, e))
        return Q8_OK;
    for (int i = 0; i < node->n_in; i++) {
        if (!free_part(p, node->in[i]))
            return Q8_OK;
        for (int k = 0; k < i; k++)
            if (free_part(p, node->in[i]) == free_part(p, node->in[k]))
                return Q8_OK;
    }
    q8_code code = add_part(p, node->out[0], e->in_block[0], p->exec->n_steps - 1, &whole);
    for (int i = 0; i < node->n_in && !code; i++) {
        q8_slab_part *piece = free_part(p, node->in[i]);
        piece->whole = whole + 1;
        piece->at = at;
        at += piece->bytes;
    }
    if (!code)
        set_made(p, node->out[0], e->in_block[0], whole);
    *planned = true;
    return code;
}

static q8_code plan_kernel(struct planner *p, int index, const struct edges *e)
{
    const q8_node *node = p->graph->node[index];
    q8_kernel *kernel;
    q8_code code = q8_plan_kernel(p->graph, node, p->opts, e->in_block, p->batch, &kernel,
                                  &p->exec->node_backend[index], p->err);
    if (code)
        return code;
    /* Conversions come before the node's own step, so the inputs' parts are collected first. */
    int *parts = malloc(((size_t)node->n_in + 1) * sizeof(*parts));
    if (!parts)
        code = q8_fail_nomem(p->err);
    for (int i = 0; !code && i < node->n_in; i++)
        code = get_part(p, node->in[i], kernel->in_block, &parts[i]);
    if (code) {
        kernel->close(kernel);
        goto fail;
    }
    q8_step *step;
    code = add_step(p, kernel, node->n_in, node->n_out, &step);
    if (code)
        goto fail;
    const int now = p->exec->n_steps - 1;
    for (int i = 0; i < node->n_in; i++) {
        touch(p, parts[i], now);
        step->in[i] = parts[i];
    }
    for (int i = 0; !code && i < node->n_out; i++) {
        code = add_part(p, node->out[i], kernel->out_block, now, &step->out[i]);
        if (!code)
            set_made(p, node->out[i], kernel->out_block, step->out[i]);
    }
fail:
    free(parts);
    return code;
}

/* Wanted outputs are shown after the latest step, which must not have overwritten them. */
static q8_code plan_sights(struct planner *p, const q8_node *node)
{
    q8_exec *exec = p->exec;
    for (int i = 0; i < node->n_out; i++) {
        const int tensor = node->out[i];
        if (!is_wanted(p, tensor))
            continue;
        q8_sight *sights =
            q8_arena_grow(exec->arena, exec->sight, (size_t)exec->n_sights, sizeof(*sights));
        if (!sights)
            return q8_fail_nomem(p->err);
        exec->sight = sights;
        int block = p->place[tensor].block, part;
        if (block == Q8_ON_GPU && !p->opts->gpu_views)
            block = 1;
        const q8_code code = get_part(p, tensor, block, &part);
        if (code)
            return code;
        const bool on_gpu = block == Q8_ON_GPU;
        const int after = exec->n_steps - 1;
        touch(p, part, after);
        sights[exec->n_sights++] =
            (q8_sight){.after = after,
                       .tensor = tensor,
                       .part = part,
                       .block = on_gpu ? 1 : q8_layout_block(shape_of(p, tensor), block),
                       .on_gpu = on_gpu};
    }
    return Q8_OK;
}

static q8_code plan_node(struct planner *p, int index)
{
    const q8_node *node = p->graph->node[index];
    struct edges e;
    bool planned = false;
    q8_code code = get_edges(p, node, &e);
    if (!code && passes_through(node, &e)) {
        code = plan_alias(p, node, &e);
        planned = true;
    }
    if (!code && !planned)
        code = plan_concat(p, node, &e, &planned);
    if (!code && !planned)
        code = plan_kernel(p, index, &e);
    free_edges(&e);
    return code ? code : plan_sights(p, node);
}

static q8_code check_wanted_made(const struct planner *p)
{
    for (int t = 0; t < p->graph->n_tensors; t++)
        if (is_wanted(p, t) && !p->place[t].block)
            return q8_fail(p->err, Q8_EINVAL, NULL, NULL, "no node makes the wanted tensor '%s'",
                           p->graph->tensor[t].name);
    return Q8_OK;
}

/* What is planned from here on runs for the whole batch. */
static void begin_batch(struct planner *p)
{
    p->exec->front = p->exec->n_steps;
    p->batch = p->exec->batch;
}

static q8_code plan_graph(struct planner *p)
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
        if (graph->node[i]->op == &q8_op_input)
            code = plan_sights(p, graph->node[i]);
        else if (is_needed(p, graph->node[i]))
            code = plan_node(p, i);
    }
    if (p->front >= graph->n_nodes)
        begin_batch(p);
    if (!code)
        code = check_wanted_made(p);
    spread_parts(p);
    align_on_gpu(p->exec);
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
    struct planner p = {.exec = exec, .graph = graph, .opts = opts, .err = err};
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
        for (int i = 0; i < N_PLACES; i++)
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
