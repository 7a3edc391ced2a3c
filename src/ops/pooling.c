/* Max and average pooling. */
#include "ops/pooling.h"

#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_pooling_attr, type, 0, 0),
    Q8_FIELD_INT(q8_pooling_attr, kernel_w, 1, 0),
    Q8_FIELD_SAME(q8_pooling_attr, kernel_h, 11, 1),
    Q8_FIELD_INT(q8_pooling_attr, stride_w, 2, 1),
    Q8_FIELD_SAME(q8_pooling_attr, stride_h, 12, 2),
    Q8_FIELD_INT(q8_pooling_attr, pad_left, 3, 0),
    Q8_FIELD_SAME(q8_pooling_attr, pad_top, 13, 3),
    Q8_FIELD_SAME(q8_pooling_attr, pad_right, 14, 3),
    Q8_FIELD_SAME(q8_pooling_attr, pad_bottom, 15, 13),
    Q8_FIELD_INT(q8_pooling_attr, global_pooling, 4, 0),
    Q8_FIELD_INT(q8_pooling_attr, mode, 5, 0),
    Q8_FIELD_INT(q8_pooling_attr, count_include_pad, 6, 0),
    Q8_FIELD_INT(q8_pooling_attr, adaptive, 7, 0),
    Q8_FIELD_INT(q8_pooling_attr, out_w, 8, 0),
    Q8_FIELD_SAME(q8_pooling_attr, out_h, 18, 8),
};

/* --- windows ------------------------------------------------------------------------------- */

/* Adds what ::Q8_POOL_FULL adds and sets the output size. All numbers are in range (check_axis). */
static void resolve(q8_pool_axis *x, int mode)
{
    const int tail = (x->before + x->in + x->after - x->kernel) % x->stride;
    if (mode == Q8_POOL_FULL && tail)
        x->after += x->stride - tail;
    x->out = (x->before + x->in + x->after - x->kernel) / x->stride + 1;
}

void q8_pooling_axes(const q8_pooling_attr *a, const q8_shape *in, q8_pool_axis *h, q8_pool_axis *w)
{
    const int in_h = in->dim[1], in_w = in->dim[2];
    if (a->global_pooling) {
        *h = (q8_pool_axis){.in = in_h, .kernel = in_h, .stride = 1, .out = 1};
        *w = (q8_pool_axis){.in = in_w, .kernel = in_w, .stride = 1, .out = 1};
        return;
    }
    *h = (q8_pool_axis){in_h, a->kernel_h, a->stride_h, a->pad_top, a->pad_bottom, 0};
    *w = (q8_pool_axis){in_w, a->kernel_w, a->stride_w, a->pad_left, a->pad_right, 0};
    resolve(h, a->mode);
    resolve(w, a->mode);
}

static bool in_extent(int value)
{
    return value >= 1 && value <= Q8_MAX_EXTENT;
}

/* Every window must fit into the padded input and hold at least one real element. */
static q8_code check_axis(const q8_node *node, const char *name, q8_pool_axis x, int mode,
                          q8_err *err)
{
    if (!in_extent(x.kernel) || !in_extent(x.stride))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s: kernel %d with stride %d: both are at least 1; " Q8_LIMIT, name,
                       x.kernel, x.stride, Q8_LIMIT_OF(Q8_MAX_EXTENT));
    if (x.before >= x.kernel)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%s: padding of %d with kernel %d",
                       name, x.before, x.kernel);
    if (x.in > Q8_MAX_EXTENT)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%s: an input of %d; " Q8_LIMIT,
                       name, x.in, Q8_LIMIT_OF(Q8_MAX_EXTENT));
    if (x.kernel > x.before + x.in + x.after)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s: kernel %d does not fit an input of %d", name, x.kernel, x.in);
    resolve(&x, mode);
    if ((long long)(x.out - 1) * x.stride >= (long long)x.before + x.in)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s: the last window starts after the input's %d elements", name, x.in);
    return Q8_OK;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_pooling_attr *a = node->attr;
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (a->type != Q8_POOL_MAX && a->type != Q8_POOL_AVE)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "pooling type %d is not supported", a->type);
    if (a->adaptive)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "adaptive pooling is not supported");
    if (!a->global_pooling) {
        if (a->mode != Q8_POOL_FULL && a->mode != Q8_POOL_VALID)
            return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                           "padding mode %d is not supported", a->mode);
        const q8_pool_axis h = {in->dim[1], a->kernel_h, a->stride_h, a->pad_top, a->pad_bottom, 0};
        const q8_pool_axis w = {in->dim[2], a->kernel_w, a->stride_w, a->pad_left, a->pad_right, 0};
        if ((code = q8_node_pad(node, "left", a->pad_left, err)) ||
            (code = q8_node_pad(node, "right", a->pad_right, err)) ||
            (code = q8_node_pad(node, "top", a->pad_top, err)) ||
            (code = q8_node_pad(node, "bottom", a->pad_bottom, err)) ||
            (code = check_axis(node, "height", h, a->mode, err)) ||
            (code = check_axis(node, "width", w, a->mode, err)))
            return code;
    }
    q8_pool_axis h, w;
    q8_pooling_axes(a, in, &h, &w);
    out[0] = (q8_shape){3, {in->dim[0], h.out, w.out}};
    return Q8_OK;
}

