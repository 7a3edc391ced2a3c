/* Deconvolutions in plain C: each input pixel adds its kernel to the output. */
#include <limits.h>

#include "ops/conv.h"

/* One output dimension; 0 when nothing is left after cutting, or more than ncnn's int. */
static int out_dim(long long in, int cut_before, int cut_after, int extra, int stride,
                   long long extent)
{
    const long long uncut = (in - 1) * stride + extent + extra; /* below 2^63: 2^61 + 2^62 + 2^31 */
    const long long left = uncut - cut_before - cut_after;
    return uncut > INT_MAX || left < 0 ? 0 : (int)left;
}

q8_code q8_deconv_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_conv_attr *a = node->attr;
    q8_code code = q8_conv_check(node, in, err);
    if (code)
        return code;
    const int h = out_dim(in->dim[1], a->pad_top, a->pad_bottom, a->output_pad_bottom, a->stride_h,
                          q8_conv_extent(a->kernel_h, a->dilation_h));
    const int w = out_dim(in->dim[2], a->pad_left, a->pad_right, a->output_pad_right, a->stride_w,
                          q8_conv_extent(a->kernel_w, a->dilation_w));
    if (h <= 0 || w <= 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "the output would be empty or too large (pads are cut off a "
                       "deconvolution's output)");
    *out = (q8_shape){3, {a->num_output, h, w}};
    return Q8_OK;
}

bool q8_deconv_linear(const q8_node *node, const q8_shape *in, q8_linear *view)
{
    const q8_conv_attr *a = node->attr;
    q8_conv_linear(node, in, view);
    /* Output pixels get different subsets of the taps, which acts like zero padding, except when
     * each gets the only tap there is. */
    view->pads = view->kernel > 1 || a->stride_w > 1 || a->stride_h > 1 || a->output_pad_right ||
                 a->output_pad_bottom;
    return true;
}

long long q8_deconv_macs(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    const q8_conv_attr *a = node->attr;
    (void)out;
    return (long long)a->weight_data_size * (long long)q8_shape_spatial(in);
}

/* The input row or column that tap `k` of output position `out` reads, -1 when there is none. */
static int source(int out, int cut, int k, int dilation, int stride, int size)
{
    const long long at = (long long)out + cut - (long long)k * dilation;
    if (at < 0 || at % stride || at / stride >= size)
        return -1;
    return (int)(at / stride);
}

static double pixel_sum(const q8_conv_attr *a, const q8_shape *shape, const float *in, int channels,
                        const float *weight, int y, int x)
{
    const int h = shape->dim[1], w = shape->dim[2];
    const size_t plane = (size_t)h * w, taps = (size_t)a->kernel_h * a->kernel_w;
    double sum = 0;
    for (int ky = 0; ky < a->kernel_h; ky++) {
        const int iy = source(y, a->pad_top, ky, a->dilation_h, a->stride_h, h);
        for (int kx = 0; iy >= 0 && kx < a->kernel_w; kx++) {
            const int ix = source(x, a->pad_left, kx, a->dilation_w, a->stride_w, w);
            if (ix < 0)
                continue;
            const float *value = in + (size_t)iy * w + ix;
            const float *tap = weight + (size_t)ky * a->kernel_w + kx;
            for (int c = 0; c < channels; c++)
                sum += (double)value[plane * c] * tap[taps * c];
        }
    }
    return sum;
}

q8_code q8_deconv_forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    return q8_conv_forward_by(f, pixel_sum);
}
