/* Layers that compute without products of matrices. */
#ifdef Q8_HAVE_OPENCL

#include <stdlib.h>
#include <string.h>

#include "exec/opencl.h"
#include "ops/affine.h"
#include "ops/binaryop.h"
#include "ops/common.h"
#include "ops/pooling.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

/* Elements of output 0 in the batch. */
static cl_int count_out(const q8_cl_node *k)
{
    return (cl_int)q8_shape_count(q8_cl_out(k, 0)) * k->batch;
}

static q8_code launch_each(q8_gpu_run *run, q8_cl_id id, cl_int n, const q8_cl_arg *arg, int n_args,
                           q8_err *err)
{
    const q8_cl_grid grid = {.x = (size_t)n, .y = 1, .group = Q8_CL_GROUP};
    return q8_cl_launch(run, id, &grid, arg, n_args, err);
}

#define LAUNCH_EACH(run, id, n, arg, err)                                                          \
    launch_each(run, id, n, arg, sizeof(arg) / sizeof((arg)[0]), err)

/* --- functions of each element ---------------------------------------------------------------- */

static q8_code run_unary(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                         const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const cl_int n = count_out(k);
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(n),
                             Q8_CL_ARG(k->f)};
    return LAUNCH_EACH(run, Q8_CL_unary, n, arg, err);
}

static q8_code make_activation(q8_cl_node *k, q8_err *err)
{
    q8_activation act;
    q8_arena *arena = q8_arena_open();
    if (!arena)
        return q8_fail_nomem(err);
    const bool is = k->node->op->as_activation(k->node, arena, &act);
    if (is)
        k->f = q8_cl_activation(&act);
    k->base.enqueue = run_unary;
    q8_arena_close(&arena);
    return is ? Q8_OK : q8_fail_nomem(err);
}

static bool fits_activation(const q8_graph *graph, const q8_node *node)
{
    q8_activation act;
    (void)graph;
    q8_arena *arena = q8_arena_open();
    const bool is = arena && node->op->as_activation(node, arena, &act);
    q8_arena_close(&arena);
    return is;
}

static q8_code make_unary(q8_cl_node *k, q8_err *err)
{
    static const struct {
        const q8_op *op;
        int kind;
    } kinds[] = {{&q8_op_absval, Q8_CL_ABS},
                 {&q8_op_bnll, Q8_CL_BNLL},
                 {&q8_op_elu, Q8_CL_ELU},
                 {&q8_op_exp, Q8_CL_EXP},
                 {&q8_op_log, Q8_CL_LOG},
                 {&q8_op_power, Q8_CL_POWER},
                 {&q8_op_swish, Q8_CL_SWISH},
                 {&q8_op_tanh, Q8_CL_TANH},
                 {&q8_op_threshold, Q8_CL_THRESHOLD}};
    const size_t floats = k->node->op->attr_size / sizeof(float);
    (void)err;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].op == k->node->op)
            k->f.kind = kinds[i].kind;
    /* All of these have nothing but floats for attributes. */
    float value[3] = {0};
    if (floats > 0)
        memcpy(value, k->node->attr, (floats < 3 ? floats : 3) * sizeof(float));
    k->f.a = value[0];
    k->f.b = value[1];
    k->f.c = value[2];
    k->base.enqueue = run_unary;
    return Q8_OK;
}

/* --- channel by channel ----------------------------------------------------------------------- */

static q8_code run_affine(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const cl_int n = count_out(k), channels = q8_cl_out(k, 0)->dim[0], yes = 1;
    const cl_int spatial = (cl_int)q8_shape_spatial(q8_cl_out(k, 0));
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu),
                             Q8_CL_ARG(n),         Q8_CL_ARG(channels),
                             Q8_CL_ARG(spatial),   Q8_CL_ARG(k->constant[0]),
                             Q8_CL_ARG(yes),       Q8_CL_ARG(k->constant[1]),
                             Q8_CL_ARG(yes),       Q8_CL_ARG(k->f)};
    return LAUNCH_EACH(run, Q8_CL_affine, n, arg, err);
}

/* The factors, and behind them what is added; NULL: none, or out of memory. For free(). */
static float *affine_of(const q8_node *node, int channels)
{
    float *a = calloc((size_t)channels * 2, sizeof(*a));
    if (a && !node->op->as_affine(node, channels, a, a + channels)) {
        free(a);
        a = NULL;
    }
    return a;
}

static bool fits_affine(const q8_graph *graph, const q8_node *node)
{
    float *a = affine_of(node, graph->tensor[node->in[0]].shape.dim[0]);
    free(a);
    return a != NULL;
}

