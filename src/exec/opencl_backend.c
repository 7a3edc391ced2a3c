/* Which nodes run on the device, and their kernels' frame. */
#ifdef Q8_HAVE_OPENCL

#include <limits.h>
#include <stdlib.h>

#include "exec/layout.h"
#include "exec/opencl.h"
#include "ops/op.h"

static const q8_cl_maker *find_in(const q8_cl_maker *table, const q8_op *op)
{
    for (; table->op; table++)
        if (table->op == op)
            return table;
    return NULL;
}

static const q8_cl_maker *find_maker(const q8_node *node)
{
    static const q8_cl_maker *const tables[] = {q8_cl_conv_makers, q8_cl_layer_makers,
                                                q8_cl_move_makers, q8_cl_sum_makers,
                                                q8_cl_int8_makers};
    const q8_cl_maker *maker = NULL;
    for (size_t i = 0; !maker && i < sizeof(tables) / sizeof(tables[0]); i++)
        maker = find_in(tables[i], node->op);
    if (!maker && node->op->as_activation)
        maker = &q8_cl_activation_maker;
    if (!maker && node->op->as_affine && node->n_in == 1)
        maker = &q8_cl_affine_maker;
    return maker;
}

/* Kernels count in 32 bits. */
static bool is_small(const q8_graph *graph, const q8_node *node, int batch)
{
    for (int i = 0; i < node->n_in + node->n_out; i++) {
        const int tensor = i < node->n_in ? node->in[i] : node->out[i - node->n_in];
        if (q8_shape_count(&graph->tensor[tensor].shape) > (size_t)(INT_MAX / 2 / batch))
            return false;
    }
    return true;
}

bool q8_gpu_is_built(void)
{
    return true;
}

static const q8_cl_maker *maker_of(const q8_graph *graph, const q8_node *node, int batch)
{
    const q8_cl_maker *maker = find_maker(node);
    if (!maker || !is_small(graph, node, batch) || (maker->fits && !maker->fits(graph, node)))
        return NULL;
    return maker;
}

bool q8_gpu_takes(const q8_graph *graph, const q8_node *node, int batch)
{
    return maker_of(graph, node, batch) != NULL;
}

static void close_node(q8_kernel *base)
{
    q8_cl_node *k = (q8_cl_node *)base;
    for (int i = 0; i < k->n_constants; i++)
        if (k->constant[i])
            clReleaseMemObject(k->constant[i]);
    free(k->constant);
    free(k->fill);
    free(k);
}

q8_code q8_cl_add_constant(q8_cl_node *k, const void *data, size_t bytes, q8_err *err)
{
    cl_mem *more = realloc(k->constant, ((size_t)k->n_constants + 1) * sizeof(*more));
    if (!more)
        return q8_fail_nomem(err);
    k->constant = more;
    more[k->n_constants] = NULL;
    return q8_cl_constant(k->gpu, &more[k->n_constants++], data, bytes, err);
}

q8_code q8_gpu_compile(q8_gpu *gpu, const q8_graph *graph, const q8_node *node, int batch,
                       q8_kernel **kernel, q8_err *err)
{
    *kernel = NULL;
    const q8_cl_maker *maker = maker_of(graph, node, batch);
    if (!maker)
        return Q8_OK;
    q8_cl_node *k = calloc(1, sizeof(*k));
    if (!k)
        return q8_fail_nomem(err);
    k->base = (q8_kernel){.in_block = Q8_ON_GPU, .out_block = Q8_ON_GPU, .close = close_node};
    k->gpu = gpu;
    k->graph = graph;
    k->node = node;
    k->batch = batch;
    const q8_code code = maker->make(k, err);
    if (code)
        close_node(&k->base);
    else
        *kernel = &k->base;
    return code;
}

#endif
