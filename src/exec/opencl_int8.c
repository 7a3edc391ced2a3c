/* The simulation's layers, ops/int8.h. */
#ifdef Q8_HAVE_OPENCL

#include <assert.h>
#include <stdlib.h>

#include "exec/opencl.h"
#include "ops/int8.h"

static_assert(Q8_COMPARE_SUMS == Q8_CL_COMPARE_SUMS, "one order of sums");

static cl_int count_in(const q8_cl_node *k)
{
    return (cl_int)q8_shape_count(q8_cl_in(k, 0));
}

static q8_code run_quantize(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                            const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_quantize_attr *a = k->node->attr;
    const cl_int each = count_in(k), n = each * k->batch;
    const cl_float scale = a->scale;
    const q8_cl_grid items = {(size_t)n, 1, Q8_CL_GROUP};
    const q8_cl_grid teams = {(size_t)k->batch * Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_arg codes[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(n),
                               Q8_CL_ARG(scale)};
    const q8_cl_arg beyond[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[1].gpu), Q8_CL_ARG(each),
                                Q8_CL_ARG(scale)};
    const q8_code code = q8_cl_launch(run, Q8_CL_quantize, &items, codes, 4, err);
    return code ? code : q8_cl_launch(run, Q8_CL_beyond, &teams, beyond, 4, err);
}

static q8_code make_quantize(q8_cl_node *k, q8_err *err)
{
    (void)err;
    k->base.enqueue = run_quantize;
    return Q8_OK;
}

/* An InnerProduct's output may be {1,n}. */
static q8_code run_dequantize(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                              const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_dequantize_attr *a = k->node->attr;
    const cl_int n = count_in(k) * k->batch, channels = a->channels;
    const cl_int spatial = count_in(k) / channels;
    const q8_cl_grid grid = {(size_t)n, 1, Q8_CL_GROUP};
    const q8_cl_arg arg[] = {
        Q8_CL_ARG(in[0].gpu),      Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(n),
        Q8_CL_ARG(channels),       Q8_CL_ARG(spatial),    Q8_CL_ARG(k->constant[0]),
        Q8_CL_ARG(k->constant[1]), Q8_CL_ARG(k->f)};
    return q8_cl_launch(run, Q8_CL_dequantize, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

static q8_code make_dequantize(q8_cl_node *k, q8_err *err)
{
    const q8_dequantize_attr *a = k->node->attr;
    q8_code code = Q8_OK;
    k->f = q8_cl_activation(&a->activation);
    for (int i = 0; i < 2 && !code; i++)
        code = q8_cl_add_constant(k, k->node->weight[i].data, (size_t)a->channels * sizeof(float),
                                  err);
    k->base.enqueue = run_dequantize;
    return code;
}

static q8_code run_inner(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                         const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_int8_innerproduct_attr *a = k->node->attr;
    const cl_int inputs = count_in(k), outputs = a->outputs;
    const q8_cl_grid grid = {(size_t)outputs * Q8_CL_GROUP, (size_t)k->batch, Q8_CL_GROUP};
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(k->constant[0]),
                             Q8_CL_ARG(inputs), Q8_CL_ARG(outputs)};
    return q8_cl_launch(run, Q8_CL_int8_inner, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

static q8_code make_inner(q8_cl_node *k, q8_err *err)
{
    const q8_int8_innerproduct_attr *a = k->node->attr;
    k->base.enqueue = run_inner;
    return q8_cl_add_constant(k, a->weight, (size_t)a->outputs * (size_t)count_in(k), err);
}

/* Weights are counted in 32 bits. */
static bool fits_inner(const q8_graph *graph, const q8_node *node)
{
    const q8_int8_innerproduct_attr *a = node->attr;
    return q8_shape_count(&graph->tensor[node->in[0]].shape) <=
           (size_t)INT32_MAX / (size_t)a->outputs;
}

/* Teams for each picture, of a number that depends on its size alone. */
static size_t compare_teams(const q8_cl_node *k)
{
    enum { MAX_TEAMS = 64, VALUES_PER_TEAM = 16 * Q8_CL_TEAM };
    const size_t teams = (size_t)count_in(k) / VALUES_PER_TEAM + 1;
    return teams < MAX_TEAMS ? teams : MAX_TEAMS;
}

static q8_code run_compare(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                           const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_compare_attr *a = k->node->attr;
    const cl_int has_alone = k->node->n_in > 2, each = count_in(k);
    const cl_int channels = q8_cl_in(k, 0)->dim[0], spatial = each / channels;
    const cl_int teams = (cl_int)compare_teams(k), sums = Q8_COMPARE_SUMS * k->batch;
    const cl_float shift = a->shift;
    const cl_mem alone = in[has_alone ? 2 : 1].gpu;
    const q8_cl_grid grid = {(size_t)teams * Q8_CL_TEAM, (size_t)k->batch, Q8_CL_TEAM};
    const q8_cl_grid items = {(size_t)sums, 1, Q8_CL_GROUP};
    const q8_cl_arg arg[] = {
        Q8_CL_ARG(in[0].gpu),      Q8_CL_ARG(in[1].gpu), Q8_CL_ARG(alone),    Q8_CL_ARG(has_alone),
        Q8_CL_ARG(run->scratch),   Q8_CL_ARG(each),      Q8_CL_ARG(channels), Q8_CL_ARG(spatial),
        Q8_CL_ARG(k->constant[0]), Q8_CL_ARG(shift)};
    const q8_cl_arg total[] = {Q8_CL_ARG(run->scratch), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(sums),
                               Q8_CL_ARG(teams)};
    const q8_code code =
        q8_cl_launch(run, Q8_CL_compare, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
    return code ? code : q8_cl_launch(run, Q8_CL_compare_total, &items, total, 4, err);
}

static q8_code make_compare(q8_cl_node *k, q8_err *err)
{
    const q8_compare_attr *a = k->node->attr;
    const size_t channels = (size_t)q8_cl_in(k, 0)->dim[0];
    float *inverse = malloc(channels * sizeof(*inverse));
    if (!inverse)
        return q8_fail_nomem(err);
    for (size_t c = 0; c < channels; c++)
        inverse[c] = 1 / (a->factor ? a->factor[c] : 1);
    const q8_code code = q8_cl_add_constant(k, inverse, channels * sizeof(*inverse), err);
    free(inverse);
    k->base.enqueue = run_compare;
    k->base.gpu_scratch = (size_t)k->batch * compare_teams(k) * Q8_COMPARE_SUMS * 2 * sizeof(float);
    return code;
}

const q8_cl_maker q8_cl_int8_makers[] = {
    {&q8_op_int8_quantize, NULL, make_quantize},
    {&q8_op_int8_dequantize, NULL, make_dequantize},
    {&q8_op_int8_innerproduct, fits_inner, make_inner},
    {&q8_op_int8_compare, NULL, make_compare},
    {NULL, NULL, NULL},
};

#endif
