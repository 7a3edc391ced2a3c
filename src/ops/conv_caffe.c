/* Reads Caffe's ConvolutionParameter, which convolutions and deconvolutions share. */
#include <stdio.h>

#include "ops/caffe_read.h"
#include "ops/conv.h"
#include "ops/rows.h"

/* A setting with a value per direction, written as `name` once or twice, or as name_h and name_w.
 */
struct pair {
    const char *name, *name_h, *name_w;
    size_t n;
    const uint32_t *values;
    bool has_h, has_w;
    uint32_t h, w;
    bool is_pad;
    int otherwise; /* default, -1: must be given */
};

static q8_code read_pair(q8_caffe_import *im, const struct pair *p, int *h, int *w)
{
    const void *message = im->param->convolution_param;
    const bool split = p->has_h || p->has_w;
    if (split && p->n > 0)
        return q8_im_fail(im, Q8_EMODEL, message, p->has_h ? p->name_h : p->name_w,
                          "both %s and %s or %s are given", p->name, p->name_h, p->name_w);
    if (split && !p->is_pad && !(p->has_h && p->has_w))
        return q8_im_fail(im, Q8_EMODEL, message, p->has_h ? p->name_h : p->name_w,
                          "%s missing beside %s", p->has_h ? p->name_w : p->name_h,
                          p->has_h ? p->name_h : p->name_w);
    if (split) { /* an absent pad_h or pad_w is 0 */
        q8_code code = q8_read_window(im, message, p->name_h, p->h, p->is_pad, h);
        return code ? code : q8_read_window(im, message, p->name_w, p->w, p->is_pad, w);
    }
    if (p->n == 0 && p->otherwise < 0)
        return q8_im_fail(im, Q8_EMODEL, message, p->name, "%s missing", p->name);
    if (p->n == 0) {
        *h = *w = p->otherwise;
        return Q8_OK;
    }
    if (p->n > 2)
        return q8_im_fail(im, Q8_EUNSUPPORTED, message, p->name,
                          "%zu values of %s: only two-dimensional convolutions are supported", p->n,
                          p->name);
    q8_code code = q8_read_window(im, message, p->name, p->values[0], p->is_pad, h);
    return code ? code : q8_read_window(im, message, p->name, p->values[p->n - 1], p->is_pad, w);
}

static q8_code read_window(q8_caffe_import *im, const Caffe__ConvolutionParameter *p,
                           q8_conv_attr *a)
{
    const struct pair kernel = {"kernel_size",
                                "kernel_h",
                                "kernel_w",
                                p->n_kernel_size,
                                p->kernel_size,
                                p->has_kernel_h,
                                p->has_kernel_w,
                                p->kernel_h,
                                p->kernel_w,
                                false,
                                -1};
    const struct pair stride = {
        "stride",        "stride_h",  "stride_w",  p->n_stride, p->stride, p->has_stride_h,
        p->has_stride_w, p->stride_h, p->stride_w, false,       1};
    const struct pair dilation = {
        "dilation", NULL, NULL, p->n_dilation, p->dilation, false, false, 0, 0, false, 1};
    const struct pair pad = {"pad",        "pad_h",  "pad_w",  p->n_pad, p->pad, p->has_pad_h,
                             p->has_pad_w, p->pad_h, p->pad_w, true,     0};
    q8_code code = read_pair(im, &kernel, &a->kernel_h, &a->kernel_w);
    if (!code)
        code = read_pair(im, &stride, &a->stride_h, &a->stride_w);
    if (!code)
        code = read_pair(im, &dilation, &a->dilation_h, &a->dilation_w);
    if (!code)
        code = read_pair(im, &pad, &a->pad_top, &a->pad_left);
    a->pad_bottom = a->pad_top;
    a->pad_right = a->pad_left;
    return code;
}

/* num_output and group; for a depthwise layer both default to the channels. */
static q8_code read_channels(q8_caffe_import *im, const Caffe__ConvolutionParameter *p,
                             bool depthwise, q8_conv_attr *a)
{
    const void *message = im->param->convolution_param;
    const int channels = im->in_shape[0].dim[0];
    a->num_output = a->group = channels;
    if (!p->has_num_output && !depthwise)
        return q8_im_fail(im, Q8_EMODEL, message, "num_output", "num_output missing");
    q8_code code = Q8_OK;
    if (p->has_num_output)
        code = q8_read_uint(im, message, "num_output", p->num_output, 1, &a->num_output);
    if (!code && (p->has_group || !depthwise))
        code = q8_read_uint(im, message, "group", p->group, 1, &a->group);
    if (code)
        return code;
    const char *field = p->has_group ? "group" : "num_output";
    if (channels % a->group)
        return q8_im_fail(im, Q8_EMODEL, message, field,
                          "%d input channels cannot be divided into %d groups", channels, a->group);
    if (a->num_output % a->group)
        return q8_im_fail(im, Q8_EMODEL, message, field,
                          "%d outputs cannot be divided into %d groups", a->num_output, a->group);
    return Q8_OK;
}

