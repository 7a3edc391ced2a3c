/* Layers without weights by oneDNN: pooling, normalisation, softmax, functions of each element. */
#ifdef Q8_HAVE_ONEDNN

#include "exec/onednn.h"

#include "ops/pooling.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

q8_code q8_dnnl_compile_in_some_layout(const q8_dnnl_job *job, q8_dnnl_describe_fn describe,
                                       const void *with, q8_kernel **kernel)
{
    const int block[] = {job->in_block, job->block, 1};
    dnnl_primitive_attr_t attr;
    dnnl_status_t status = q8_dnnl_attr(&attr, false, NULL);
    if (status)
        return q8_dnnl_fail(job, "describe the layer", status);
    q8_code code = Q8_OK;
    for (int i = 0; !code && !*kernel && i < 3; i++) {
        dnnl_primitive_desc_t pd = NULL;
        status = describe(job, block[i], attr, with, &pd);
        code = q8_dnnl_offer(job, status, &pd);
        if (!code && pd)
            code = q8_dnnl_kernel_new(job, pd, block[i], block[i], NULL, 0, kernel);
    }
    dnnl_primitive_attr_destroy(attr);
    return code;
}

/* --- pooling ---------------------------------------------------------------------------------- */

/* False where a window could lie in the padding alone, which oneDNN does not want. */
static bool set_axis(q8_dnnl_window *window, int i, const q8_pool_axis *x)
{
    const long long end = (long long)(x->out - 1) * x->stride + x->kernel;
    const long long after = end - x->in - x->before;
    window->kernel[i] = x->kernel;
    window->stride[i] = x->stride;
    window->before[i] = x->before;
    window->after[i] = after > 0 ? after : 0;
    return x->before < x->kernel && after < x->kernel;
}

static dnnl_status_t describe_pooling(const q8_dnnl_job *job, int block, dnnl_primitive_attr_t attr,
                                      const void *with, dnnl_primitive_desc_t *pd)
{
    const q8_pooling_attr *a = job->node->attr;
    const dnnl_alg_kind_t kind = a->type == Q8_POOL_MAX ? dnnl_pooling_max
                                 : a->count_include_pad && !a->global_pooling
                                     ? dnnl_pooling_avg_include_padding
                                     : dnnl_pooling_avg_exclude_padding;
    const q8_dnnl_tensor src = q8_dnnl_batch(job->in, job->batch, block);
    const q8_dnnl_tensor dst = q8_dnnl_batch(job->out, job->batch, block);
    return q8_dnnl_pooling(pd, job->engine, attr, kind, &src, &dst, with);
}

q8_code q8_dnnl_compile_pooling(const q8_dnnl_job *job, q8_kernel **kernel)
{
    q8_pool_axis h, w;
    q8_dnnl_window window = {0};
    q8_pooling_axes(job->node->attr, job->in, &h, &w);
    if (!set_axis(&window, 0, &h) || !set_axis(&window, 1, &w))
        return Q8_OK;
    return q8_dnnl_compile_in_some_layout(job, describe_pooling, &window, kernel);
}

/* --- functions of each element ---------------------------------------------------------------- */

static dnnl_status_t describe_eltwise(const q8_dnnl_job *job, int block, dnnl_primitive_attr_t attr,
                                      const void *with, dnnl_primitive_desc_t *pd)
{
    const q8_dnnl_tensor tensor = q8_dnnl_batch(job->in, job->batch, block);
    return q8_dnnl_eltwise_pd(pd, job->engine, attr, &tensor, with);
}

q8_code q8_dnnl_compile_eltwise(const q8_dnnl_job *job, const q8_dnnl_eltwise *eltwise,
                                q8_kernel **kernel)
{
    return q8_dnnl_compile_in_some_layout(job, describe_eltwise, eltwise, kernel);
}

