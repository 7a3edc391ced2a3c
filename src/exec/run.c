/* One thread's forward passes through a shared plan. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "exec/layout.h"
#include "exec/plan.h"

struct q8_run {
    const q8_exec *exec;
    void *memory; /* slab, then scratch; not yet aligned */
    char *slab;
    void *scratch;
    float **edge;    /* inputs, then outputs of the step that runs */
    q8_gpu_run *gpu; /* NULL: none */
    q8_spot *spot;   /* as `edge`, where one may be on the GPU; NULL without */
};

size_t q8_exec_slab_bytes(const q8_exec *exec)
{
    return exec->slab_bytes;
}

size_t q8_exec_run_bytes(const q8_exec *exec)
{
    return exec->slab_bytes + exec->scratch_bytes + Q8_SLAB_ALIGN;
}

/* NULL for what is on the GPU. */
static float *part_data(const q8_run *run, int part, int picture)
{
    const q8_slab_part *p = &run->exec->part[part];
    return p->on_gpu ? NULL : (float *)(run->slab + p->offset + (size_t)picture * p->stride);
}

/* Where a part is, in whichever memory. */
static q8_spot spot_of(const q8_run *run, int part)
{
    if (run->exec->part[part].on_gpu)
        return (q8_spot){.gpu = q8_gpu_run_part(run->gpu, part)};
    return (q8_spot){.host = part_data(run, part, 0)};
}

static q8_code open_gpu(q8_run *run, q8_err *err)
{
    const q8_exec *exec = run->exec;
    run->spot = malloc(((size_t)exec->most_edges + 1) * sizeof(*run->spot));
    if (!run->spot)
        return q8_fail_nomem(err);
    return q8_gpu_run_open(&run->gpu, exec->gpu, exec->part, exec->n_parts, exec->gpu_slab_bytes,
                           exec->gpu_scratch_bytes, err);
}

q8_code q8_run_open(q8_run **out, const q8_exec *exec, q8_err *err)
{
    *out = NULL;
    q8_code code = Q8_OK;
    size_t bytes;
    q8_run *run = calloc(1, sizeof(*run));
    if (!run) {
        code = q8_fail_nomem(err);
        goto fail;
    }
    run->exec = exec;
    const bool fits = !__builtin_add_overflow(exec->slab_bytes, exec->scratch_bytes, &bytes);
    const size_t align = q8_pages_align(bytes);
    /* Zeros, so that pictures never filled are finite; calloc takes them from the system unwritten.
     */
    if (!fits || bytes > SIZE_MAX - align || !(run->memory = calloc(1, bytes + align))) {
        code = q8_fail(err, Q8_ENOMEM, NULL, NULL,
                       "out of memory: a batch of %d pictures needs %zu MiB; a smaller one may do",
                       exec->batch, (exec->slab_bytes >> 20) + 1);
        goto fail;
    }
    run->slab = (char *)run->memory + (-(uintptr_t)run->memory & (align - 1));
    q8_large_pages(run->slab, bytes);
    run->scratch = run->slab + exec->slab_bytes;
    run->edge = malloc(((size_t)exec->most_edges + 1) * sizeof(*run->edge));
    if (!run->edge)
        code = q8_fail_nomem(err);
    if (!code && exec->gpu)
        code = open_gpu(run, err);
fail:
    if (code)
        q8_run_close(&run);
    *out = run;
    return code;
}

void q8_run_close(q8_run **run)
{
    if (!*run)
        return;
    q8_gpu_run_close(&(*run)->gpu);
    free((*run)->spot);
    free((*run)->edge);
    free((*run)->memory);
    free(*run);
    *run = NULL;
}

float *q8_run_input(q8_run *run, int input, int i)
{
    return part_data(run, run->exec->input[input].part, i);
}

/* Kernels always compute the whole batch: pictures that are not there are zeros. */
static void clear_unfilled(q8_run *run, int n)
{
    const q8_exec *exec = run->exec;
    for (int i = 0; n < exec->batch && i < exec->n_inputs; i++)
        memset(q8_run_input(run, i, n), 0,
               (size_t)(exec->batch - n) * exec->input[i].count * sizeof(float));
}

/* Some of a batch's pictures, and to whom their tensors are shown. */
struct pictures {
    int first, n;
    q8_observe_fn observe;
    void *user;
};

/* Shows what step `after` made, from sight `*next` on. */
static q8_code show(const q8_run *run, int after, const struct pictures *of, int *next, q8_err *err)
{
    const q8_exec *exec = run->exec;
    for (; *next < exec->n_sights && exec->sight[*next].after == after; ++*next) {
        const q8_sight *sight = &exec->sight[*next];
        const q8_gpu_tensor on_gpu = {
            run->gpu, sight->on_gpu ? q8_gpu_run_part(run->gpu, sight->part) : NULL};
        const q8_view view = {
            .data = part_data(run, sight->part, of->first),
            .gpu = sight->on_gpu ? &on_gpu : NULL,
            .batch = of->n,
            .shape = exec->graph->tensor[sight->tensor].shape,
            .block = sight->block,
        };
        q8_code code = of->observe ? of->observe(of->user, sight->tensor, &view, err) : Q8_OK;
        if (code)
            return code;
    }
    return Q8_OK;
}

/* On the GPU a step is for all pictures. */
static q8_code enqueue_step(q8_run *run, const q8_step *step, q8_err *err)
{
    for (int i = 0; i < step->n_in; i++)
        run->spot[i] = spot_of(run, step->in[i]);
    for (int i = 0; i < step->n_out; i++)
        run->spot[step->n_in + i] = spot_of(run, step->out[i]);
    return step->kernel->enqueue(step->kernel, run->gpu, run->spot, run->spot + step->n_in, err);
}

static q8_code run_step(q8_run *run, const q8_step *step, int picture, q8_err *err)
{
    if (step->kernel->enqueue)
        return enqueue_step(run, step, err);
    for (int i = 0; i < step->n_in; i++)
        run->edge[i] = part_data(run, step->in[i], picture);
    for (int i = 0; i < step->n_out; i++)
        run->edge[step->n_in + i] = part_data(run, step->out[i], picture);
    return step->kernel->run(step->kernel, (const float *const *)run->edge, run->edge + step->n_in,
                             run->scratch, err);
}

/* Steps `from` to `to`, with their sights from `*next` on. */
static q8_code run_steps(q8_run *run, int from, int to, const struct pictures *of, int *next,
                         q8_err *err)
{
    q8_code code = Q8_OK;
    for (int i = from; i < to && !code; i++) {
        code = run_step(run, &run->exec->step[i], of->first, err);
        if (!code)
            code = show(run, i, of, next, err);
    }
    return code;
}

q8_code q8_run_forward(q8_run *run, int n, q8_observe_fn observe, void *user, q8_err *err)
{
    const q8_exec *exec = run->exec;
    if (n < 1 || n > exec->batch)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "%d pictures in a batch of %d", n, exec->batch);
    clear_unfilled(run, n);
    const struct pictures all = {0, n, observe, user};
    int inputs_seen = 0;
    q8_code code = show(run, -1, &all, &inputs_seen, err);
    int next = inputs_seen;
    for (int i = 0; i < n && !code; i++) {
        const struct pictures one = {i, 1, observe, user};
        next = inputs_seen;
        code = run_steps(run, 0, exec->front, &one, &next, err);
    }
    if (!code)
        code = run_steps(run, exec->front, exec->n_steps, &all, &next, err);
    return code || !run->gpu ? code : q8_gpu_run_finish(run->gpu, err);
}
