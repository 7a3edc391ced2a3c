/* Cuts a tensor into several along one axis. */
#include "ops/slice.h"

#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"

static const q8_field fields[] = {
    Q8_FIELD_INTS(q8_slice_attr, sizes, 0),
    Q8_FIELD_INT(q8_slice_attr, axis, 1, 0),
    Q8_FIELD_INTS(q8_slice_attr, indices, 2),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_slice_attr *a = node->attr;
    int axis;
    q8_code code = q8_node_axis(node, in, a->axis, &axis, err);
    if (code)
        return code;
    if (a->indices.n)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "slicing by indices is not supported");
    if (a->sizes.n != node->n_out)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d sizes for %d outputs",
                       a->sizes.n, node->n_out);
    int left = in->dim[axis];
    for (int i = 0; i < node->n_out; i++) {
        const int size = a->sizes.v[i] == Q8_SLICE_REST ? left / (node->n_out - i) : a->sizes.v[i];
        if (size < 1 || size > left)
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "output %d would take %d of the %d elements left of %d", i, size, left,
                           in->dim[axis]);
        out[i] = in[0];
        out[i].dim[axis] = size;
        left -= size;
    }
    if (left > 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d of the axis's %d elements are in no output", left, in->dim[axis]);
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_slice_attr *a = f->node->attr;
    int axis;
    q8_code code = q8_node_axis(f->node, &f->in_shape[0], a->axis, &axis, err);
    if (code)
        return code;
    size_t outer, inner;
    q8_axis_split(&f->in_shape[0], axis, &outer, &inner);
    const float *in = f->in[0];
    for (size_t k = 0; k < outer; k++)
        for (int i = 0; i < f->node->n_out; i++) {
            const size_t run = (size_t)f->out_shape[i].dim[axis] * inner;
            memcpy(f->out[i] + k * run, in, run * sizeof(float));
            in += run;
        }
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)in, (void)out;
    return node->n_out == 1;
}

/* Sizes between Caffe's cutting points; the last one follows the input. */
static q8_code sizes_from_points(q8_caffe_import *im, const Caffe__SliceParameter *p, int extent,
                                 int *size)
{
    if (p->n_slice_point != (size_t)im->n_out - 1)
        return q8_im_fail(im, Q8_EMODEL, p, "slice_point",
                          "%d tops need %d slice_point, one between any two, but there are %zu",
                          im->n_out, im->n_out - 1, p->n_slice_point);
    uint32_t from = 0;
    for (int i = 0; i < im->n_out - 1; i++) {
        const uint32_t point = p->slice_point[i];
        if (point <= from || point >= (uint32_t)extent)
            return q8_im_fail_at(im, Q8_EMODEL, p, "slice_point", i,
                                 "slice_point %u does not lie between %u and %d, the %s", point,
                                 from, extent, i ? "one before and the end" : "ends of the axis");
        size[i] = (int)(point - from);
        from = point;
    }
    size[im->n_out - 1] = Q8_SLICE_REST;
    return Q8_OK;
}

static q8_code read_axis(q8_caffe_import *im, const Caffe__SliceParameter *p, int *axis)
{
    const Caffe__SliceParameter *message = im->param->slice_param;
    if (p->has_axis && p->has_slice_dim)
        return q8_im_fail(im, Q8_EMODEL, message, "slice_dim", "both axis and slice_dim");
    if (!p->has_slice_dim)
        return q8_im_axis(im, message, "axis", p->axis, axis);
    int dim;
    q8_code code = q8_read_uint(im, message, "slice_dim", p->slice_dim, 0, &dim);
    return code ? code : q8_im_axis(im, message, "slice_dim", dim, axis);
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__SliceParameter none = CAFFE__SLICE_PARAMETER__INIT;
    const Caffe__SliceParameter *message = im->param->slice_param, *p = message ? message : &none;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (im->n_out < 1)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "no top");
    q8_node *node = q8_im_node(im, &q8_op_slice);
    if (!node)
        return q8_im_failed(im);
    int *size = q8_arena_array(im->arena, (size_t)im->n_out, sizeof(*size));
    if (!size)
        return q8_fail_nomem(im->err);
    q8_slice_attr *a = node->attr;
    if ((code = read_axis(im, p, &a->axis)))
        return code;
    const int extent = im->in_shape[0].dim[a->axis];
    if (p->n_slice_point)
        code = sizes_from_points(im, p, extent, size);
    else if (extent % im->n_out)
        code = q8_im_fail(im, Q8_EMODEL, NULL, NULL,
                          "an axis of %d cannot be cut into %d equal parts", extent, im->n_out);
    else
        for (int i = 0; i < im->n_out; i++)
            size[i] = Q8_SLICE_REST;
    a->sizes = (q8_ints){im->n_out, size};
    return code;
}

const q8_op q8_op_slice = {
    .type = "Slice",
    .caffe_types = (const char *const[]){"Slice", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = -1,
    .attr_size = sizeof(q8_slice_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits =
        "Cuts at the given points, or into equal parts. Refused: both `axis` and `slice_dim`, "
        "points that do not rise, slicing the batch.",
};
