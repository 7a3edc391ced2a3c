/* Parts of the slab: tensors in the layouts that they are needed in, and the steps that make them.
 */
#include <stdint.h>

#include "exec/layout.h"
#include "exec/planner.h"

const q8_shape *q8_planner_shape(const q8_planner *p, int tensor)
{
    return &p->graph->tensor[tensor].shape;
}

int q8_place_index(int block)
{
    return block == Q8_ON_GPU ? Q8_N_BLOCKS : q8_block_index(block);
}

static int asked(const q8_shape *shape, int block)
{
    return block == Q8_ON_GPU ? Q8_ON_GPU : q8_layout_asked(shape, block);
}

static bool in_front(const q8_planner *p)
{
    return p->batch < p->exec->batch;
}

void q8_planner_touch(q8_planner *p, int part, int step)
{
    if (p->exec->part[part].last < step)
        p->exec->part[part].last = step;
    if (!in_front(p))
        p->in_batch[part] = true;
}

q8_code q8_planner_add_part(q8_planner *p, int tensor, int block, int step, int *part)
{
    q8_exec *exec = p->exec;
    const q8_shape *shape = q8_planner_shape(p, tensor);
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
void q8_planner_spread(q8_planner *p)
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

void q8_planner_align(q8_planner *p)
{
    q8_exec *exec = p->exec;
    for (int i = 0; i < exec->n_parts; i++)
        if (exec->part[i].on_gpu)
            exec->part[i].bytes =
                (exec->part[i].bytes + Q8_GPU_ALIGN - 1) / Q8_GPU_ALIGN * Q8_GPU_ALIGN;
}

void q8_planner_set_made(q8_planner *p, int tensor, int block, int part)
{
    q8_place *place = &p->place[tensor];
    place->block = asked(q8_planner_shape(p, tensor), block);
    place->part[q8_place_index(place->block)] = part;
}

q8_code q8_planner_add_step(q8_planner *p, q8_kernel *kernel, int n_in, int n_out, q8_step **step)
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

static q8_code convert_kernel(const q8_planner *p, const q8_shape *shape, int from, int to,
                              q8_kernel **kernel)
{
    if (from == Q8_ON_GPU || to == Q8_ON_GPU)
        return q8_gpu_transfer(p->exec->gpu, shape, p->batch, to == Q8_ON_GPU, kernel, p->err);
    return q8_layout_kernel(shape, p->batch, from, to, kernel, p->err);
}

/* Adds a step that makes the tensor in the layout `block` from that in part `have`. */
static q8_code convert(q8_planner *p, int tensor, int have, int from, int block)
{
    q8_kernel *kernel;
    q8_step *step;
    int part;
    q8_code code = convert_kernel(p, q8_planner_shape(p, tensor), from, block, &kernel);
    if (!code)
        code = q8_planner_add_step(p, kernel, 1, 1, &step);
    if (!code)
        code = q8_planner_add_part(p, tensor, block, p->exec->n_steps - 1, &part);
    if (code)
        return code;
    q8_planner_touch(p, have, p->exec->n_steps - 1);
    step->in[0] = have;
    step->out[0] = part;
    p->place[tensor].part[q8_place_index(block)] = part;
    return Q8_OK;
}

q8_code q8_planner_get_part(q8_planner *p, int tensor, int block, int *part)
{
    q8_place *place = &p->place[tensor];
    const q8_shape *shape = q8_planner_shape(p, tensor);
    if (!place->block)
        return q8_fail(p->err, Q8_EINTERNAL, NULL, NULL, "tensor '%s' is read before it is made",
                       p->graph->tensor[tensor].name);
    block = asked(shape, block);
    int *found = &place->part[q8_place_index(block)], from = place->block;
    int have = place->part[q8_place_index(from)];
    q8_code code = Q8_OK;
    if (*found < 0 && from != block && (block == Q8_ON_GPU || (from == Q8_ON_GPU && block != 1))) {
        from = 1;
        code = q8_planner_get_part(p, tensor, from, &have);
    }
    if (!code && *found < 0 && block != Q8_ON_GPU && from != Q8_ON_GPU &&
        q8_layout_same(shape, block, from))
        *found = have;
    if (!code && *found < 0)
        code = convert(p, tensor, have, from, block);
    *part = *found;
    return code;
}
