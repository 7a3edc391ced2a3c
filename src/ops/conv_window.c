#include "ops/conv.h"

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
