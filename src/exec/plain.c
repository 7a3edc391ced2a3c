/* The oracle as a backend: a node's own plain-C forward, picture by picture. */
#include <stdlib.h>

#include "exec/backend.h"
#include "ops/op.h"

struct plain_kernel {
    q8_kernel base;
    const q8_node *node;
    int batch;
    q8_shape shape[]; /* inputs, then outputs */
};

static q8_code run_plain(const q8_kernel *kernel, const float *const *in, float *const *out,
                         void *scratch, q8_err *err)
{
    const struct plain_kernel *k = (const struct plain_kernel *)kernel;
    const q8_node *node = k->node;
    const q8_shape *in_shape = k->shape, *out_shape = k->shape + node->n_in;
    const float **picture_in = scratch;
    float **picture_out = (float **)scratch + node->n_in;
    q8_code code = Q8_OK;
    for (size_t b = 0; !code && b < (size_t)k->batch; b++) {
        for (int i = 0; i < node->n_in; i++)
            picture_in[i] = in[i] + b * q8_shape_count(&in_shape[i]);
        for (int i = 0; i < node->n_out; i++)
            picture_out[i] = out[i] + b * q8_shape_count(&out_shape[i]);
        const q8_forward f = {node, in_shape, out_shape, picture_in, picture_out};
        code = node->op->forward(&f, err);
    }
    return code;
}

static void close_plain(q8_kernel *kernel)
{
    free(kernel);
}

static q8_code compile_plain(const q8_graph *graph, const q8_node *node, const int *in_block,
                             int batch, q8_kernel **kernel, q8_err *err)
{
    (void)in_block;
    *kernel = NULL;
    const size_t n = (size_t)node->n_in + (size_t)node->n_out;
    struct plain_kernel *k = malloc(sizeof(*k) + n * sizeof(k->shape[0]));
    if (!k)
        return q8_fail_nomem(err);
    k->base = (q8_kernel){.in_block = 1,
                          .out_block = 1,
                          .scratch = n * sizeof(float *),
                          .run = run_plain,
                          .close = close_plain};
    k->node = node;
    k->batch = batch;
    for (int i = 0; i < node->n_in; i++)
        k->shape[i] = graph->tensor[node->in[i]].shape;
    for (int i = 0; i < node->n_out; i++)
        k->shape[node->n_in + i] = graph->tensor[node->out[i]].shape;
    *kernel = &k->base;
    return Q8_OK;
}

const q8_backend q8_backend_plain = {"plain", compile_plain, NULL};
