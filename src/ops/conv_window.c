#include "ops/conv.h"

#include <string.h>

#include "base/simd.h"

/* A window's place in the input, its taps, and how far apart these are in memory. */
struct window {
    long long top, left;
    int kernel_h, kernel_w;
    size_t area, down, across;
};

/* None of the taps lies in the padding. */
static inline void copy_inside(const struct window *s, const float *x, int channels, int kernel_h,
                               int kernel_w, float *row)
{
    for (int c = 0; c < channels; c++, x += s->area)
        for (int ky = 0; ky < kernel_h; ky++)
            for (int kx = 0; kx < kernel_w; kx++)
                *row++ = x[(size_t)ky * s->down + (size_t)kx * s->across];
}

static void copy_bordering(const struct window *s, const q8_conv_attr *a, int h, int w,
                           const float *x, int channels, float *row)
{
    for (int c = 0; c < channels; c++, x += s->area)
        for (int ky = 0; ky < s->kernel_h; ky++) {
            const long long y = s->top + (long long)ky * a->dilation_h;
            for (int kx = 0; kx < s->kernel_w; kx++) {
                const long long z = s->left + (long long)kx * a->dilation_w;
                const bool inside = y >= 0 && y < h && z >= 0 && z < w;
                *row++ = inside ? x[y * w + z] : a->pad_value;
            }
        }
}

void q8_conv_window(const q8_node *node, const q8_shape *in, const float *x, size_t at, int group,
                    float *row)
{
    const q8_conv_attr *a = node->attr;
    const int channels = in->dim[0] / a->group, h = in->dim[1], w = in->dim[2];
    const long long extent_h = q8_conv_extent(a->kernel_h, a->dilation_h);
    const long long extent_w = q8_conv_extent(a->kernel_w, a->dilation_w);
    const long long wide = (long long)w + a->pad_left + a->pad_right;
    const long long out_w = (wide - extent_w) / a->stride_w + 1;
    const struct window s = {.top = (long long)at / out_w * a->stride_h - a->pad_top,
                             .left = (long long)at % out_w * a->stride_w - a->pad_left,
                             .kernel_h = a->kernel_h,
                             .kernel_w = a->kernel_w,
                             .area = q8_shape_spatial(in),
                             .down = (size_t)w * (size_t)a->dilation_h,
                             .across = (size_t)a->dilation_w};
    x += (size_t)group * (size_t)channels * s.area;
    if (s.top < 0 || s.left < 0 || s.top + extent_h > h || s.left + extent_w > w) {
        copy_bordering(&s, a, h, w, x, channels, row);
        return;
    }
    x += s.top * w + s.left;
    /* With numbers the compiler knows, loops unroll. */
    if (s.kernel_h == 1 && s.kernel_w == 1)
        copy_inside(&s, x, channels, 1, 1, row);
    else if (s.kernel_h == 3 && s.kernel_w == 3)
        copy_inside(&s, x, channels, 3, 3, row);
    else
        copy_inside(&s, x, channels, s.kernel_h, s.kernel_w, row);
}

/* --- sums of windows -------------------------------------------------------------------------- */

Q8_SIMD_CLONES
static float sum_of_row(const float *x, size_t n)
{
    enum { LANES = 16 };
    float lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    for (; i < n; i++)
        sum += x[i];
    return sum;
}

/* Along one axis: where output positions are, and which of them see a tap inside the input. */
struct axis {
    long long in, out, stride, dilation, before;
};

static struct axis axis_of(int in, int kernel, int stride, int dilation, int before, int after)
{
    const long long extent = q8_conv_extent(kernel, dilation);
    return (struct axis){.in = in,
                         .out = ((long long)in + before + after - extent) / stride + 1,
                         .stride = stride,
                         .dilation = dilation,
                         .before = before};
}

/* Whether an output position has tap `tap` at `at`. */
static bool is_seen(const struct axis *x, long long at, int tap)
{
    const long long from = at + x->before - tap * x->dilation;
    if (x->stride == 1) /* divisions take longer than summing up a short row */
        return from >= 0 && from < x->out;
    return from >= 0 && from % x->stride == 0 && from / x->stride < x->out;
}

static double sum_of_seen(const struct axis *x, const float *row, int tap)
{
    const long long shift = tap * x->dilation - x->before;
    if (x->stride == 1) {
        const long long begin = shift > 0 ? shift : 0;
        const long long end = x->out + shift < x->in ? x->out + shift : x->in;
        return begin < end ? (double)sum_of_row(row + begin, (size_t)(end - begin)) : 0;
    }
    double sum = 0;
    for (long long o = 0; o < x->out; o++) {
        const long long at = o * x->stride + shift;
        sum += at >= 0 && at < x->in ? (double)row[at] : 0;
    }
    return sum;
}

/* How many output positions have tap `tap` inside. */
static long long count_seen(const struct axis *x, int tap)
{
    long long n = 0;
    for (long long o = 0; o < x->out; o++) {
        const long long at = o * x->stride + tap * x->dilation - x->before;
        n += at >= 0 && at < x->in;
    }
    return n;
}

static void sum_channel(const q8_conv_attr *a, const struct axis *h, const struct axis *w,
                        const float *x, double *sum)
{
    for (long long y = 0; y < h->in; y++)
        for (int kx = 0; kx < a->kernel_w; kx++) {
            const double row = sum_of_seen(w, x + y * w->in, kx);
            for (int ky = 0; ky < a->kernel_h; ky++)
                sum[ky * a->kernel_w + kx] += is_seen(h, y, ky) ? row : 0;
        }
}

void q8_conv_window_sums(const q8_node *node, const q8_shape *in, const float *x, double *sum)
{
    const q8_conv_attr *a = node->attr;
    const struct axis h =
        axis_of(in->dim[1], a->kernel_h, a->stride_h, a->dilation_h, a->pad_top, a->pad_bottom);
    const struct axis w =
        axis_of(in->dim[2], a->kernel_w, a->stride_w, a->dilation_w, a->pad_left, a->pad_right);
    const size_t kernel = (size_t)a->kernel_h * (size_t)a->kernel_w;
    for (int ky = 0; ky < a->kernel_h; ky++)
        for (int kx = 0; kx < a->kernel_w; kx++) {
            const long long outside = h.out * w.out - count_seen(&h, ky) * count_seen(&w, kx);
            sum[ky * a->kernel_w + kx] = (double)outside * (double)a->pad_value;
        }
    for (size_t c = 1; c < (size_t)in->dim[0]; c++)
        memcpy(sum + c * kernel, sum, kernel * sizeof(*sum));
    for (size_t c = 0; c < (size_t)in->dim[0]; c++)
        sum_channel(a, &h, &w, x + c * q8_shape_spatial(in), sum + c * kernel);
}
