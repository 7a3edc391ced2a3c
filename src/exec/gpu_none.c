/* The GPU backend of a build without OpenCL: there is none, so only what opens something is ever
 * called. */
#ifndef Q8_HAVE_OPENCL

#include "exec/gpu.h"

q8_code q8_gpu_list(q8_gpu_info **list, size_t *n, q8_err *err)
{
    *list = NULL;
    *n = 0;
    return q8_gpu_fail_not_built(err);
}

q8_code q8_gpu_open(q8_gpu **gpu, int device, q8_err *err)
{
    (void)device;
    *gpu = NULL;
    return q8_gpu_fail_not_built(err);
}

void q8_gpu_close(q8_gpu **gpu)
{
    *gpu = NULL;
}

q8_gpu_info q8_gpu_describe(const q8_gpu *gpu)
{
    (void)gpu;
    return (q8_gpu_info){.name = ""};
}

bool q8_gpu_is_built(void)
{
    return false;
}

bool q8_gpu_takes(const q8_graph *graph, const q8_node *node, int batch)
{
    (void)graph;
    (void)node;
    (void)batch;
    return false;
}

q8_code q8_gpu_compile(q8_gpu *gpu, const q8_graph *graph, const q8_node *node, int batch,
                       q8_kernel **kernel, q8_err *err)
{
    (void)gpu;
    (void)graph;
    (void)node;
    (void)batch;
    *kernel = NULL;
    return q8_gpu_fail_not_built(err);
}

q8_code q8_gpu_transfer(q8_gpu *gpu, const q8_shape *shape, int batch, bool up, q8_kernel **kernel,
                        q8_err *err)
{
    (void)gpu;
    (void)shape;
    (void)batch;
    (void)up;
    *kernel = NULL;
    return q8_gpu_fail_not_built(err);
}

q8_code q8_gpu_run_open(q8_gpu_run **run, q8_gpu *gpu, const q8_slab_part *part, int n_parts,
                        size_t slab_bytes, size_t scratch_bytes, q8_err *err)
{
    (void)gpu;
    (void)part;
    (void)n_parts;
    (void)slab_bytes;
    (void)scratch_bytes;
    *run = NULL;
    return q8_gpu_fail_not_built(err);
}

void q8_gpu_run_close(q8_gpu_run **run)
{
    *run = NULL;
}

void *q8_gpu_run_part(const q8_gpu_run *run, int part)
{
    (void)run;
    (void)part;
    return NULL;
}

q8_code q8_gpu_run_finish(q8_gpu_run *run, q8_err *err)
{
    (void)run;
    return q8_gpu_fail_not_built(err);
}

q8_code q8_gpu_stats_open(q8_gpu_stats **stats, q8_gpu *gpu, const q8_gpu_stats_form *form,
                          q8_err *err)
{
    (void)gpu;
    (void)form;
    *stats = NULL;
    return q8_gpu_fail_not_built(err);
}

void q8_gpu_stats_close(q8_gpu_stats **stats)
{
    *stats = NULL;
}

q8_code q8_gpu_stats_add(q8_gpu_stats *stats, const q8_view *view, q8_err *err)
{
    (void)stats;
    (void)view;
    return q8_gpu_fail_not_built(err);
}

q8_code q8_gpu_stats_read(q8_gpu_stats *stats, q8_gpu_counts *counts, q8_err *err)
{
    (void)stats;
    *counts = (q8_gpu_counts){0};
    return q8_gpu_fail_not_built(err);
}

q8_gpu_channel q8_gpu_stats_channel(const q8_gpu_stats *stats, int channel)
{
    (void)stats;
    (void)channel;
    return (q8_gpu_channel){0};
}

q8_gpu *q8_gpu_of(const q8_view *view)
{
    (void)view;
    return NULL;
}

#endif
