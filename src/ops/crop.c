/* A block out of a tensor. Its size is that of a second input, or fixed. */
#include "ops/crop.h"

#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_crop_attr, offset_w, 0, 0),  Q8_FIELD_INT(q8_crop_attr, offset_h, 1, 0),
    Q8_FIELD_INT(q8_crop_attr, offset_c, 2, 0),  Q8_FIELD_INT(q8_crop_attr, out_w, 3, 0),
    Q8_FIELD_INT(q8_crop_attr, out_h, 4, 0),     Q8_FIELD_INT(q8_crop_attr, out_c, 5, 0),
    Q8_FIELD_INT(q8_crop_attr, end_w, 6, 0),     Q8_FIELD_INT(q8_crop_attr, end_h, 7, 0),
    Q8_FIELD_INT(q8_crop_attr, end_c, 8, 0),     Q8_FIELD_INTS(q8_crop_attr, starts, 9),
    Q8_FIELD_INTS(q8_crop_attr, ends, 10),       Q8_FIELD_INTS(q8_crop_attr, axes, 11),
    Q8_FIELD_INT(q8_crop_attr, offset_d, 13, 0), Q8_FIELD_INT(q8_crop_attr, out_d, 14, 0),
    Q8_FIELD_INT(q8_crop_attr, end_d, 15, 0),
};

/* The attributes of a dim, outermost first, of a tensor of this rank. */
struct along {
    int offset, out, end;
};

static struct along attr_along(const q8_crop_attr *a, int rank, int i)
{
    switch (rank - i) {
    case 1:
        return (struct along){a->offset_w, a->out_w, a->end_w};
    case 2:
        return (struct along){a->offset_h, a->out_h, a->end_h};
    default:
        return (struct along){a->offset_c, a->out_c, a->end_c};
    }
}

/* ncnn takes the size from a second input only where none of these is set. */
static bool has_size(const q8_crop_attr *a)
{
    return a->out_w || a->out_h || a->out_c || a->end_w || a->end_h || a->end_c;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_crop_attr *a = node->attr;
    if (a->starts.n || a->ends.n || a->axes.n || a->offset_d || a->out_d || a->end_d ||
        a->offset_w == Q8_CROP_REST || in->rank > 3)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "cropping by lists, by data, or of more than 3 dimensions is not supported");
    if (has_size(a) != (node->n_in == 1))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       has_size(a) ? "a size and a second input" : "no size and no second input");
    if (node->n_in == 2 && in[0].rank != in[1].rank)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "inputs of %d and %d dimensions", in[0].rank, in[1].rank);
    out[0] = (q8_shape){.rank = in->rank};
    for (int i = 0; i < in->rank; i++) {
        const struct along x = attr_along(a, in->rank, i);
        const long long rest = (long long)in->dim[i] - x.offset - x.end;
        long long size = node->n_in == 2 ? in[1].dim[i] : rest;
        if (node->n_in == 1 && x.out != Q8_CROP_REST && x.out < size)
            size = x.out;
        if (x.offset < 0 || x.end < 0 || size < 1 || size > rest)
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "dimension %d: %lld elements after the first %d of %d", i, size,
                           x.offset, in->dim[i]);
        out[0].dim[i] = (int)size;
    }
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_crop_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0], *out = &f->out_shape[0];
    int in_dim[3] = {1, 1, 1}, dim[3] = {1, 1, 1}, offset[3] = {0};
    for (int i = 0; i < in->rank; i++) {
        const int k = 3 - in->rank + i;
        in_dim[k] = in->dim[i];
        dim[k] = out->dim[i];
        offset[k] = attr_along(a, in->rank, i).offset;
    }
    float *to = f->out[0];
    for (int c = 0; c < dim[0]; c++)
        for (int y = 0; y < dim[1]; y++) {
            const size_t row =
                (size_t)(c + offset[0]) * (size_t)in_dim[1] + (size_t)(y + offset[1]);
            memcpy(to, f->in[0] + row * (size_t)in_dim[2] + (size_t)offset[2],
                   (size_t)dim[2] * sizeof(float));
            to += dim[2];
        }
    return Q8_OK;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

/* Offsets of all dims, 0 before `axis`. */
static q8_code read_offsets(q8_caffe_import *im, const Caffe__CropParameter *p, int axis,
                            int *offset)
{
    const q8_shape *in = &im->in_shape[0], *size = &im->in_shape[1];
    const int cropped = in->rank - axis;
    if (p->n_offset > 1 && p->n_offset != (size_t)cropped)
        return q8_im_fail(im, Q8_EMODEL, p, "offset", "%zu offsets for %d cropped axes",
                          p->n_offset, cropped);
    for (int i = axis; i < in->rank; i++) {
        const uint32_t value = p->n_offset == 0 ? 0 : p->offset[p->n_offset == 1 ? 0 : i - axis];
        q8_code code = q8_read_uint(im, p, "offset", value, 0, &offset[i]);
        if (code)
            return code;
        if ((long long)offset[i] + size->dim[i] > in->dim[i])
            return q8_im_fail(im, Q8_EMODEL, p, "offset",
                              "axis %d: %d elements from offset %d on do not fit into %d", i + 1,
                              size->dim[i], offset[i], in->dim[i]);
    }
    return Q8_OK;
}

static void set_offsets(q8_crop_attr *a, const int *offset, int rank)
{
    a->offset_w = offset[rank - 1];
    a->offset_h = rank > 1 ? offset[rank - 2] : 0;
    a->offset_c = rank > 2 ? offset[rank - 3] : 0;
}

static void set_size(q8_crop_attr *a, const int *size, int rank)
{
    a->out_w = size[rank - 1];
    a->out_h = rank > 1 ? size[rank - 2] : Q8_CROP_REST;
    a->out_c = rank > 2 ? size[rank - 3] : Q8_CROP_REST;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__CropParameter none = CAFFE__CROP_PARAMETER__INIT;
    const Caffe__CropParameter *message = im->param->crop_param, *p = message ? message : &none;
    if (im->n_in != 2 || im->in_shape[0].rank != im->in_shape[1].rank || im->in_shape[0].rank > 3)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL,
                          "Crop needs two bottoms of the same number of axes, at most 4");
    const q8_shape *in = &im->in_shape[0];
    int axis, offset[Q8_MAX_RANK] = {0}, size[Q8_MAX_RANK];
    q8_code code = q8_im_axis(im, message, "axis", p->axis, &axis);
    if (code || (code = read_offsets(im, p, axis, offset)))
        return code;
    q8_node *node = q8_im_node(im, &q8_op_crop);
    if (!node)
        return q8_im_failed(im);
    q8_crop_attr *a = node->attr;
    set_offsets(a, offset, in->rank);
    /* ncnn crops every dim to the second input's, also those before the axis: where that is not
     * the same thing, the size is written and the second input is not read. */
    bool by_input = true;
    for (int i = 0; i < in->rank; i++) {
        size[i] = i < axis ? Q8_CROP_REST : im->in_shape[1].dim[i];
        by_input &= i >= axis || in->dim[i] == im->in_shape[1].dim[i];
    }
    if (!by_input) {
        set_size(a, size, in->rank);
        node->n_in = 1;
    }
    return Q8_OK;
}

const q8_op q8_op_crop = {
    .type = "Crop",
    .caffe_types = (const char *const[]){"Crop", NULL},
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_crop_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = q8_same_shape,
    .needs_rank3 = true,
    .limits = "Two inputs of the same number of axes, at most 4 with the batch; all axes from "
              "`axis` on are cropped to the second input's size. Refused: cropping the batch, a "
              "block that reaches past the end.",
};