/* --- forward ------------------------------------------------------------------------------- */

/* The real elements [from, to) of window i. */
static void clip_window(const q8_pool_axis *x, int i, int *from, int *to)
{
    const int start = i * x->stride - x->before;
    *from = start > 0 ? start : 0;
    *to = start + x->kernel < x->in ? start + x->kernel : x->in;
}

static float pool_window(const q8_pooling_attr *a, const float *plane, const q8_pool_axis *h,
                         const q8_pool_axis *w, int i, int j)
{
    int y0, y1, x0, x1;
    clip_window(h, i, &y0, &y1);
    clip_window(w, j, &x0, &x1);
    float max = plane[(size_t)y0 * (size_t)w->in + (size_t)x0];
    double sum = 0;
    for (int y = y0; y < y1; y++) {
        const float *row = plane + (size_t)y * (size_t)w->in;
        for (int x = x0; x < x1; x++) {
            max = row[x] > max ? row[x] : max;
            sum += row[x];
        }
    }
    if (a->type == Q8_POOL_MAX)
        return max;
    if (a->count_include_pad && !a->global_pooling)
        return (float)(sum / ((double)h->kernel * w->kernel));
    return (float)(sum / ((double)(y1 - y0) * (x1 - x0)));
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_pooling_attr *a = f->node->attr;
    const size_t plane = q8_shape_spatial(&f->in_shape[0]);
    q8_pool_axis h, w;
    q8_pooling_axes(a, &f->in_shape[0], &h, &w);
    float *out = f->out[0];
    for (int c = 0; c < f->in_shape[0].dim[0]; c++)
        for (int i = 0; i < h.out; i++)
            for (int j = 0; j < w.out; j++)
                *out++ = pool_window(a, f->in[0] + (size_t)c * plane, &h, &w, i, j);
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    const q8_pooling_attr *a = node->attr;
    q8_pool_axis h, w;
    q8_pooling_axes(a, in, &h, &w);
    return q8_shape_equal(in, out) && h.kernel == 1 && w.kernel == 1;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

/* A size that Caffe lets one write once or per axis. */
struct pair {
    const char *name, *name_h, *name_w;
    bool has, has_h, has_w;
    uint32_t both, h, w;
    bool is_pad;
};

static q8_code read_pair(q8_caffe_import *im, const void *message, const struct pair *p, int *h,
                         int *w)
{
    if (p->has_h != p->has_w)
        return q8_im_fail(im, Q8_EMODEL, message, p->has_h ? p->name_h : p->name_w, "%s without %s",
                          p->has_h ? p->name_h : p->name_w, p->has_h ? p->name_w : p->name_h);
    if (p->has && p->has_h)
        return q8_im_fail(im, Q8_EMODEL, message, p->name, "both %s and %s", p->name, p->name_h);
    q8_code code = q8_read_window(im, message, p->has_h ? p->name_h : p->name,
                                  p->has_h ? p->h : p->both, p->is_pad, h);
    if (code)
        return code;
    return q8_read_window(im, message, p->has_h ? p->name_w : p->name, p->has_h ? p->w : p->both,
                          p->is_pad, w);
}

/* What the file says about one axis, with the names under which it says it. */
struct caffe_axis {
    const char *kernel_field, *stride_field, *pad_field;
    int in, kernel, stride, pad;
    int out;
    bool floor;
};

static q8_code read_axes(q8_caffe_import *im, const Caffe__PoolingParameter *p,
                         struct caffe_axis *h, struct caffe_axis *w)
{
    const Caffe__PoolingParameter *message = im->param->pooling_param;
    const struct pair kernel = {.name = "kernel_size",
                                .name_h = "kernel_h",
                                .name_w = "kernel_w",
                                .has = p->has_kernel_size,
                                .has_h = p->has_kernel_h,
                                .has_w = p->has_kernel_w,
                                .both = p->kernel_size,
                                .h = p->kernel_h,
                                .w = p->kernel_w};
    const struct pair stride = {.name = "stride",
                                .name_h = "stride_h",
                                .name_w = "stride_w",
                                .has = p->has_stride,
                                .has_h = p->has_stride_h,
                                .has_w = p->has_stride_w,
                                .both = p->stride,
                                .h = p->stride_h,
                                .w = p->stride_w};
    const struct pair pad = {.name = "pad",
                             .name_h = "pad_h",
                             .name_w = "pad_w",
                             .has = p->has_pad,
                             .has_h = p->has_pad_h,
                             .has_w = p->has_pad_w,
                             .both = p->pad,
                             .h = p->pad_h,
                             .w = p->pad_w,
                             .is_pad = true};
    if (!kernel.has && !kernel.has_h && !kernel.has_w)
        return q8_im_fail(im, Q8_EMODEL, message, "kernel_size", "kernel_size missing");
    q8_code code;
    if ((code = read_pair(im, message, &kernel, &h->kernel, &w->kernel)) ||
        (code = read_pair(im, message, &stride, &h->stride, &w->stride)) ||
        (code = read_pair(im, message, &pad, &h->pad, &w->pad)))
        return code;
    h->kernel_field = kernel.has ? kernel.name : kernel.name_h;
    w->kernel_field = kernel.has ? kernel.name : kernel.name_w;
    h->stride_field = stride.has_h ? stride.name_h : stride.name;
    w->stride_field = stride.has_h ? stride.name_w : stride.name;
    h->pad_field = pad.has_h ? pad.name_h : pad.name;
    w->pad_field = pad.has_h ? pad.name_w : pad.name;
    h->floor = w->floor = p->has_round_mode
                              ? p->round_mode == CAFFE__POOLING_PARAMETER__ROUND_MODE__FLOOR
                              : p->has_ceil_mode && !p->ceil_mode;
    return Q8_OK;
}

/* Caffe's output size. `padded`: this or the other axis has padding. */
static q8_code size_axis(q8_caffe_import *im, struct caffe_axis *x, bool padded)
{
    const Caffe__PoolingParameter *message = im->param->pooling_param;
    if (x->pad >= x->kernel)
        return q8_im_fail(im, Q8_EMODEL, message, x->pad_field,
                          "%s %d is not less than the kernel, %d", x->pad_field, x->pad, x->kernel);
    if (x->in > Q8_MAX_EXTENT)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "an input of %d; " Q8_LIMIT, x->in,
                          Q8_LIMIT_OF(Q8_MAX_EXTENT));
    const int span = x->in + 2 * x->pad - x->kernel;
    /* A negative span rounds up towards zero: Caffe lets a kernel reach past both ends. */
    x->out = span < 0 ? (x->floor ? -1 : -(-span / x->stride)) + 1
                      : (span + (x->floor ? 0 : x->stride - 1)) / x->stride + 1;
    if (padded && (long long)(x->out - 1) * x->stride >= x->in + x->pad)
        x->out--;
    if (x->out < 1)
        return q8_im_fail(im, Q8_EMODEL, message, x->kernel_field,
                          "%s %d is larger than the padded input, %d", x->kernel_field, x->kernel,
                          x->in + 2 * x->pad);
    if ((long long)(x->out - 1) * x->stride >= x->in + x->pad)
        return q8_im_fail(im, Q8_EMODEL, message, x->stride_field,
                          "with %s %d the last window starts outside the input of %d; "
                          "round_mode: FLOOR leaves it out",
                          x->stride_field, x->stride, x->in);
    return Q8_OK;
}

