/* Sum, mean, maximum, … over some axes. */
#include "ops/reduction.h"

#include <math.h>
#include <string.h>

#include "ops/argmax.h"
#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_reduction_attr, type, 0, 0),
    Q8_FIELD_INT(q8_reduction_attr, reduce_all, 1, 1),
    Q8_FIELD_FLOAT(q8_reduction_attr, coeff, 2, 1),
    Q8_FIELD_INTS(q8_reduction_attr, axes, 3),
    Q8_FIELD_INT(q8_reduction_attr, keepdims, 4, 0),
    Q8_FIELD_INT(q8_reduction_attr, fixed_axes, 5, 0),
};

q8_reduction_attr q8_reduction_of(q8_arena *arena, q8_reduce_type type, int from, int to,
                                  bool keepdims)
{
    int *axes = q8_arena_array(arena, (size_t)(to - from), sizeof(*axes));
    for (int i = from; axes && i < to; i++)
        axes[i - from] = i;
    return (q8_reduction_attr){
        .type = type,
        .coeff = 1,
        .axes = {.n = to - from, .v = axes},
        .keepdims = keepdims,
        .fixed_axes = 1,
    };
}

/* --- shapes --------------------------------------------------------------------------------- */

/* ncnn reduces a vector whatever the axes say. */
q8_code q8_reduction_axes(const q8_node *node, const q8_shape *in, bool reduced[Q8_MAX_RANK],
                          q8_err *err)
{
    const q8_reduction_attr *a = node->attr;
    for (int i = 0; i < in->rank; i++)
        reduced[i] = a->reduce_all || in->rank == 1;
    if (a->reduce_all)
        return Q8_OK;
    if (a->axes.n < 1 || !a->fixed_axes)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       a->axes.n < 1 ? "no axes to reduce"
                                     : "axes as older files number them are not supported");
    for (int i = 0; i < a->axes.n; i++) {
        int axis = 0;
        q8_code code = q8_node_axis(node, in, a->axes.v[i], &axis, err);
        if (code)
            return code;
        reduced[axis] = true;
    }
    return Q8_OK;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_reduction_attr *a = node->attr;
    bool reduced[Q8_MAX_RANK];
    if (a->type < 0 || a->type >= Q8_REDUCE_N_TYPES)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "reduction %d is not supported", a->type);
    q8_code code = q8_reduction_axes(node, in, reduced, err);
    if (code)
        return code;
    *out = (q8_shape){0};
    for (int i = 0; i < in->rank; i++)
        if (!reduced[i] || a->keepdims)
            out->dim[out->rank++] = reduced[i] ? 1 : in->dim[i];
    if (out->rank == 0)
        *out = (q8_shape){1, {1}};
    return Q8_OK;
}

/* --- forward -------------------------------------------------------------------------------- */

static double start_value(int type)
{
    return type == Q8_REDUCE_MAX   ? -INFINITY
           : type == Q8_REDUCE_MIN ? INFINITY
                                   : type == Q8_REDUCE_PROD;
}

static double accumulate(int type, double so_far, double x)
{
    switch (type) {
    case Q8_REDUCE_ASUM:
        return so_far + fabs(x);
    case Q8_REDUCE_SUMSQ:
        return so_far + x * x;
    case Q8_REDUCE_MAX:
        return x > so_far ? x : so_far;
    case Q8_REDUCE_MIN:
        return x < so_far ? x : so_far;
    case Q8_REDUCE_PROD:
        return so_far * x;
    default:
        return so_far + x;
    }
}

/* A walk over some dims of a tensor, the others standing still. */
struct walk {
    int n;
    int dim[Q8_MAX_RANK], at[Q8_MAX_RANK];
    size_t step[Q8_MAX_RANK], offset, count;
};

static struct walk walk_over(const q8_shape *shape, const bool *reduced, bool which)
{
    struct walk w = {.count = 1};
    for (int i = 0; i < shape->rank; i++) {
        size_t outer, inner;
        if (reduced[i] != which)
            continue;
        q8_axis_split(shape, i, &outer, &inner);
        w.dim[w.n] = shape->dim[i];
        w.step[w.n++] = inner;
        w.count *= (size_t)shape->dim[i];
    }
    return w;
}

static void advance(struct walk *w)
{
    for (int i = w->n - 1; i >= 0; i--) {
        w->offset += w->step[i];
        if (++w->at[i] < w->dim[i])
            return;
        w->offset -= w->step[i] * (size_t)w->at[i];
        w->at[i] = 0;
    }
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_reduction_attr *a = f->node->attr;
    bool reduced[Q8_MAX_RANK];
    q8_code code = q8_reduction_axes(f->node, &f->in_shape[0], reduced, err);
    if (code)
        return code;
    struct walk kept = walk_over(&f->in_shape[0], reduced, false);
    struct walk inner = walk_over(&f->in_shape[0], reduced, true);
    double coeff = a->coeff;
    if (a->type == Q8_REDUCE_MEAN)
        coeff /= (double)inner.count;
    for (size_t k = 0; k < kept.count; k++, advance(&kept)) {
        double value = start_value(a->type);
        for (size_t i = 0; i < inner.count; i++, advance(&inner))
            value = accumulate(a->type, value, f->in[0][kept.offset + inner.offset]);
        f->out[0][k] = (float)(value * coeff);
    }
    return Q8_OK;
}

/* --- from Caffe ----------------------------------------------------------------------------- */

static q8_reduce_type read_type(const Caffe__ReductionParameter *p)
{
    switch (p->operation) {
    case CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__ASUM:
        return Q8_REDUCE_ASUM;
    case CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__SUMSQ:
        return Q8_REDUCE_SUMSQ;
    case CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__MEAN:
        return Q8_REDUCE_MEAN;
    default:
        return Q8_REDUCE_SUM;
    }
}

/* Caffe reduces all axes from one on. Of one picture, the batch is no more than a further 1. */
static q8_code from_caffe(q8_caffe_import *im)
{
    static const Caffe__ReductionParameter none = CAFFE__REDUCTION_PARAMETER__INIT;
    const Caffe__ReductionParameter *message = im->param->reduction_param,
                                    *p = message ? message : &none;
    if (strcmp(im->layer->type, "ArgMax") == 0)
        return q8_argmax_from_caffe(im);
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    const int rank = im->in_shape[0].rank;
    int from = 0;
    if (p->axis == 0 || p->axis == -rank - 1)
        q8_im_warn(im, message, "axis",
                   "axis %d reduces over the batch: what is converted is the network for one "
                   "picture",
                   p->axis);
    else
        code = q8_im_axis(im, message, "axis", p->axis, &from);
    if (code)
        return code;
    q8_node *node = q8_im_node(im, &q8_op_reduction);
    if (!node)
        return q8_im_failed(im);
    q8_reduction_attr *a = node->attr;
    if (from > 0) {
        *a = q8_reduction_of(im->arena, read_type(p), from, rank, false);
        if (!a->axes.v)
            return q8_im_failed(im);
    }
    a->type = read_type(p);
    a->coeff = p->coeff;
    return Q8_OK;
}

const q8_op q8_op_reduction = {
    .type = "Reduction",
    .caffe_types = (const char *const[]){"Reduction", "ArgMax", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_reduction_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits = "Caffe's `axis: 0` reduces over the batch too; of the single picture converted it "
              "is the same as `axis: 1`, with a warning. `ArgMax` becomes Reduction, BinaryOp and "
              "Threshold, as ncnn's own is left out of its usual builds; refused: `top_k` above 1.",
};