/* Any layer that says it is an activation: ReLU, Clip, Sigmoid, … */
q8_code q8_dnnl_compile_activation(const q8_dnnl_job *job, q8_kernel **kernel)
{
    q8_arena *arena = q8_arena_open(); /* the graph's own must not change while threads share it */
    if (!arena)
        return q8_fail_nomem(job->err);
    q8_activation act;
    q8_dnnl_eltwise eltwise;
    q8_code code = Q8_OK;
    if (job->node->op->as_activation(job->node, arena, &act) && q8_dnnl_activation(&act, &eltwise))
        code = q8_dnnl_compile_eltwise(job, &eltwise, kernel);
    q8_arena_close(&arena);
    return code;
}

/* The layers that are no activation of ncnn's, as oneDNN computes them. False: it cannot. (BNLL is
 * missing: oneDNN's soft_relu is off by 4e-6 for negative x, and below 0 at times, where the true
 * value is a small one above it.) */
static bool find_eltwise(const q8_node *node, q8_dnnl_eltwise *eltwise)
{
    static const struct {
        const q8_op *op;
        q8_dnnl_eltwise eltwise;
    } functions[] = {
        {&q8_op_absval, {dnnl_eltwise_abs, 0, 0}},  {&q8_op_elu, {dnnl_eltwise_elu, 0, 0}},
        {&q8_op_exp, {dnnl_eltwise_exp, 0, 0}},     {&q8_op_log, {dnnl_eltwise_log, 0, 0}},
        {&q8_op_swish, {dnnl_eltwise_swish, 1, 0}}, {&q8_op_tanh, {dnnl_eltwise_tanh, 0, 0}},
    };
    size_t i = 0;
    while (i < sizeof(functions) / sizeof(functions[0]) && functions[i].op != node->op)
        i++;
    if (i == sizeof(functions) / sizeof(functions[0]))
        return false;
    *eltwise = functions[i].eltwise;
    if (node->op == &q8_op_elu)
        eltwise->alpha = ((const q8_elu_attr *)node->attr)->alpha;
    if (node->op != &q8_op_exp && node->op != &q8_op_log)
        return true;
    const q8_log_attr *a = node->attr;
    return a->base == -1 && a->scale == 1 && a->shift == 0;
}

q8_code q8_dnnl_compile_unary(const q8_dnnl_job *job, q8_kernel **kernel)
{
    q8_dnnl_eltwise eltwise;
    return find_eltwise(job->node, &eltwise) ? q8_dnnl_compile_eltwise(job, &eltwise, kernel)
                                             : Q8_OK;
}

/* --- across channels -------------------------------------------------------------------------- */

static dnnl_status_t describe_softmax(const q8_dnnl_job *job, int block, dnnl_primitive_attr_t attr,
                                      const void *with, dnnl_primitive_desc_t *pd)
{
    const q8_dnnl_tensor tensor = q8_dnnl_batch(job->in, job->batch, block);
    return q8_dnnl_softmax(pd, job->engine, attr, &tensor, *(const int *)with + 1);
}

q8_code q8_dnnl_compile_softmax(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_softmax_attr *a = job->node->attr;
    const int axis = a->axis < 0 ? a->axis + job->in->rank : a->axis;
    return q8_dnnl_compile_in_some_layout(job, describe_softmax, &axis, kernel);
}

static dnnl_status_t describe_shuffle(const q8_dnnl_job *job, int block, dnnl_primitive_attr_t attr,
                                      const void *with, dnnl_primitive_desc_t *pd)
{
    const q8_dnnl_tensor tensor = q8_dnnl_batch(job->in, job->batch, block);
    return q8_dnnl_shuffle(pd, job->engine, attr, &tensor, 1, *(const int *)with);
}

q8_code q8_dnnl_compile_shuffle(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_shufflechannel_attr *a = job->node->attr;
    /* oneDNN counts the channels of a group where ncnn counts the groups. */
    const int size = a->reverse ? a->group : job->in->dim[0] / a->group;
    return q8_dnnl_compile_in_some_layout(job, describe_shuffle, &size, kernel);
}

#endif
