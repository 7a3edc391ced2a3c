/* Layers that only move elements, and layers whose output no input changes.
 *
 * Where each element comes from is learned from the plain-C forward itself: it is run once on the
 * numbers of the elements. So there is one kernel for all such layers and nothing to keep in step
 * with their attributes. */
#ifdef Q8_HAVE_OPENCL

#include <stdlib.h>

#include "exec/opencl.h"
#include "ops/common.h"
#include "ops/interp.h"
#include "ops/rows.h"
#include "ops/simple.h"

/* --- elements from elsewhere ------------------------------------------------------------------ */

/* Numbers and halves between them are exact in a float up to here. */
enum { MOST_NUMBERS = 1 << 23 };

static bool fits_gather(const q8_graph *graph, const q8_node *node)
{
    return q8_shape_count(&graph->tensor[node->in[0]].shape) < MOST_NUMBERS;
}

static q8_code run_gather(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const cl_int n_in = (cl_int)q8_shape_count(q8_cl_in(k, 0));
    q8_code code = Q8_OK;
    for (int i = 0; i < k->node->n_out && !code; i++) {
        const cl_int n_out = (cl_int)q8_shape_count(q8_cl_out(k, i)), all = n_out * k->batch;
        const q8_cl_grid grid = {.x = (size_t)all, .y = 1, .group = Q8_CL_GROUP};
        const q8_cl_arg arg[] = {
            Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[i].gpu), Q8_CL_ARG(k->constant[i]), Q8_CL_ARG(n_in),
            Q8_CL_ARG(n_out),     Q8_CL_ARG(all),        Q8_CL_ARG(k->fill[i])};
        code = q8_cl_launch(run, Q8_CL_gather, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
    }
    return code;
}

/* The layer's forward on the numbers i + `part`, into `out`; memory is from malloc(). */
static q8_code forward_numbers(const q8_cl_node *k, float part, float **out, q8_err *err)
{
    const q8_node *node = k->node;
    const size_t n = q8_shape_count(q8_cl_in(k, 0));
    q8_shape *shape = calloc((size_t)(node->n_in + node->n_out) + 1, sizeof(*shape));
    const float **in = calloc((size_t)node->n_in + 1, sizeof(*in));
    float *number = malloc(n * sizeof(*number));
    q8_code code = shape && in && number ? Q8_OK : q8_fail_nomem(err);
    for (size_t i = 0; !code && i < n; i++)
        number[i] = (float)i + part;
    for (int i = 0; !code && i < node->n_in; i++) {
        shape[i] = *q8_cl_in(k, i);
        in[i] = number; /* of further inputs only the shapes count */
    }
    for (int i = 0; !code && i < node->n_out; i++) {
        shape[node->n_in + i] = *q8_cl_out(k, i);
        out[i] = malloc(q8_shape_count(q8_cl_out(k, i)) * sizeof(**out));
        code = out[i] ? Q8_OK : q8_fail_nomem(err);
    }
    if (!code) {
        const q8_forward f = {node, shape, shape + node->n_in, in, out};
        code = node->op->forward(&f, err);
    }
    free(shape);
    free(in);
    free(number);
    return code;
}

/* What is the same for both runs comes from no element. There is but one such value in a layer. */
static q8_code add_indices(q8_cl_node *k, int i, const float *at_0, const float *at_half,
                           q8_err *err)
{
    const size_t n = q8_shape_count(q8_cl_out(k, i));
    cl_int *from = malloc(n * sizeof(*from));
    if (!from)
        return q8_fail_nomem(err);
    for (size_t e = 0; e < n; e++) {
        const bool constant = at_0[e] == at_half[e];
        from[e] = constant ? -1 : (cl_int)at_0[e];
        if (constant)
            k->fill[i] = at_0[e];
    }
    const q8_code code = q8_cl_add_constant(k, from, n * sizeof(*from), err);
    free(from);
    return code;
}

static q8_code make_gather(q8_cl_node *k, q8_err *err)
{
    const size_t n = (size_t)k->node->n_out;
    float **at_0 = calloc(2 * n, sizeof(*at_0));
    k->fill = calloc(n, sizeof(*k->fill));
    q8_code code = at_0 && k->fill ? Q8_OK : q8_fail_nomem(err);
    if (!code)
        code = forward_numbers(k, 0, at_0, err);
    if (!code)
        code = forward_numbers(k, 0.5F, at_0 + n, err);
    for (size_t i = 0; i < n && !code; i++)
        code = add_indices(k, (int)i, at_0[i], at_0[n + i], err);
    for (size_t i = 0; at_0 && i < 2 * n; i++)
        free(at_0[i]);
    free(at_0);
    k->base.enqueue = run_gather;
    return code;
}

/* --- Interp ----------------------------------------------------------------------------------- */

static bool fits_interp(const q8_graph *graph, const q8_node *node)
{
    const q8_interp_attr *a = node->attr;
    return a->type == Q8_INTERP_BILINEAR || fits_gather(graph, node);
}

