#include "ops/conv.h"

void q8_conv_window(const q8_node *node, const q8_shape *in, const float *x, size_t at, int group,
                    float *row)
{
    const q8_conv_attr *a = node->attr;
    const int channels = in->dim[0] / a->group, h = in->dim[1], w = in->dim[2];
    const long long wide = (long long)w + a->pad_left + a->pad_right;
    const long long out_w = (wide - q8_conv_extent(a->kernel_w, a->dilation_w)) / a->stride_w + 1;
    const long long top = (long long)at / out_w * a->stride_h - a->pad_top;
    const long long left = (long long)at % out_w * a->stride_w - a->pad_left;
    x += (size_t)group * (size_t)channels * q8_shape_spatial(in);
    for (int c = 0; c < channels; c++, x += q8_shape_spatial(in))
        for (int ky = 0; ky < a->kernel_h; ky++) {
            const long long y = top + (long long)ky * a->dilation_h;
            for (int kx = 0; kx < a->kernel_w; kx++) {
                const long long z = left + (long long)kx * a->dilation_w;
                const bool inside = y >= 0 && y < h && z >= 0 && z < w;
                *row++ = inside ? x[y * w + z] : a->pad_value;
            }
        }
}