/* Where the last window ends, counted from the start of the padding. */
static int needed(const struct caffe_axis *x)
{
    return (x->out - 1) * x->stride + x->kernel;
}

static bool overhangs(const struct caffe_axis *x)
{
    return needed(x) > x->in + 2 * x->pad;
}

/* Padding at the end with which ncnn makes exactly Caffe's windows in its "valid" mode. */
static int pad_after(const struct caffe_axis *x)
{
    const int missing = needed(x) - x->in - x->pad;
    return missing > 0 ? missing : 0;
}

/* Whether ncnn's "full" mode makes Caffe's windows, not only for this input size. */
static bool is_full(const struct caffe_axis *x)
{
    return !x->floor && x->pad == 0 && x->kernel <= x->in && needed(x) >= x->in;
}

static void pad_input(q8_node *node, struct caffe_axis *h, struct caffe_axis *w)
{
    q8_padding_attr *a = node->attr;
    *a = (q8_padding_attr){.top = h->pad, .bottom = h->pad, .left = w->pad, .right = w->pad};
    h->in += 2 * h->pad;
    w->in += 2 * w->pad;
    h->pad = w->pad = 0;
}

static q8_code from_caffe_windows(q8_caffe_import *im, const Caffe__PoolingParameter *p, int type)
{
    struct caffe_axis h = {.in = im->in_shape[0].dim[1]}, w = {.in = im->in_shape[0].dim[2]};
    q8_code code = read_axes(im, p, &h, &w);
    const bool padded = h.pad > 0 || w.pad > 0;
    if (code || (code = size_axis(im, &h, padded)) || (code = size_axis(im, &w, padded)))
        return code;
    /* Caffe divides by the part of the window inside the padded input; ncnn by the real elements or
     * by the kernel. Where these differ, the padding becomes real elements. */
    const bool pad_first = type == Q8_POOL_AVE && padded && (overhangs(&h) || overhangs(&w));
    q8_node *node = q8_im_node(im, pad_first ? &q8_op_padding : &q8_op_pooling);
    if (node && pad_first) {
        pad_input(node, &h, &w);
        node = q8_im_chain(im, &q8_op_pooling, "pooling");
    }
    if (!node)
        return q8_im_failed(im);
    const bool full = is_full(&h) && is_full(&w);
    *(q8_pooling_attr *)node->attr = (q8_pooling_attr){
        .type = type,
        .kernel_w = w.kernel,
        .kernel_h = h.kernel,
        .stride_w = w.stride,
        .stride_h = h.stride,
        .pad_left = w.pad,
        .pad_right = full ? 0 : pad_after(&w),
        .pad_top = h.pad,
        .pad_bottom = full ? 0 : pad_after(&h),
        .mode = full ? Q8_POOL_FULL : Q8_POOL_VALID,
        .count_include_pad = type == Q8_POOL_AVE && padded && !pad_first,
    };
    return Q8_OK;
}

