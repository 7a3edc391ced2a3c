/* Layers that add up many of a picture's values. */
#ifdef Q8_HAVE_OPENCL

#include "exec/opencl.h"
#include "ops/common.h"
#include "ops/reduction.h"
#include "ops/rows.h"
#include "ops/simple.h"

static q8_code run_normalize(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                             const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_normalize *g = &k->as.normalize;
    const q8_cl_grid grid = {(size_t)g->groups * Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(k->constant[0]),
                             Q8_CL_ARG(*g)};
    return q8_cl_launch(run, Q8_CL_normalize, &grid, arg, 4, err);
}

static q8_code make_normalize(q8_cl_node *k, q8_err *err)
{
    const q8_normalize_attr *a = k->node->attr;
    const int channels = q8_cl_in(k, 0)->dim[0], spatial = (int)q8_shape_spatial(q8_cl_in(k, 0));
    const int group_channels = a->across_channel ? channels : 1;
    const int group_spatial = a->across_spatial ? spatial : 1;
    k->as.normalize = (q8_cl_normalize){.channels = channels,
                                        .spatial = spatial,
                                        .group_channels = group_channels,
                                        .group_spatial = group_spatial,
                                        .groups = k->batch * (channels / group_channels) *
                                                  (spatial / group_spatial),
                                        .shared = a->channel_shared,
                                        .eps_mode = a->eps_mode,
                                        .eps = a->eps};
    k->base.enqueue = run_normalize;
    const q8_weight *scale = &k->node->weight[0];
    return q8_cl_add_constant(k, scale->data, scale->count * sizeof(float), err);
}

static q8_code run_mvn(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                       const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_mvn_attr *a = k->node->attr;
    const q8_shape *shape = q8_cl_in(k, 0);
    const cl_int all = (cl_int)q8_shape_count(shape) * k->batch;
    const cl_int n = (cl_int)(a->across_channels ? q8_shape_count(shape) : q8_shape_spatial(shape));
    const cl_int variance = a->normalize_variance;
    const cl_float eps = a->eps;
    const q8_cl_grid grid = {(size_t)(all / n) * Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(n),
                             Q8_CL_ARG(variance), Q8_CL_ARG(eps)};
    return q8_cl_launch(run, Q8_CL_mvn, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

static q8_code make_mvn(q8_cl_node *k, q8_err *err)
{
    (void)err;
    k->base.enqueue = run_mvn;
    return Q8_OK;
}

static q8_code run_reduce(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_reduce *r = &k->as.reduce;
    const q8_cl_grid grid = {(size_t)k->batch * (size_t)r->kept.count * Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(*r)};
    return q8_cl_launch(run, Q8_CL_reduce, &grid, arg, 3, err);
}

/* Over the dims that are, or are not, reduced. */
static q8_cl_walk walk_over(const q8_shape *shape, const bool *reduced, bool which)
{
    q8_cl_walk w = {.count = 1, .dim = {1, 1, 1, 1}};
    for (int i = 0; i < shape->rank; i++) {
        size_t outer, inner;
        if (reduced[i] != which)
            continue;
        q8_axis_split(shape, i, &outer, &inner);
        w.dim[i] = shape->dim[i];
        w.step[i] = (int)inner;
        w.count *= shape->dim[i];
    }
    return w;
}

static q8_code make_reduce(q8_cl_node *k, q8_err *err)
{
    const q8_reduction_attr *a = k->node->attr;
    const q8_shape *in = q8_cl_in(k, 0);
    bool reduced[Q8_MAX_RANK];
    const q8_code code = q8_reduction_axes(k->node, in, reduced, err);
    if (code)
        return code;
    q8_cl_reduce *r = &k->as.reduce;
    *r = (q8_cl_reduce){.type = a->type,
                        .count = (int)q8_shape_count(in),
                        .kept = walk_over(in, reduced, false),
                        .inner = walk_over(in, reduced, true),
                        .coeff = a->coeff};
    if (a->type == Q8_REDUCE_MEAN)
        r->coeff /= (float)r->inner.count;
    k->base.enqueue = run_reduce;
    return Q8_OK;
}

const q8_cl_maker q8_cl_sum_makers[] = {
    {&q8_op_normalize, NULL, make_normalize},
    {&q8_op_mvn, NULL, make_mvn},
    {&q8_op_reduction, NULL, make_reduce},
    {NULL, NULL, NULL},
};

#endif
