/* Convolutions in plain C, and what they share with deconvolutions. */
#include "ops/conv.h"

#include "ops/activation.h"
#include "ops/common.h"

/* Keys that mean the same for all four kinds. */
#define COMMON_FIELDS                                                                              \
    Q8_FIELD_INT(q8_conv_attr, num_output, 0, 0), Q8_FIELD_INT(q8_conv_attr, kernel_w, 1, 0),      \
        Q8_FIELD_SAME(q8_conv_attr, kernel_h, 11, 1),                                              \
        Q8_FIELD_INT(q8_conv_attr, dilation_w, 2, 1),                                              \
        Q8_FIELD_SAME(q8_conv_attr, dilation_h, 12, 2),                                            \
        Q8_FIELD_INT(q8_conv_attr, stride_w, 3, 1), Q8_FIELD_SAME(q8_conv_attr, stride_h, 13, 3),  \
        Q8_FIELD_INT(q8_conv_attr, pad_left, 4, 0), Q8_FIELD_SAME(q8_conv_attr, pad_right, 15, 4), \
        Q8_FIELD_SAME(q8_conv_attr, pad_top, 14, 4),                                               \
        Q8_FIELD_SAME(q8_conv_attr, pad_bottom, 16, 14),                                           \
        Q8_FIELD_INT(q8_conv_attr, bias_term, 5, 0),                                               \
        Q8_FIELD_INT(q8_conv_attr, weight_data_size, 6, 0),                                        \
        Q8_FIELD_INT(q8_conv_attr, group, 7, 1),                                                   \
        Q8_FIELD_INT(q8_conv_attr, activation.type, 9, 0),                                         \
        Q8_FIELD_FLOATS(q8_conv_attr, activation.params, 10)

const q8_field q8_conv_fields[] = {
    COMMON_FIELDS,
    Q8_FIELD_INT(q8_conv_attr, int8_scale_term, 8, 0),
    Q8_FIELD_FLOAT(q8_conv_attr, pad_value, 18, 0),
    Q8_FIELD_INT(q8_conv_attr, dynamic_weight, 19, 0),
};

const q8_field q8_deconv_fields[] = {
    COMMON_FIELDS,
    Q8_FIELD_INT(q8_conv_attr, output_pad_right, 18, 0),
    Q8_FIELD_SAME(q8_conv_attr, output_pad_bottom, 19, 18),
    Q8_FIELD_INT(q8_conv_attr, output_w, 20, 0),
    Q8_FIELD_SAME(q8_conv_attr, output_h, 21, 20),
    Q8_FIELD_INT(q8_conv_attr, dynamic_weight, 28, 0),
};

static size_t weight_count(const void *attr)
{
    const q8_conv_attr *a = attr;
    return a->weight_data_size > 0 ? (size_t)a->weight_data_size : 0;
}

static size_t bias_count(const void *attr)
{
    const q8_conv_attr *a = attr;
    return a->bias_term && a->num_output > 0 ? (size_t)a->num_output : 0;
}

const q8_weight_spec q8_conv_weights[] = {
    {"weight", true, weight_count},
    {"bias", false, bias_count},
};

q8_activation *q8_conv_activation(q8_node *node)
{
    q8_conv_attr *a = node->attr;
    return &a->activation;
}

void q8_conv_set_bias(q8_node *node)
{
    q8_conv_attr *a = node->attr;
    a->bias_term = 1;
}

long long q8_conv_weight_count(const q8_conv_attr *attr, int channels)
{
    const int factor[] = {channels / attr->group, attr->kernel_h, attr->kernel_w};
    long long count = attr->num_output;
    for (int i = 0; i < 3; i++) {
        count *= factor[i]; /* at most 2^30 * 2^31 */
        if (count <= 0 || count > (long long)Q8_MAX_ELEMENTS)
            return -1;
    }
    return count;
}

q8_code q8_conv_check_no_group(const q8_node *node, q8_err *err)
{
    const q8_conv_attr *a = node->attr;
    if (a->group != 1)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s has no groups, yet key 7 says %d; the type with groups is "
                       "%sDepthWise",
                       node->op->type, a->group, node->op->type);
    return Q8_OK;
}

static q8_code check_window(const q8_node *node, q8_err *err)
{
    const q8_conv_attr *a = node->attr;
    const struct {
        const char *what;
        int value;
    } limit[] = {
        {"num_output", a->num_output},  {"kernel width", a->kernel_w},
        {"kernel height", a->kernel_h}, {"dilation", a->dilation_w},
        {"dilation", a->dilation_h},    {"stride", a->stride_w},
        {"stride", a->stride_h},        {"group", a->group},
    };
    const struct {
        const char *side;
        int value;
    } pad[] = {
        {"left", a->pad_left},
        {"right", a->pad_right},
        {"top", a->pad_top},
        {"bottom", a->pad_bottom},
        {"right output", a->output_pad_right},
        {"bottom output", a->output_pad_bottom},
    };
    q8_code code = Q8_OK;
    if (a->pad_left == -233 || a->pad_left == -234)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "SAME padding (pad %d) is not supported; write the pads as numbers",
                       a->pad_left);
    for (size_t i = 0; i < sizeof(limit) / sizeof(limit[0]); i++)
        if (limit[i].value < 1)
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "%s is %d; it must be at least 1", limit[i].what, limit[i].value);
    for (size_t i = 0; i < sizeof(pad) / sizeof(pad[0]) && !code; i++)
        code = q8_node_pad(node, pad[i].side, pad[i].value, err);
    return code;
}

