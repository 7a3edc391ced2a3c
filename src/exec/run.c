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
    float **pointer; /* inputs, then outputs of each step, one step after the other */
    q8_gpu_run *gpu; /* NULL: none */
    q8_spot *spot;   /* as `pointer`, for steps that have to do with the GPU; NULL without */
};

/* NULL for what is on the GPU. */
static float *part_data(const q8_run *run, int part)
{
    const q8_slab_part *p = &run->exec->part[part];
    return p->on_gpu ? NULL : (float *)(run->slab + p->offset);
}

static q8_code resolve_pointers(q8_run *run, q8_err *err)
{
    const q8_exec *exec = run->exec;
    size_t n = 0;
    for (int i = 0; i < exec->n_steps; i++)
        n += (size_t)exec->step[i].n_in + (size_t)exec->step[i].n_out;
    run->pointer = malloc((n + 1) * sizeof(*run->pointer));
    if (!run->pointer)
        return q8_fail_nomem(err);
    float **next = run->pointer;
    for (int i = 0; i < exec->n_steps; i++) {
        for (int k = 0; k < exec->step[i].n_in; k++)
            *next++ = part_data(run, exec->step[i].in[k]);
        for (int k = 0; k < exec->step[i].n_out; k++)
            *next++ = part_data(run, exec->step[i].out[k]);
    }
    return Q8_OK;
}

/* Where a part is, in whichever memory. */
static q8_spot spot_of(const q8_run *run, int part)
{
    if (run->exec->part[part].on_gpu)
        return (q8_spot){.gpu = q8_gpu_run_part(run->gpu, part)};
    return (q8_spot){.host = part_data(run, part)};
}

static q8_code open_gpu(q8_run *run, q8_err *err)
{
    const q8_exec *exec = run->exec;
    q8_code code = q8_gpu_run_open(&run->gpu, exec->gpu, exec->part, exec->n_parts,
                                   exec->gpu_slab_bytes, exec->gpu_scratch_bytes, err);
    if (code)
        return code;
    size_t n = 0;
    for (int i = 0; i < exec->n_steps; i++)
        n += (size_t)exec->step[i].n_in + (size_t)exec->step[i].n_out;
    run->spot = malloc((n + 1) * sizeof(*run->spot));
    if (!run->spot)
        return q8_fail_nomem(err);
    q8_spot *next = run->spot;
    for (int i = 0; i < exec->n_steps; i++) {
        for (int k = 0; k < exec->step[i].n_in; k++)
            *next++ = spot_of(run, exec->step[i].in[k]);
        for (int k = 0; k < exec->step[i].n_out; k++)
            *next++ = spot_of(run, exec->step[i].out[k]);
    }
    return Q8_OK;
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
    /* Zeros, so that pictures never filled are finite; calloc takes them from the system unwritten.
     */
    if (__builtin_add_overflow(exec->slab_bytes, exec->scratch_bytes, &bytes) ||
        __builtin_add_overflow(bytes, (size_t)Q8_SLAB_ALIGN, &bytes) ||
        !(run->memory = q8_large_pages(calloc(1, bytes), bytes))) {
        code = q8_fail(err, Q8_ENOMEM, NULL, NULL,
                       "out of memory: a batch of %d pictures needs %zu MiB; a smaller one may do",
                       exec->batch, (exec->slab_bytes >> 20) + 1);
        goto fail;
    }
    const uintptr_t mask = Q8_SLAB_ALIGN - 1;
    run->slab = (char *)run->memory + (-(uintptr_t)run->memory & mask);
    run->scratch = run->slab + exec->slab_bytes;
    code = resolve_pointers(run, err);
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
    free((*run)->pointer);
    free((*run)->memory);
    free(*run);
    *run = NULL;
}

float *q8_run_input(q8_run *run, int input, int i)
{
    const q8_input *in = &run->exec->input[input];
    return part_data(run, in->part) + (size_t)i * in->count;
}

/* Kernels always compute the whole batch: pictures that are not there are zeros. */
static void clear_unfilled(q8_run *run, int n)
{
    const q8_exec *exec = run->exec;
    for (int i = 0; n < exec->batch && i < exec->n_inputs; i++)
        memset(q8_run_input(run, i, n), 0,
               (size_t)(exec->batch - n) * exec->input[i].count * sizeof(float));
}

/* Shows what step `after` made, from sight `*next` on. */
static q8_code show(const q8_run *run, int after, int n, int *next, q8_observe_fn observe,
                    void *user, q8_err *err)
{
    const q8_exec *exec = run->exec;
    for (; observe && *next < exec->n_sights && exec->sight[*next].after == after; ++*next) {
        const q8_sight *sight = &exec->sight[*next];
        const q8_gpu_tensor on_gpu = {
            run->gpu, sight->on_gpu ? q8_gpu_run_part(run->gpu, sight->part) : NULL};
        const q8_view view = {
            .data = part_data(run, sight->part),
            .gpu = sight->on_gpu ? &on_gpu : NULL,
            .batch = n,
            .shape = exec->graph->tensor[sight->tensor].shape,
            .block = sight->block,
        };
        q8_code code = observe(user, sight->tensor, &view, err);
        if (code)
            return code;
    }
    return Q8_OK;
}

/* @param at where the step's places begin */
static q8_code run_step(const q8_run *run, const q8_step *step, size_t at, q8_err *err)
{
    const q8_kernel *kernel = step->kernel;
    if (kernel->enqueue)
        return kernel->enqueue(kernel, run->gpu, run->spot + at, run->spot + at + step->n_in, err);
    float **pointer = run->pointer + at;
    return kernel->run(kernel, (const float *const *)pointer, pointer + step->n_in, run->scratch,
                       err);
}

q8_code q8_run_forward(q8_run *run, int n, q8_observe_fn observe, void *user, q8_err *err)
{
    const q8_exec *exec = run->exec;
    if (n < 1 || n > exec->batch)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "%d pictures in a batch of %d", n, exec->batch);
    clear_unfilled(run, n);
    int next = 0;
    q8_code code = show(run, -1, n, &next, observe, user, err);
    size_t at = 0;
    for (int i = 0; !code && i < exec->n_steps; i++) {
        code = run_step(run, &exec->step[i], at, err);
        if (!code)
            code = show(run, i, n, &next, observe, user, err);
        at += (size_t)exec->step[i].n_in + (size_t)exec->step[i].n_out;
    }
    return code || !run->gpu ? code : q8_gpu_run_finish(run->gpu, err);
}