static q8_code run_resize(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_grid grid = {q8_shape_count(q8_cl_out(k, 0)) * (size_t)k->batch, 1, Q8_CL_GROUP};
    const q8_cl_arg arg[] = {Q8_CL_ARG(in[0].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(k->constant[0]),
                             Q8_CL_ARG(k->constant[1]), Q8_CL_ARG(k->as.resize)};
    return q8_cl_launch(run, Q8_CL_resize, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

/* Tables of rows, and behind them of columns. */
static q8_code make_bilinear(q8_cl_node *k, q8_err *err)
{
    const q8_shape *in = q8_cl_in(k, 0), *out = q8_cl_out(k, 0);
    const size_t rows = (size_t)out->dim[1], n = rows + (size_t)out->dim[2];
    cl_int *from = malloc(n * sizeof(*from));
    float *part = malloc(n * sizeof(*part));
    q8_code code = from && part ? Q8_OK : q8_fail_nomem(err);
    for (size_t i = 0; i < n && !code; i++) {
        const q8_interp_tap tap = q8_interp_tap_of(k->node->attr, in, out, i < rows ? 1 : 2,
                                                   (int)(i < rows ? i : i - rows));
        from[i] = tap.from;
        part[i] = tap.part;
    }
    if (!code)
        code = q8_cl_add_constant(k, from, n * sizeof(*from), err);
    if (!code)
        code = q8_cl_add_constant(k, part, n * sizeof(*part), err);
    free(from);
    free(part);
    k->as.resize = (q8_cl_resize){.planes = in->dim[0] * k->batch,
                                  .h = in->dim[1],
                                  .w = in->dim[2],
                                  .out_h = out->dim[1],
                                  .out_w = out->dim[2]};
    k->base.enqueue = run_resize;
    return code;
}

static q8_code make_interp(q8_cl_node *k, q8_err *err)
{
    const q8_interp_attr *a = k->node->attr;
    return a->type == Q8_INTERP_BILINEAR ? make_bilinear(k, err) : make_gather(k, err);
}

/* --- Concat ----------------------------------------------------------------------------------- */

static q8_code run_concat(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_concat_attr *a = k->node->attr;
    const q8_shape *shape = q8_cl_out(k, 0);
    size_t outer, inner;
    int axis;
    if (q8_node_axis(k->node, shape, a->axis, &axis, err))
        return err->code;
    q8_axis_split(shape, axis, &outer, &inner);
    const cl_int pitch = (cl_int)((size_t)shape->dim[axis] * inner);
    cl_int first = 0;
    q8_code code = Q8_OK;
    for (int i = 0; i < k->node->n_in && !code; i++) {
        const cl_int row = (cl_int)((size_t)q8_cl_in(k, i)->dim[axis] * inner);
        const cl_int n = (cl_int)outer * k->batch * row;
        const q8_cl_grid grid = {.x = (size_t)n, .y = 1, .group = Q8_CL_GROUP};
        const q8_cl_arg arg[] = {Q8_CL_ARG(in[i].gpu), Q8_CL_ARG(out[0].gpu), Q8_CL_ARG(n),
                                 Q8_CL_ARG(row),       Q8_CL_ARG(pitch),      Q8_CL_ARG(first)};
        code = q8_cl_launch(run, Q8_CL_place, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
        first += row;
    }
    return code;
}

static q8_code make_concat(q8_cl_node *k, q8_err *err)
{
    (void)err;
    k->base.enqueue = run_concat;
    return Q8_OK;
}

/* --- constants -------------------------------------------------------------------------------- */

static q8_code run_constant(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                            const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    (void)in;
    const cl_int row = (cl_int)q8_shape_count(q8_cl_out(k, 0));
    q8_code code = Q8_OK;
    for (int i = 0; i < k->batch && !code; i++) {
        const cl_int first = i * row;
        const q8_cl_grid grid = {.x = (size_t)row, .y = 1, .group = Q8_CL_GROUP};
        const q8_cl_arg arg[] = {Q8_CL_ARG(k->constant[0]),
                                 Q8_CL_ARG(out[0].gpu),
                                 Q8_CL_ARG(row),
                                 Q8_CL_ARG(row),
                                 Q8_CL_ARG(row),
                                 Q8_CL_ARG(first)};
        code = q8_cl_launch(run, Q8_CL_place, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
    }
    return code;
}

static bool fits_constant(const q8_graph *graph, const q8_node *node)
{
    (void)graph;
    return node->n_out == 1;
}

static q8_code make_constant(q8_cl_node *k, q8_err *err)
{
    float *value = NULL;
    q8_shape in[2] = {{0}};
    const float *const none[2] = {NULL};
    q8_code code = Q8_OK;
    for (int i = 0; i < k->node->n_in && i < 2; i++)
        in[i] = *q8_cl_in(k, i);
    const size_t bytes = q8_shape_count(q8_cl_out(k, 0)) * sizeof(float);
    if (!(value = malloc(bytes)))
        return q8_fail_nomem(err);
    const q8_forward f = {k->node, in, q8_cl_out(k, 0), none, &value};
    code = k->node->op->forward(&f, err);
    if (!code)
        code = q8_cl_add_constant(k, value, bytes, err);
    free(value);
    k->base.enqueue = run_constant;
    return code;
}

const q8_cl_maker q8_cl_move_makers[] = {
    {&q8_op_crop, fits_gather, make_gather},
    {&q8_op_flatten, fits_gather, make_gather},
    {&q8_op_interp, fits_interp, make_interp},
    {&q8_op_padding, fits_gather, make_gather},
    {&q8_op_permute, fits_gather, make_gather},
    {&q8_op_pixelshuffle, fits_gather, make_gather},
    {&q8_op_reorg, fits_gather, make_gather},
    {&q8_op_reshape, fits_gather, make_gather},
    {&q8_op_shufflechannel, fits_gather, make_gather},
    {&q8_op_slice, fits_gather, make_gather},
    {&q8_op_tile, fits_gather, make_gather},
    {&q8_op_concat, NULL, make_concat},
    {&q8_op_memorydata, fits_constant, make_constant},
    {&q8_op_priorbox, fits_constant, make_constant},
    {NULL, NULL, NULL},
};

#endif