q8_code q8_conv_check(const q8_node *node, const q8_shape *in, q8_err *err)
{
    const q8_conv_attr *a = node->attr;
    char text[64];
    q8_code code = check_window(node, err);
    if (code)
        return code;
    code = q8_activation_check(&a->activation, node, err);
    if (code)
        return code;
    if (a->dynamic_weight)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "weights that come from another layer are not supported");
    if (a->output_w || a->output_h)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "a fixed output size (keys 20 and 21) is not supported");
    if (in->rank != 3)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "%s needs an input of channels x height x width, not %s", node->op->type,
                       q8_shape_text(in, text));
    if (in->dim[0] % a->group || a->num_output % a->group)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d input channels and %d outputs cannot both be divided into %d groups",
                       in->dim[0], a->num_output, a->group);
    const long long count = q8_conv_weight_count(a, in->dim[0]);
    if (count < 0 || count != a->weight_data_size)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d weights do not fit: %d outputs, %d of %d input channels each, "
                       "kernel %dx%d",
                       a->weight_data_size, a->num_output, in->dim[0] / a->group, in->dim[0],
                       a->kernel_w, a->kernel_h);
    return Q8_OK;
}

/* One output dimension, or 0 when the kernel does not fit (that is an error of its own). */
static int out_dim(long long in, int pad_before, int pad_after, int kernel, int dilation,
                   int stride)
{
    const long long room = in + pad_before + pad_after - q8_conv_extent(kernel, dilation);
    return room < 0 ? 0 : (int)(room / stride) + 1;
}

q8_code q8_conv_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_conv_attr *a = node->attr;
    q8_code code = q8_conv_check(node, in, err);
    if (code)
        return code;
    const int h =
        out_dim(in->dim[1], a->pad_top, a->pad_bottom, a->kernel_h, a->dilation_h, a->stride_h);
    const int w =
        out_dim(in->dim[2], a->pad_left, a->pad_right, a->kernel_w, a->dilation_w, a->stride_w);
    if (h <= 0 || w <= 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "the kernel (%lldx%lld%s) does not fit the padded input (%lldx%lld)",
                       q8_conv_extent(a->kernel_w, a->dilation_w),
                       q8_conv_extent(a->kernel_h, a->dilation_h),
                       a->dilation_w > 1 || a->dilation_h > 1 ? " with dilation" : "",
                       (long long)in->dim[2] + a->pad_left + a->pad_right,
                       (long long)in->dim[1] + a->pad_top + a->pad_bottom);
    *out = (q8_shape){3, {a->num_output, h, w}};
    return Q8_OK;
}

bool q8_conv_linear(const q8_node *node, const q8_shape *in, q8_linear *view)
{
    const q8_conv_attr *a = node->attr;
    view->groups = a->group;
    view->outputs = a->num_output / a->group;
    view->inputs = in->dim[0] / a->group;
    view->kernel = a->kernel_h * a->kernel_w;
    view->pads = a->pad_left || a->pad_right || a->pad_top || a->pad_bottom;
    view->pad_value = a->pad_value;
    return true;
}

/* The sum over all taps of the window that yields output (out_y, out_x). */
static double window_sum(const q8_conv_attr *a, const q8_shape *shape, const float *in,
                         int channels, const float *weight, int out_y, int out_x)
{
    const int h = shape->dim[1], w = shape->dim[2];
    const long long y = (long long)out_y * a->stride_h - a->pad_top;
    const long long x = (long long)out_x * a->stride_w - a->pad_left;
    double sum = 0;
    for (int c = 0; c < channels; c++) {
        for (int ky = 0; ky < a->kernel_h; ky++) {
            const long long iy = y + (long long)ky * a->dilation_h;
            for (int kx = 0; kx < a->kernel_w; kx++) {
                const long long ix = x + (long long)kx * a->dilation_w;
                const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;
                const float value = inside ? in[iy * w + ix] : a->pad_value;
                sum += (double)value * *weight++;
            }
        }
        in += (size_t)h * w;
    }
    return sum;
}

q8_code q8_conv_forward_by(const q8_forward *f, q8_conv_sum sum)
{
    const q8_conv_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0], *shape = &f->out_shape[0];
    const int channels = in->dim[0] / a->group, outputs = a->num_output / a->group;
    const size_t kernel = (size_t)channels * a->kernel_h * a->kernel_w;
    const size_t group_size = (size_t)channels * q8_shape_spatial(in);
    float *out = f->out[0];
    for (int o = 0; o < a->num_output; o++) {
        const float *weight = f->node->weight[0].data + kernel * o;
        const float *from = f->in[0] + group_size * (o / outputs);
        const double bias = a->bias_term ? f->node->weight[1].data[o] : 0;
        for (int y = 0; y < shape->dim[1]; y++)
            for (int x = 0; x < shape->dim[2]; x++)
                *out++ = (float)(bias + sum(a, in, from, channels, weight, y, x));
    }
    q8_activate_array(&a->activation, f->out[0], q8_shape_count(shape));
    return Q8_OK;
}

q8_code q8_conv_forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    return q8_conv_forward_by(f, window_sum);
}