static q8_code read_param(q8_caffe_import *im, bool depthwise, q8_conv_attr *a)
{
    static const Caffe__ConvolutionParameter defaults = CAFFE__CONVOLUTION_PARAMETER__INIT;
    const Caffe__ConvolutionParameter *written = im->param->convolution_param;
    const Caffe__ConvolutionParameter *p = written ? written : &defaults;
    const q8_shape *in = &im->in_shape[0];
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (in->rank != 3) {
        char text[64];
        return q8_im_fail(im, Q8_EUNSUPPORTED, NULL, NULL,
                          "a %s of an input that is not channels x height x width but %s is not "
                          "supported",
                          im->layer->type, q8_shape_text(in, text));
    }
    code = q8_read_channel_axis(im, written, "axis", p->axis);
    if (!code)
        code = read_channels(im, p, depthwise, a);
    if (!code)
        code = read_window(im, p, a);
    if (code)
        return code;
    a->bias_term = p->bias_term ? 1 : 0;
    const long long count = q8_conv_weight_count(a, in->dim[0]);
    if (count < 0)
        return q8_im_fail(im, Q8_EMODEL, written, "num_output",
                          "too many weights for %d outputs; " Q8_LIMIT, a->num_output,
                          Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    a->weight_data_size = (int)count;
    return Q8_OK;
}

static q8_node *add_node(q8_caffe_import *im, const q8_op *op, const q8_conv_attr *attr)
{
    q8_node *node = q8_im_node(im, op);
    if (node)
        *(q8_conv_attr *)node->attr = *attr;
    return node;
}

static q8_code read_bias(q8_caffe_import *im, q8_node *node, const q8_conv_attr *a)
{
    return a->bias_term ? q8_im_weight(im, node, 1, 1, &a->num_output, 1) : Q8_OK;
}

/* Caffe's last word on the window is infer()'s too, which does not know where it was written. */
static q8_code check_fits(q8_caffe_import *im, const q8_conv_attr *a)
{
    const Caffe__ConvolutionParameter *p = im->param->convolution_param;
    const struct {
        const char *what, *field;
        int kernel, dilation, pad, size;
    } along[] = {
        {"height", "kernel_h", a->kernel_h, a->dilation_h, a->pad_top, im->in_shape[0].dim[1]},
        {"width", "kernel_w", a->kernel_w, a->dilation_w, a->pad_left, im->in_shape[0].dim[2]},
    };
    for (int i = 0; i < 2; i++) {
        const long long extent = q8_conv_extent(along[i].kernel, along[i].dilation);
        const long long padded = along[i].size + 2LL * along[i].pad;
        char dilated[64] = "";
        if (extent <= padded)
            continue;
        if (along[i].dilation > 1)
            snprintf(dilated, sizeof(dilated), ", %lld with dilation %d,", extent,
                     along[i].dilation);
        return q8_im_fail(im, Q8_EMODEL, p, p->n_kernel_size ? "kernel_size" : along[i].field,
                          "a kernel of %s %d%s is larger than the %sinput's, %lld", along[i].what,
                          along[i].kernel, dilated, along[i].pad ? "padded " : "", padded);
    }
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im, bool depthwise)
{
    q8_conv_attr a = {0};
    q8_code code = read_param(im, depthwise, &a);
    if (!code)
        code = check_fits(im, &a);
    if (code)
        return code;
    const bool grouped = depthwise || a.group > 1;
    q8_node *node = add_node(im, grouped ? &q8_op_convolutiondepthwise : &q8_op_convolution, &a);
    if (!node)
        return q8_im_failed(im);
    const int dim[] = {a.num_output, im->in_shape[0].dim[0] / a.group, a.kernel_h, a.kernel_w};
    code = q8_im_weight(im, node, 0, 0, dim, 4);
    return code ? code : read_bias(im, node, &a);
}

q8_code q8_conv_from_caffe(q8_caffe_import *im)
{
    return from_caffe(im, false);
}

q8_code q8_conv_from_caffe_depthwise(q8_caffe_import *im)
{
    return from_caffe(im, true);
}

/* Caffe's [group][input][output][kernel] as ncnn's [group][output][input][kernel]. */
static void swap_channels(float *to, const float *from, int groups, int inputs, int outputs,
                          size_t kernel)
{
    for (int g = 0; g < groups; g++)
        for (int o = 0; o < outputs; o++)
            for (int i = 0; i < inputs; i++) {
                const float *tap = from + (((size_t)g * inputs + i) * outputs + o) * kernel;
                for (size_t k = 0; k < kernel; k++)
                    *to++ = tap[k];
            }
}

q8_code q8_deconv_from_caffe(q8_caffe_import *im)
{
    q8_conv_attr a = {0};
    q8_code code = read_param(im, false, &a);
    if (code)
        return code;
    const q8_op *op = a.group > 1 ? &q8_op_deconvolutiondepthwise : &q8_op_deconvolution;
    q8_node *node = add_node(im, op, &a);
    float *to = q8_arena_array(im->arena, (size_t)a.weight_data_size, sizeof(*to)), *from;
    if (!node || !to)
        return q8_im_failed(im);
    const int channels = im->in_shape[0].dim[0], outputs = a.num_output / a.group;
    const int dim[] = {channels, outputs, a.kernel_h, a.kernel_w};
    code = q8_im_blob(im, 0, dim, 4, &from);
    if (code)
        return code;
    swap_channels(to, from, a.group, channels / a.group, outputs, (size_t)a.kernel_h * a.kernel_w);
    q8_im_set_weight(node, 0, to, (size_t)a.weight_data_size);
    return read_bias(im, node, &a);
}
