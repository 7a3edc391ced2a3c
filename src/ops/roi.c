/* Pooling of a region of a feature map. As in ncnn the second input is one region, or several of
 * which the first one counts: left, top, right, bottom on the picture. */
#include "ops/roi.h"

#include <math.h>

#include "ops/common.h"
#include "ops/rows.h"

static const q8_field pooling_fields[] = {
    Q8_FIELD_INT(q8_roi_attr, pooled_w, 0, 0),
    Q8_FIELD_INT(q8_roi_attr, pooled_h, 1, 0),
    Q8_FIELD_FLOAT(q8_roi_attr, scale, 2, 1),
};

static const q8_field ps_fields[] = {
    Q8_FIELD_INT(q8_roi_attr, pooled_w, 0, 7),
    Q8_FIELD_INT(q8_roi_attr, pooled_h, 1, 7),
    Q8_FIELD_FLOAT(q8_roi_attr, scale, 2, 0.0625f),
    Q8_FIELD_INT(q8_roi_attr, output_dim, 3, 0),
};

static const q8_field align_fields[] = {
    Q8_FIELD_INT(q8_roialign_attr, pooled_w, 0, 0),
    Q8_FIELD_INT(q8_roialign_attr, pooled_h, 1, 0),
    Q8_FIELD_FLOAT(q8_roialign_attr, scale, 2, 1),
    Q8_FIELD_INT(q8_roialign_attr, sampling_ratio, 3, 0),
    Q8_FIELD_INT(q8_roialign_attr, aligned, 4, 0),
    Q8_FIELD_INT(q8_roialign_attr, version, 5, 0),
};

/* --- shapes -------------------------------------------------------------------------------- */

/* Far more than any layer has: bins and points are counted in ints. */
enum { MAX_BINS = 4096, MAX_POINTS = 1024 };

static q8_code check_inputs(const q8_node *node, const q8_shape *in, int w, int h, float scale,
                            q8_err *err)
{
    char text[64];
    q8_code code = q8_node_rank(node, 0, &in[0], 3, err);
    if (code)
        return code;
    if (w < 1 || h < 1 || w > MAX_BINS || h > MAX_BINS)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "regions pooled to %dx%d", h, w);
    if (!(scale > 0) || !isfinite(scale))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "a spatial scale of %g",
                       (double)scale);
    /* ncnn looks at the first four numbers in memory. */
    if (in[1].dim[in[1].rank - 1] != 4)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "regions of shape %s: the last dimension must be left, top, right, bottom",
                       q8_shape_text(&in[1], text));
    return Q8_OK;
}

static q8_code infer_pooling(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_roi_attr *a = node->attr;
    q8_code code = check_inputs(node, in, a->pooled_w, a->pooled_h, a->scale, err);
    out[0] = (q8_shape){3, {in->dim[0], a->pooled_h, a->pooled_w}};
    return code;
}

static q8_code infer_ps(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_roi_attr *a = node->attr;
    q8_code code = check_inputs(node, in, a->pooled_w, a->pooled_h, a->scale, err);
    if (code)
        return code;
    if (a->output_dim < 1 || in->dim[0] != (long long)a->output_dim * a->pooled_h * a->pooled_w)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d channels are not %d outputs of %dx%d bins", in->dim[0], a->output_dim,
                       a->pooled_h, a->pooled_w);
    out[0] = (q8_shape){3, {a->output_dim, a->pooled_h, a->pooled_w}};
    return Q8_OK;
}

static q8_code infer_align(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_roialign_attr *a = node->attr;
    q8_code code = check_inputs(node, in, a->pooled_w, a->pooled_h, a->scale, err);
    if (code)
        return code;
    if (a->version != Q8_ROIALIGN_PUBLISHED)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "ROIAlign of version %d is not supported, only of 1 (key 5)", a->version);
    if (a->sampling_ratio > MAX_POINTS)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d sampling points",
                       a->sampling_ratio);
    out[0] = (q8_shape){3, {in->dim[0], a->pooled_h, a->pooled_w}};
    return Q8_OK;
}