static q8_code make_affine(q8_cl_node *k, q8_err *err)
{
    const size_t channels = (size_t)q8_cl_in(k, 0)->dim[0];
    float *a = affine_of(k->node, (int)channels);
    q8_code code = a ? Q8_OK : q8_fail_nomem(err);
    if (!code)
        code = q8_cl_add_constant(k, a, channels * sizeof(*a), err);
    if (!code)
        code = q8_cl_add_constant(k, a + channels, channels * sizeof(*a), err);
    free(a);
    k->base.enqueue = run_affine;
    return code;
}

static q8_code run_prelu(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                         const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_prelu_attr *attr = k->node->attr;
    const cl_int n = count_out(k), channels = attr->num_slope > 1 ? q8_cl_out(k, 0)->dim[0] : 1;
    const cl_int spatial = (cl_int)q8_shape_spatial(q8_cl_out(k, 0));
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu),
                             Q8_CL_ARG(n),         Q8_CL_ARG(channels),
                             Q8_CL_ARG(spatial),   Q8_CL_ARG(k->constant[0])};
    return LAUNCH_EACH(run, Q8_CL_prelu, n, arg, err);
}

static q8_code make_prelu(q8_cl_node *k, q8_err *err)
{
    const q8_weight *slope = &k->node->weight[0];
    k->base.enqueue = run_prelu;
    return q8_cl_add_constant(k, slope->data, slope->count * sizeof(float), err);
}

/* --- of several inputs ------------------------------------------------------------------------ */

static q8_code run_eltwise(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                           const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_eltwise_attr *a = k->node->attr;
    const float *coeff = a->coeffs.n ? a->coeffs.v : NULL;
    const cl_int n = count_out(k), kind = a->type;
    q8_code code = Q8_OK;
    for (int i = 1; i < k->node->n_in && !code; i++) {
        const cl_float cx = coeff && i == 1 ? coeff[0] : 1, cy = coeff ? coeff[i] : 1;
        const q8_spot *first = i == 1 ? &in[0] : &out[0];
        const q8_cl_arg arg[] = {Q8_CL_ARG(first->gpu), Q8_CL_ARG(in[i].gpu), Q8_CL_ARG(out[0].gpu),
                                 Q8_CL_ARG(n),          Q8_CL_ARG(kind),      Q8_CL_ARG(cx),
                                 Q8_CL_ARG(cy)};
        code = LAUNCH_EACH(run, Q8_CL_eltwise, n, arg, err);
    }
    return code;
}

static bool fits_eltwise(const q8_graph *graph, const q8_node *node)
{
    (void)graph;
    return node->n_in > 1;
}

static q8_code make_eltwise(q8_cl_node *k, q8_err *err)
{
    (void)err;
    k->base.enqueue = run_eltwise;
    return Q8_OK;
}

static q8_code run_binary(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_binaryop_attr *a = k->node->attr;
    const cl_int n = count_out(k), type = a->type;
    const cl_float b = a->b;
    if (a->with_scalar) {
        const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(n),
                                 Q8_CL_ARG(type), Q8_CL_ARG(b)};
        return LAUNCH_EACH(run, Q8_CL_binary_scalar, n, arg, err);
    }
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(in[1].gpu), Q8_CL_ARG(out[0].gpu),
                             Q8_CL_ARG(k->as.pairs)};
    return LAUNCH_EACH(run, Q8_CL_binary, n, arg, err);
}

static q8_code make_binary(q8_cl_node *k, q8_err *err)
{
    const q8_binaryop_attr *a = k->node->attr;
    const q8_shape *out = q8_cl_out(k, 0);
    q8_cl_pairs *p = &k->as.pairs;
    (void)err;
    *p = (q8_cl_pairs){
        .type = a->type, .rank = out->rank, .count = (int)q8_shape_count(out), .all = count_out(k)};
    memcpy(p->dim, out->dim, sizeof(p->dim));
    for (int i = 0; i < k->node->n_in && !a->with_scalar; i++) {
        size_t step[Q8_MAX_RANK];
        q8_broadcast_steps(q8_cl_in(k, i), out, step);
        p->in_count[i] = (int)q8_shape_count(q8_cl_in(k, i));
        for (int d = 0; d < out->rank; d++)
            p->step[i][d] = (int)step[d];
    }
    k->base.enqueue = run_binary;
    return Q8_OK;
}

/* --- neighbourhoods --------------------------------------------------------------------------- */

