/* One thread's queue, its memory on the device, and what it has the device do. */
#ifdef Q8_HAVE_OPENCL

#include <stdlib.h>
#include <string.h>

#include "exec/layout.h"
#include "exec/opencl.h"

/* --- opening and closing ---------------------------------------------------------------------- */

/* Memory that is really there: drivers put off what is not touched. */
static q8_code get_memory(q8_gpu_run *run, cl_mem *mem, size_t bytes, q8_err *err)
{
    const cl_uchar zero = 0;
    cl_int status;
    *mem = q8_cl.clCreateBuffer(run->gpu->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (*mem)
        status = clEnqueueFillBuffer(run->queue, *mem, &zero, 1, 0, bytes, 0, NULL, NULL);
    return *mem && !status ? Q8_OK : q8_cl_fail(run->gpu, "hold a batch", status, err);
}

static q8_code get_parts(q8_gpu_run *run, const q8_slab_part *part, q8_err *err)
{
    for (int i = 0; i < run->n_parts; i++) {
        if (!part[i].on_gpu)
            continue;
        const cl_buffer_region region = {part[i].offset, part[i].bytes};
        cl_int status;
        run->part[i] = clCreateSubBuffer(run->slab, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
                                         &region, &status);
        if (!run->part[i])
            return q8_cl_fail(run->gpu, "divide its memory", status, err);
    }
    return Q8_OK;
}

static q8_code get_kernels(q8_gpu_run *run, q8_err *err)
{
    static const char *const names[] = {
#define X(name) "q8_" #name,
        Q8_CL_KERNELS(X)
#undef X
    };
    for (int i = 0; i < Q8_CL_N_KERNELS; i++) {
        cl_int status;
        run->kernel[i] = clCreateKernel(run->gpu->program, names[i], &status);
        if (!run->kernel[i])
            return q8_cl_fail(run->gpu, "find a kernel", status, err);
    }
    return Q8_OK;
}

q8_code q8_gpu_run_open(q8_gpu_run **out, q8_gpu *gpu, const q8_slab_part *part, int n_parts,
                        size_t slab_bytes, size_t scratch_bytes, q8_err *err)
{
    cl_int status;
    q8_gpu_run *run = calloc(1, sizeof(*run));
    *out = run;
    if (!run || !(run->part = calloc((size_t)n_parts + 1, sizeof(*run->part)))) {
        q8_gpu_run_close(out);
        return q8_fail_nomem(err);
    }
    run->gpu = gpu;
    run->n_parts = n_parts;
    run->queue = q8_cl.clCreateCommandQueue(gpu->context, gpu->device, 0, &status);
    q8_code code = run->queue ? Q8_OK : q8_cl_fail(gpu, "make a queue", status, err);
    if (!code && slab_bytes > 0)
        code = get_memory(run, &run->slab, slab_bytes, err);
    if (!code && scratch_bytes > 0)
        code = get_memory(run, &run->scratch, scratch_bytes, err);
    if (!code)
        code = get_parts(run, part, err);
    if (!code)
        code = get_kernels(run, err);
    if (!code)
        code = q8_gpu_run_finish(run, err);
    if (code)
        q8_gpu_run_close(out);
    return code;
}

void q8_gpu_run_close(q8_gpu_run **out)
{
    q8_gpu_run *run = *out;
    if (!run)
        return;
    if (run->queue)
        clFinish(run->queue);
    for (int i = 0; i < Q8_CL_N_KERNELS; i++)
        if (run->kernel[i])
            clReleaseKernel(run->kernel[i]);
    for (int i = 0; run->part && i < run->n_parts; i++)
        if (run->part[i])
            clReleaseMemObject(run->part[i]);
    if (run->slab)
        clReleaseMemObject(run->slab);
    if (run->scratch)
        clReleaseMemObject(run->scratch);
    if (run->queue)
        clReleaseCommandQueue(run->queue);
    free(run->part);
    free(run);
    *out = NULL;
}

void *q8_gpu_run_part(const q8_gpu_run *run, int part)
{
    return run->part[part];
}

q8_code q8_gpu_run_finish(q8_gpu_run *run, q8_err *err)
{
    const cl_int status = q8_cl.clFinish(run->queue);
    return status ? q8_cl_fail(run->gpu, "finish its work", status, err) : Q8_OK;
}

q8_gpu *q8_gpu_of(const q8_view *view)
{
    return view->gpu->run->gpu;
}

/* --- work ------------------------------------------------------------------------------------- */

q8_code q8_cl_constant(q8_gpu *gpu, cl_mem *mem, const void *data, size_t bytes, q8_err *err)
{
    cl_int status;
    *mem = q8_cl.clCreateBuffer(gpu->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (*mem)
        status =
            q8_cl.clEnqueueWriteBuffer(gpu->queue, *mem, CL_TRUE, 0, bytes, data, 0, NULL, NULL);
    return *mem && !status ? Q8_OK : q8_cl_fail(gpu, "hold the weights", status, err);
}

q8_code q8_cl_launch(q8_gpu_run *run, q8_cl_id id, const q8_cl_grid *grid, const q8_cl_arg *arg,
                     int n_args, q8_err *err)
{
    const size_t group[] = {grid->group, 1};
    const size_t items[] = {(grid->x + grid->group - 1) / grid->group * grid->group, grid->y};
    cl_int status = CL_SUCCESS;
    for (int i = 0; i < n_args && !status; i++)
        status = clSetKernelArg(run->kernel[id], (cl_uint)i, arg[i].size, arg[i].data);
    if (!status)
        status = q8_cl.clEnqueueNDRangeKernel(run->queue, run->kernel[id], grid->y > 1 ? 2 : 1,
                                              NULL, items, group, 0, NULL, NULL);
    return status ? q8_cl_fail(run->gpu, "start a kernel", status, err) : Q8_OK;
}

/* --- copies between the memories -------------------------------------------------------------- */

struct transfer {
    q8_kernel base;
    size_t bytes;
};

/* The host's memory may be written over by the next step, so both wait. */
static q8_code upload(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in, const q8_spot *out,
                      q8_err *err)
{
    const struct transfer *t = (const struct transfer *)base;
    const cl_int status = q8_cl.clEnqueueWriteBuffer(run->queue, out[0].gpu, CL_TRUE, 0, t->bytes,
                                                     in[0].host, 0, NULL, NULL);
    return status ? q8_cl_fail(run->gpu, "take data", status, err) : Q8_OK;
}

static q8_code download(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                        const q8_spot *out, q8_err *err)
{
    const struct transfer *t = (const struct transfer *)base;
    const cl_int status = q8_cl.clEnqueueReadBuffer(run->queue, in[0].gpu, CL_TRUE, 0, t->bytes,
                                                    out[0].host, 0, NULL, NULL);
    return status ? q8_cl_fail(run->gpu, "hand data back", status, err) : Q8_OK;
}

static void close_transfer(q8_kernel *kernel)
{
    free(kernel);
}

q8_code q8_gpu_transfer(q8_gpu *gpu, const q8_shape *shape, int batch, bool up, q8_kernel **kernel,
                        q8_err *err)
{
    (void)gpu;
    struct transfer *t = calloc(1, sizeof(*t));
    *kernel = NULL;
    if (!t)
        return q8_fail_nomem(err);
    t->bytes = q8_shape_count(shape) * (size_t)batch * sizeof(float);
    t->base = (q8_kernel){.in_block = up ? 1 : Q8_ON_GPU,
                          .out_block = up ? Q8_ON_GPU : 1,
                          .enqueue = up ? upload : download,
                          .close = close_transfer};
    *kernel = &t->base;
    return Q8_OK;
}

#endif