/* --- forward: coordinates in fp32, as in ncnn and Caffe, for they decide which pixels count ----
 */

/* One axis of the region on the feature map. */
struct span {
    float start, bin;
};

/* The pixels [from, to) of a bin, clipped to the feature map. */
struct range {
    int from, to;
};

/* As int, without undefined behaviour however far away the region is. */
static int clip_index(float x, int size)
{
    return x > 0 ? (x < (float)size ? (int)x : size) : 0;
}

static struct range bin_range(struct span s, int i, int size)
{
    return (struct range){clip_index(floorf(s.start + (float)i * s.bin), size),
                          clip_index(ceilf(s.start + (float)(i + 1) * s.bin), size)};
}

/* Caffe's ROIPooling rounds the region to whole pixels first. */
static struct span pooling_span(const float *roi, int axis, float scale, int bins)
{
    const float start = roundf(roi[axis] * scale), end = roundf(roi[axis + 2] * scale);
    return (struct span){start, fmaxf(end - start + 1, 1) / (float)bins};
}

static struct range pooling_range(struct span s, int i, int size)
{
    return (struct range){clip_index(s.start + floorf((float)i * s.bin), size),
                          clip_index(s.start + ceilf((float)(i + 1) * s.bin), size)};
}

static float range_max(const float *plane, int width, struct range y, struct range x)
{
    if (y.from >= y.to || x.from >= x.to)
        return 0;
    float max = plane[(size_t)y.from * (size_t)width + (size_t)x.from];
    for (int i = y.from; i < y.to; i++)
        for (int j = x.from; j < x.to; j++)
            max = fmaxf(max, plane[(size_t)i * (size_t)width + (size_t)j]);
    return max;
}

static float range_mean(const float *plane, int width, struct range y, struct range x)
{
    double sum = 0;
    if (y.from >= y.to || x.from >= x.to)
        return 0;
    for (int i = y.from; i < y.to; i++)
        for (int j = x.from; j < x.to; j++)
            sum += plane[(size_t)i * (size_t)width + (size_t)j];
    return (float)(sum / ((double)(y.to - y.from) * (x.to - x.from)));
}

static q8_code forward_pooling(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_roi_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0];
    const struct span x = pooling_span(f->in[1], 0, a->scale, a->pooled_w);
    const struct span y = pooling_span(f->in[1], 1, a->scale, a->pooled_h);
    float *to = f->out[0];
    for (int c = 0; c < in->dim[0]; c++)
        for (int i = 0; i < a->pooled_h; i++)
            for (int j = 0; j < a->pooled_w; j++)
                *to++ = range_max(f->in[0] + (size_t)c * q8_shape_spatial(in), in->dim[2],
                                  pooling_range(y, i, in->dim[1]), pooling_range(x, j, in->dim[2]));
    return Q8_OK;
}

static struct span ps_span(const float *roi, int axis, float scale, int bins)
{
    const float start = roundf(roi[axis]) * scale, end = roundf(roi[axis + 2] + 1) * scale;
    return (struct span){start, fmaxf(end - start, 0.1f) / (float)bins};
}

/* Each bin of each output has a channel of its own. */
static q8_code forward_ps(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_roi_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0];
    const struct span x = ps_span(f->in[1], 0, a->scale, a->pooled_w);
    const struct span y = ps_span(f->in[1], 1, a->scale, a->pooled_h);
    const float *plane = f->in[0];
    float *to = f->out[0];
    for (int c = 0; c < a->output_dim; c++)
        for (int i = 0; i < a->pooled_h; i++)
            for (int j = 0; j < a->pooled_w; j++) {
                *to++ = range_mean(plane, in->dim[2], bin_range(y, i, in->dim[1]),
                                   bin_range(x, j, in->dim[2]));
                plane += q8_shape_spatial(in);
            }
    return Q8_OK;
}

static struct span align_span(const q8_roialign_attr *a, const float *roi, int axis, int bins)
{
    const float move = a->aligned ? 0.5f : 0;
    const float start = roi[axis] * a->scale - move;
    const float size = roi[axis + 2] * a->scale - move - start;
    return (struct span){start, (a->aligned ? size : fmaxf(size, 1)) / (float)bins};
}

