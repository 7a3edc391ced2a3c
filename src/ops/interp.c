/* Resizing of planes: bilinear or nearest. */
#include "ops/interp.h"

#include <math.h>

#include "ops/common.h"
#include "ops/rows.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_interp_attr, type, 0, 0),
    Q8_FIELD_FLOAT(q8_interp_attr, scale_h, 1, 1),
    Q8_FIELD_FLOAT(q8_interp_attr, scale_w, 2, 1),
    Q8_FIELD_INT(q8_interp_attr, out_h, 3, 0),
    Q8_FIELD_INT(q8_interp_attr, out_w, 4, 0),
    Q8_FIELD_INT(q8_interp_attr, by_input, 5, 0),
    Q8_FIELD_INT(q8_interp_attr, align_corners, 6, 0),
};

/* The output size of one axis; 0: none. */
static int out_size(const q8_interp_attr *a, int in, float scale, int size)
{
    if (a->out_h != 0 && a->out_w != 0)
        return size > 0 && size <= Q8_MAX_EXTENT ? size : 0;
    const float scaled = (float)in * scale;
    return scaled >= 1 && scaled <= Q8_MAX_EXTENT ? (int)scaled : 0;
}

/* ncnn reads the pixel before the only one of an axis, and divides by 0 for an output of one. */
static bool is_safe_axis(const q8_interp_attr *a, int in, int out)
{
    return in > 1 && (out > 1 || !a->align_corners);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_interp_attr *a = node->attr;
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (a->type != Q8_INTERP_NEAREST && a->type != Q8_INTERP_BILINEAR)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "resize type %d is not supported, only 1 (nearest) and 2 (bilinear)",
                       a->type);
    if (a->by_input)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "a size that comes from another tensor is not supported");
    const int h = out_size(a, in->dim[1], a->scale_h, a->out_h);
    const int w = out_size(a, in->dim[2], a->scale_w, a->out_w);
    if (h < 1 || w < 1)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "resizing %dx%d by %g and %g, or to %dx%d, makes nothing usable", in->dim[1],
                       in->dim[2], (double)a->scale_h, (double)a->scale_w, a->out_h, a->out_w);
    out[0] = (q8_shape){3, {in->dim[0], h, w}};
    if (a->type == Q8_INTERP_BILINEAR && !q8_shape_equal(in, &out[0]) &&
        (!is_safe_axis(a, in->dim[1], h) || !is_safe_axis(a, in->dim[2], w)))
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "ncnn cannot resize %dx%d to %dx%d bilinearly: one row or column has no "
                       "neighbour",
                       in->dim[1], in->dim[2], h, w);
    return Q8_OK;
}

/* In fp32 where ncnn does, for there a rounded coordinate decides which pixel it is. */
static q8_interp_tap nearest_tap(int i, int in, float step)
{
    const int from = (int)((float)i * step);
    return (q8_interp_tap){from < in ? from : in - 1, 0};
}

static q8_interp_tap bilinear_tap(int i, int in, int out, bool align_corners)
{
    const double step = align_corners ? (double)(in - 1) / (out - 1) : (double)in / out;
    const float at = (float)(align_corners ? i * step : (i + 0.5) * step - 0.5);
    const int from = (int)floorf(at);
    if (from < 0)
        return (q8_interp_tap){0, 0};
    if (from >= in - 1)
        return (q8_interp_tap){in - 2, 1};
    return (q8_interp_tap){from, at - (float)from};
}

q8_interp_tap q8_interp_tap_of(const q8_interp_attr *a, const q8_shape *in, const q8_shape *out,
                               int axis, int i)
{
    const int from = in->dim[axis], to = out->dim[axis];
    const float scale = axis == 1 ? a->scale_h : a->scale_w;
    if (a->type == Q8_INTERP_BILINEAR)
        return bilinear_tap(i, from, to, a->align_corners);
    return nearest_tap(i, from,
                       (axis == 1 ? a->out_h : a->out_w) ? (float)from / (float)to : 1 / scale);
}

static double row_value(const float *row, q8_interp_tap x)
{
    return x.part == 0 ? row[x.from]
                       : (1.0 - x.part) * row[x.from] + (double)x.part * row[x.from + 1];
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_interp_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0], *out = &f->out_shape[0];
    if (q8_shape_equal(in, out))
        return q8_copy_forward(f, err);
    const int in_w = in->dim[2], h = out->dim[1], w = out->dim[2];
    float *to = f->out[0];
    for (int c = 0; c < in->dim[0]; c++) {
        const float *plane = f->in[0] + (size_t)c * q8_shape_spatial(in);
        for (int i = 0; i < h; i++) {
            const q8_interp_tap y = q8_interp_tap_of(a, in, out, 1, i);
            const float *row = plane + (size_t)y.from * (size_t)in_w;
            for (int j = 0; j < w; j++) {
                const q8_interp_tap x = q8_interp_tap_of(a, in, out, 2, j);
                double value = row_value(row, x);
                if (y.part > 0)
                    value = (1.0 - y.part) * value + y.part * row_value(row + in_w, x);
                *to++ = (float)value;
            }
        }
    }
    return Q8_OK;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    (void)node;
    (void)in;
    return Q8_CHANNELS_MEAN;
}

const q8_op q8_op_interp = {
    .type = "Interp",
    .caffe_types = (const char *const[]){"Interp", "Upsample", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_interp_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = q8_interp_from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .is_identity = q8_same_shape,
    .needs_rank3 = true,
    .limits = "`Interp` is bilinear with its corners aligned; `pad_beg` and `pad_end` cut off and "
              "must not be positive; a second input gives the size. `Upsample` of one input "
              "repeats pixels. Refused: SegNet's unpooling, which "
              "reads the places of a max pooling.",
};