static q8_code from_caffe_global(q8_caffe_import *im, const Caffe__PoolingParameter *p, int type)
{
    const Caffe__PoolingParameter *message = im->param->pooling_param;
    if (p->has_kernel_size || p->has_kernel_h || p->has_kernel_w)
        return q8_im_fail(im, Q8_EMODEL, message, "global_pooling",
                          "both global_pooling and a kernel size");
    if (p->pad || p->pad_h || p->pad_w || p->stride != 1 || (p->has_stride_h && p->stride_h != 1) ||
        (p->has_stride_w && p->stride_w != 1))
        return q8_im_fail(im, Q8_EMODEL, message, "global_pooling",
                          "global_pooling with padding or a stride");
    q8_node *node = q8_im_node(im, &q8_op_pooling);
    if (!node)
        return q8_im_failed(im);
    *(q8_pooling_attr *)node->attr =
        (q8_pooling_attr){.type = type, .stride_w = 1, .stride_h = 1, .global_pooling = 1};
    return Q8_OK;
}

static q8_code from_caffe_pooling(q8_caffe_import *im)
{
    const Caffe__PoolingParameter none = CAFFE__POOLING_PARAMETER__INIT;
    const Caffe__PoolingParameter *message = im->param->pooling_param,
                                  *p = message ? message : &none;
    if (p->pool != CAFFE__POOLING_PARAMETER__POOL_METHOD__MAX &&
        p->pool != CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE)
        return q8_im_fail(
            im, Q8_EUNSUPPORTED, message, "pool",
            "only MAX and AVE pooling are supported: ncnn has no other; train the network "
            "with one of these");
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (im->in_shape[0].rank != 3)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "pooling needs an input with channels, height and width");
    if (im->n_out > 1)
        return q8_im_fail(
            im, Q8_EUNSUPPORTED, im->param, "top",
            "a second top (where the maxima were) is not supported: ncnn cannot undo a "
            "max pooling; use Deconvolution, Interp or Upsample of one bottom "
            "instead of unpooling");
    const int type =
        p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE ? Q8_POOL_AVE : Q8_POOL_MAX;
    return p->global_pooling ? from_caffe_global(im, p, type) : from_caffe_windows(im, p, type);
}

static q8_code from_caffe(q8_caffe_import *im)
{
    return strcmp(im->layer->type, "SPP") == 0 ? q8_spp_from_caffe(im) : from_caffe_pooling(im);
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    const q8_pooling_attr *a = node->attr;
    if (a->type == Q8_POOL_MAX)
        return Q8_CHANNELS_MAX;
    q8_pool_axis h, w;
    q8_pooling_axes(a, in, &h, &w);
    const bool pads = h.before || h.after || w.before || w.after;
    return pads && a->count_include_pad ? Q8_CHANNELS_LINEAR : Q8_CHANNELS_MEAN;
}

const q8_op q8_op_pooling = {
    .type = "Pooling",
    .caffe_types = (const char *const[]){"Pooling", "SPP", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_pooling_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits =
        "MAX and AVE over an input of channels x height x width. The output has Caffe's size: "
        "rounded up (`round_mode: FLOOR` or `ceil_mode: false`: down), without a last window "
        "that would start in the padding; padding is written out, and where Caffe counts it "
        "differently from ncnn a Padding goes before. `SPP` becomes several poolings, "
        "flattened and joined. Refused: STOCHASTIC, a second output, `global_pooling` with a "
        "kernel, padding or stride, padding as large as the kernel or of more than 1024.",
};