static int points_of(const q8_roialign_attr *a, struct span s)
{
    if (a->sampling_ratio > 0)
        return a->sampling_ratio;
    return clip_index(ceilf(s.bin), MAX_POINTS);
}

/* A pixel and how much of the next one; false: outside, where there is 0. */
static bool locate(float at, int size, int *pixel, int *next, float *part)
{
    if (!(at >= -1 && at <= (float)size))
        return false;
    at = at > 0 ? at : 0;
    *pixel = *next = (int)at < size - 1 ? (int)at : size - 1;
    *part = 0;
    if (*pixel < size - 1) {
        *part = at - (float)*pixel;
        *next = *pixel + 1;
    }
    return true;
}

static double sample(const float *plane, const q8_shape *in, float y, float x)
{
    int y0, y1, x0, x1;
    float dy, dx;
    if (!locate(y, in->dim[1], &y0, &y1, &dy) || !locate(x, in->dim[2], &x0, &x1, &dx))
        return 0;
    const float *top = plane + (size_t)y0 * (size_t)in->dim[2];
    const float *bottom = plane + (size_t)y1 * (size_t)in->dim[2];
    return (1.0 - dy) * ((1.0 - dx) * top[x0] + (double)dx * top[x1]) +
           (double)dy * ((1.0 - dx) * bottom[x0] + (double)dx * bottom[x1]);
}

static float point_at(struct span s, int bin, int point, int points)
{
    return s.start + (float)bin * s.bin + ((float)point + 0.5f) * s.bin / (float)points;
}

static q8_code forward_align(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_roialign_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0];
    const struct span x = align_span(a, f->in[1], 0, a->pooled_w);
    const struct span y = align_span(a, f->in[1], 1, a->pooled_h);
    const int nx = points_of(a, x), ny = points_of(a, y);
    const double count = nx > 0 && ny > 0 ? (double)nx * ny : 1;
    float *to = f->out[0];
    for (int c = 0; c < in->dim[0]; c++)
        for (int i = 0; i < a->pooled_h; i++)
            for (int j = 0; j < a->pooled_w; j++) {
                const float *plane = f->in[0] + (size_t)c * q8_shape_spatial(in);
                double sum = 0;
                for (int k = 0; k < ny; k++)
                    for (int l = 0; l < nx; l++)
                        sum += sample(plane, in, point_at(y, i, k, ny), point_at(x, j, l, nx));
                *to++ = (float)(sum / count);
            }
    return Q8_OK;
}

#define ONE_REGION                                                                                 \
    "One region a run: a bottom of picture number, left, top, right and bottom loses the number, " \
    "and of a Proposal's regions the first counts."

#define ROI_OP(name, ncnn_type, attr, table, caffe, infer_fn, forward_fn, note)                    \
    const q8_op name = {                                                                           \
        .type = ncnn_type,                                                                         \
        .caffe_types = (const char *const[]){ncnn_type, NULL},                                     \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attr_size = sizeof(attr),                                                                 \
        .fields = table,                                                                           \
        .n_fields = sizeof(table) / sizeof(table[0]),                                              \
        .from_caffe = caffe,                                                                       \
        .infer = infer_fn,                                                                         \
        .forward = forward_fn,                                                                     \
        .needs_rank3 = true,                                                                       \
        .limits = note,                                                                            \
    }

ROI_OP(q8_op_roipooling, "ROIPooling", q8_roi_attr, pooling_fields, q8_roipooling_from_caffe,
       infer_pooling, forward_pooling, ONE_REGION);
ROI_OP(q8_op_psroipooling, "PSROIPooling", q8_roi_attr, ps_fields, q8_psroipooling_from_caffe,
       infer_ps, forward_ps, ONE_REGION);
ROI_OP(q8_op_roialign, "ROIAlign", q8_roialign_attr, align_fields, q8_roialign_from_caffe,
       infer_align, forward_align,
       ONE_REGION " Sampling points are averaged, as published; forks that keep the largest "
                  "differ. roi_end_mode must be 0.");
