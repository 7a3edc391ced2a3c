/* Around products of matrices, and convolutions that are none. */

/* Windows of one group's inputs as columns: [picture][channel, tap][position]. */
__kernel void q8_im2col(__global const float *x, __global float *column, q8_cl_conv g, int group)
{
    const int at = get_global_id(0), area = g.out_h * g.out_w;
    const int inputs = g.channels / g.groups, taps = g.kernel_h * g.kernel_w;
    const int picture = get_global_id(1) / inputs, c = get_global_id(1) % inputs;
    if (at >= area)
        return;
    const int y0 = at / g.out_w * g.stride_h - g.top, x0 = at % g.out_w * g.stride_w - g.left;
    __global const float *plane = x + (picture * g.channels + group * inputs + c) * (g.h * g.w);
    __global float *to = column + (picture * inputs + c) * taps * area + at;
    for (int ky = 0; ky < g.kernel_h; ky++)
        for (int kx = 0; kx < g.kernel_w; kx++, to += area) {
            const int r = y0 + ky * g.dilation_h, q = x0 + kx * g.dilation_w;
            const int inside = r >= 0 && r < g.h && q >= 0 && q < g.w;
            *to = inside ? plane[r * g.w + q] : g.pad;
        }
}

/* Few inputs to an output. */
__kernel void q8_conv(__global const float *x, __global float *y, __global const float *weight,
                      __global const float *bias, int has_bias, q8_cl_conv g, q8_cl_function f)
{
    const int at = get_global_id(0), area = g.out_h * g.out_w;
    const int picture = get_global_id(1) / g.outputs, o = get_global_id(1) % g.outputs;
    if (at >= area)
        return;
    const int inputs = g.channels / g.groups, first = o / (g.outputs / g.groups) * inputs;
    const int y0 = at / g.out_w * g.stride_h - g.top, x0 = at % g.out_w * g.stride_w - g.left;
    __global const float *w = weight + o * inputs * g.kernel_h * g.kernel_w;
    float sum = has_bias ? bias[o] : 0;
    for (int c = 0; c < inputs; c++) {
        __global const float *plane = x + (picture * g.channels + first + c) * (g.h * g.w);
        for (int ky = 0; ky < g.kernel_h; ky++)
            for (int kx = 0; kx < g.kernel_w; kx++) {
                const int r = y0 + ky * g.dilation_h, q = x0 + kx * g.dilation_w;
                const int inside = r >= 0 && r < g.h && q >= 0 && q < g.w;
                sum += *w++ * (inside ? plane[r * g.w + q] : g.pad);
            }
    }
    y[(picture * g.outputs + o) * area + at] = q8_apply(f, sum);
}

/* The input row or column that a tap of an output position reads, -1: none. */
int q8_source(int out, int cut, int tap, int dilation, int stride, int size)
{
    const int at = out + cut - tap * dilation;
    return at < 0 || at % stride || at / stride >= size ? -1 : at / stride;
}

__kernel void q8_deconv(__global const float *x, __global float *y, __global const float *weight,
                        __global const float *bias, int has_bias, q8_cl_conv g, q8_cl_function f)
{
    const int at = get_global_id(0), area = g.out_h * g.out_w;
    const int picture = get_global_id(1) / g.outputs, o = get_global_id(1) % g.outputs;
    if (at >= area)
        return;
    const int inputs = g.channels / g.groups, first = o / (g.outputs / g.groups) * inputs;
    const int taps = g.kernel_h * g.kernel_w, row = at / g.out_w, column = at % g.out_w;
    __global const float *in = x + (picture * g.channels + first) * (g.h * g.w);
    __global const float *w = weight + o * inputs * taps;
    float sum = has_bias ? bias[o] : 0;
    for (int ky = 0; ky < g.kernel_h; ky++) {
        const int r = q8_source(row, g.top, ky, g.dilation_h, g.stride_h, g.h);
        for (int kx = 0; r >= 0 && kx < g.kernel_w; kx++) {
            const int q = q8_source(column, g.left, kx, g.dilation_w, g.stride_w, g.w);
            for (int c = 0; q >= 0 && c < inputs; c++)
                sum += in[c * (g.h * g.w) + r * g.w + q] * w[c * taps + ky * g.kernel_w + kx];
        }
    }
    y[(picture * g.outputs + o) * area + at] = q8_apply(f, sum);
}
