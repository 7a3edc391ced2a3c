#include "exec/pointwise.h"

#include <stdlib.h>

#include "exec/gemm.h"
#include "ops/activation.h"
#include "ops/conv.h"
#include "ops/rows.h"

/* Positions at a time: what they make stays in the cache. */
enum { STRETCH = 512 };

struct pointwise {
    q8_kernel base;
    const q8_node *node;
    const q8_activation *act;
    int inputs, outputs, positions;
};

static q8_code run(const q8_kernel *base, const float *const *in, float *const *out, void *scratch,
                   q8_err *err)
{
    (void)scratch;
    const struct pointwise *k = (const struct pointwise *)base;
    const float *bias = k->node->weight[1].count ? k->node->weight[1].data : NULL;
    q8_code code = Q8_OK;
    for (int at = 0; !code && at < k->positions; at += STRETCH) {
        const int left = k->positions - at;
        const q8_gemm product = {.m = k->outputs,
                                 .n = left < STRETCH ? left : STRETCH,
                                 .k = k->inputs,
                                 .a = k->node->weight[0].data,
                                 .b = in[0] + at,
                                 .c = out[0] + at,
                                 .a_stride = k->inputs,
                                 .b_stride = k->positions,
                                 .c_stride = k->positions,
                                 .add = bias != NULL,
                                 .factor = 1};
        for (int o = 0; bias && o < k->outputs; o++) {
            float *row = product.c + (size_t)o * (size_t)k->positions;
            for (int i = 0; i < product.n; i++)
                row[i] = bias[o];
        }
        code = q8_gemm_run(&product, err);
        for (int o = 0; o < k->outputs; o++)
            q8_activate_array(k->act, product.c + (size_t)o * (size_t)k->positions,
                              (size_t)product.n);
    }
    return code;
}

static void close_kernel(q8_kernel *kernel)
{
    free(kernel);
}

static bool is_pointwise(const q8_node *node)
{
    const q8_conv_attr *a = node->attr;
    return node->op == &q8_op_convolution && a->kernel_w == 1 && a->kernel_h == 1 &&
           a->stride_w == 1 && a->stride_h == 1 && a->pad_left == 0 && a->pad_right == 0 &&
           a->pad_top == 0 && a->pad_bottom == 0;
}

q8_code q8_pointwise_compile(const q8_graph *graph, const q8_node *node, q8_kernel **kernel,
                             q8_err *err)
{
    *kernel = NULL;
    if (!is_pointwise(node))
        return Q8_OK;
    struct pointwise *k = malloc(sizeof(*k));
    if (!k)
        return q8_fail_nomem(err);
    *k = (struct pointwise){
        .base = {.in_block = 1, .out_block = 1, .run = run, .close = close_kernel},
        .node = node,
        .act = &((const q8_conv_attr *)node->attr)->activation,
        .inputs = graph->tensor[node->in[0]].shape.dim[0],
        .outputs = graph->tensor[node->out[0]].shape.dim[0],
        .positions = (int)q8_shape_spatial(&graph->tensor[node->out[0]].shape)};
    *kernel = &k->base;
    return Q8_OK;
}