static q8_code run_pool(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                        const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(k->as.pool)};
    return LAUNCH_EACH(run, Q8_CL_pool, count_out(k), arg, err);
}

static q8_code run_pool_all(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                            const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_pool *p = &k->as.pool;
    const cl_int spatial = p->h * p->w;
    const q8_cl_grid grid = {.x = (size_t)p->planes * Q8_CL_TEAM, .y = 1, .group = Q8_CL_TEAM};
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(spatial),
                             Q8_CL_ARG(p->average)};
    return q8_cl_launch(run, Q8_CL_pool_all, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

static q8_code make_pool(q8_cl_node *k, q8_err *err)
{
    const q8_pooling_attr *a = k->node->attr;
    const q8_shape *in = q8_cl_in(k, 0);
    q8_pool_axis h, w;
    (void)err;
    q8_pooling_axes(a, in, &h, &w);
    k->as.pool = (q8_cl_pool){.planes = in->dim[0] * k->batch,
                              .h = h.in,
                              .w = w.in,
                              .out_h = h.out,
                              .out_w = w.out,
                              .kernel_h = h.kernel,
                              .kernel_w = w.kernel,
                              .stride_h = h.stride,
                              .stride_w = w.stride,
                              .top = h.before,
                              .left = w.before,
                              .average = a->type == Q8_POOL_AVE,
                              .whole = a->count_include_pad && !a->global_pooling};
    k->base.enqueue = a->global_pooling ? run_pool_all : run_pool;
    return Q8_OK;
}

static q8_code run_lrn(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                       const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(k->as.lrn)};
    return LAUNCH_EACH(run, Q8_CL_lrn, count_out(k), arg, err);
}

static q8_code make_lrn(q8_cl_node *k, q8_err *err)
{
    const q8_lrn_attr *a = k->node->attr;
    const int *dim = q8_cl_in(k, 0)->dim;
    const bool across = a->region == Q8_LRN_ACROSS_CHANNELS;
    (void)err;
    k->as.lrn = (q8_cl_lrn){.batch = k->batch,
                            .channels = dim[0],
                            .h = dim[1],
                            .w = dim[2],
                            .around_c = across ? a->size / 2 : 0,
                            .around_s = across ? 0 : a->size / 2,
                            .scale = a->alpha / (float)(across ? a->size : a->size * a->size),
                            .beta = a->beta,
                            .bias = a->bias};
    k->base.enqueue = run_lrn;
    return Q8_OK;
}

/* --- softmax ---------------------------------------------------------------------------------- */

static q8_code run_softmax(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                           const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_softmax_attr *a = k->node->attr;
    const q8_shape *shape = q8_cl_in(k, 0);
    int axis;
    size_t outer, inner_count;
    const q8_code code = q8_node_axis(k->node, shape, a->axis, &axis, err);
    if (code)
        return code;
    q8_axis_split(shape, axis, &outer, &inner_count);
    const cl_int rows = (cl_int)(outer * inner_count) * k->batch, n = shape->dim[axis];
    const cl_int inner = (cl_int)inner_count;
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(rows),
                             Q8_CL_ARG(n), Q8_CL_ARG(inner)};
    return LAUNCH_EACH(run, Q8_CL_softmax, rows, arg, err);
}

static q8_code make_softmax(q8_cl_node *k, q8_err *err)
{
    (void)err;
    k->base.enqueue = run_softmax;
    return Q8_OK;
}

const q8_cl_maker q8_cl_activation_maker = {NULL, fits_activation, make_activation};
const q8_cl_maker q8_cl_affine_maker = {NULL, fits_affine, make_affine};

const q8_cl_maker q8_cl_layer_makers[] = {
    {&q8_op_absval, NULL, make_unary},
    {&q8_op_bnll, NULL, make_unary},
    {&q8_op_elu, NULL, make_unary},
    {&q8_op_exp, NULL, make_unary},
    {&q8_op_log, NULL, make_unary},
    {&q8_op_power, NULL, make_unary},
    {&q8_op_swish, NULL, make_unary},
    {&q8_op_tanh, NULL, make_unary},
    {&q8_op_threshold, NULL, make_unary},
    {&q8_op_prelu, NULL, make_prelu},
    {&q8_op_eltwise, fits_eltwise, make_eltwise},
    {&q8_op_binaryop, NULL, make_binary},
    {&q8_op_pooling, NULL, make_pool},
    {&q8_op_lrn, NULL, make_lrn},
    {&q8_op_softmax, NULL, make_softmax},
    {NULL, NULL, NULL},
};

#endif
