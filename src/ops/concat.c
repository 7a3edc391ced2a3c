#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_concat_attr, axis, 0, 0),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_concat_attr *a = node->attr;
    int axis;
    q8_code code = q8_node_axis(node, in, a->axis, &axis, err);
    if (code)
        return code;
    long long total = 0;
    for (int i = 0; i < node->n_in; i++) {
        q8_shape alike = in[i];
        alike.dim[axis] = in[0].dim[axis];
        if (!q8_shape_equal(&in[0], &alike)) {
            char first[64], other[64];
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "input 0 has the shape %s, input %d has %s: they may differ in "
                           "dimension %d only",
                           q8_shape_text(&in[0], first), i, q8_shape_text(&in[i], other), axis);
        }
        total += in[i].dim[axis];
    }
    if (total > (long long)Q8_MAX_ELEMENTS)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%lld elements along dimension %d; " Q8_LIMIT, total, axis,
                       Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    out[0] = in[0];
    out[0].dim[axis] = (int)total;
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_concat_attr *a = f->node->attr;
    int axis;
    q8_code code = q8_node_axis(f->node, &f->out_shape[0], a->axis, &axis, err);
    if (code)
        return code;
    size_t outer, inner;
    q8_axis_split(&f->out_shape[0], axis, &outer, &inner);
    float *out = f->out[0];
    for (size_t k = 0; k < outer; k++)
        for (int i = 0; i < f->node->n_in; i++) {
            const size_t run = (size_t)f->in_shape[i].dim[axis] * inner;
            memcpy(out, f->in[i] + k * run, run * sizeof(float));
            out += run;
        }
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)in, (void)out;
    return node->n_in == 1;
}

/* As infer() does, in Caffe's words. */
static q8_code check_alike(q8_caffe_import *im, int axis)
{
    const q8_shape *first = &im->in_shape[0];
    for (int i = 1; i < im->n_in; i++) {
        q8_shape alike = im->in_shape[i];
        char a[64], b[64];
        alike.dim[axis] = first->dim[axis];
        if (!q8_shape_equal(first, &alike))
            return q8_im_fail_at(im, Q8_EMODEL, im->param, "bottom", i,
                                 "'%s' has the shape %s without the batch, '%s' has %s: they may "
                                 "differ along axis %d only",
                                 im->param->bottom[0], q8_shape_text(first, a),
                                 im->param->bottom[i], q8_shape_text(&im->in_shape[i], b),
                                 axis + 1);
    }
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ConcatParameter none = CAFFE__CONCAT_PARAMETER__INIT;
    const Caffe__ConcatParameter *message = im->param->concat_param, *p = message ? message : &none;
    if (p->has_axis && p->has_concat_dim)
        return q8_im_fail(im, Q8_EMODEL, message, "concat_dim", "both axis and concat_dim");
    q8_node *node = q8_im_node(im, &q8_op_concat);
    if (!node)
        return q8_im_failed(im);
    q8_concat_attr *a = node->attr;
    int dim;
    q8_code code = q8_read_uint(im, message, "concat_dim", p->concat_dim, 0, &dim);
    if (!code)
        code = p->has_concat_dim ? q8_im_axis(im, message, "concat_dim", dim, &a->axis)
                                 : q8_im_axis(im, message, "axis", p->axis, &a->axis);
    return code ? code : check_alike(im, a->axis);
}

const q8_op q8_op_concat = {
    .type = "Concat",
    .caffe_types = (const char *const[]){"Concat", NULL},
    .min_in = 1,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_concat_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits = "Any number of inputs of equal size but for one axis, which must not be the batch. "
              "Refused: both `axis` and `concat_dim`.",
};
