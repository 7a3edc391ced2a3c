/* L2 normalisation over channels, positions or both, then a scale (SSD's Normalize). */
#include <math.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_normalize_attr, across_spatial, 0, 0),
    Q8_FIELD_INT(q8_normalize_attr, channel_shared, 1, 0),
    Q8_FIELD_FLOAT(q8_normalize_attr, eps, 2, 0.0001f),
    Q8_FIELD_INT(q8_normalize_attr, scale_data_size, 3, 0),
    Q8_FIELD_INT(q8_normalize_attr, across_channel, 4, 1),
    Q8_FIELD_INT(q8_normalize_attr, eps_mode, 9, 0),
};

static size_t scale_count(const void *attr)
{
    const q8_normalize_attr *a = attr;
    return a->scale_data_size > 0 ? (size_t)a->scale_data_size : 0;
}

static const q8_weight_spec weights[] = {
    {"scale", false, scale_count},
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_normalize_attr *a = node->attr;
    q8_code code = q8_node_rank(node, 0, in, 3, err);
    if (code)
        return code;
    if (!a->across_spatial && !a->across_channel)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "normalising neither across space nor across channels is not supported");
    if (a->eps_mode < Q8_EPS_ADDED || a->eps_mode > Q8_EPS_BOUNDS_SUM)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "eps mode %d", a->eps_mode);
    const int scales = a->channel_shared ? 1 : in->dim[0];
    if (a->scale_data_size != scales)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d scales where %d are needed",
                       a->scale_data_size, scales);
    out[0] = in[0];
    return Q8_OK;
}

static double inverse_norm(const q8_normalize_attr *a, double sum)
{
    switch (a->eps_mode) {
    case Q8_EPS_ADDED:
        return 1 / sqrt(sum + a->eps);
    case Q8_EPS_BOUNDS_NORM:
        return 1 / fmax(sqrt(sum), a->eps);
    default:
        return 1 / sqrt(fmax(sum, a->eps));
    }
}

/* Normalises elements first + c * plane + i for the given numbers of c and i, as one group. */
static void normalise_group(const q8_forward *f, size_t plane, int c0, int n_c, size_t i0,
                            size_t n_i)
{
    const q8_normalize_attr *a = f->node->attr;
    const float *scale = f->node->weight[0].data;
    double sum = 0;
    for (int c = c0; c < c0 + n_c; c++)
        for (size_t i = i0; i < i0 + n_i; i++) {
            const double x = f->in[0][(size_t)c * plane + i];
            sum += x * x;
        }
    const double factor = inverse_norm(a, sum);
    for (int c = c0; c < c0 + n_c; c++)
        for (size_t i = i0; i < i0 + n_i; i++) {
            const size_t k = (size_t)c * plane + i;
            f->out[0][k] = (float)(f->in[0][k] * factor * scale[a->channel_shared ? 0 : c]);
        }
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_normalize_attr *a = f->node->attr;
    const int channels = f->in_shape[0].dim[0];
    const size_t plane = q8_shape_spatial(&f->in_shape[0]);
    const int n_c = a->across_channel ? channels : 1;
    const size_t n_i = a->across_spatial ? plane : 1;
    for (int c = 0; c < channels; c += n_c)
        for (size_t i = 0; i < plane; i += n_i)
            normalise_group(f, plane, c, n_c, i, n_i);
    return Q8_OK;
}

/* Caffe sees missing axes as axes of 1, which ncnn's layer wants written out. */
static q8_node *add_nodes(q8_caffe_import *im)
{
    const q8_shape *in = &im->in_shape[0];
    if (in->rank == 3)
        return q8_im_node(im, &q8_op_normalize);
    const q8_shape picture = {3, {in->dim[0], in->rank > 1 ? in->dim[1] : 1, 1}};
    q8_node *before = q8_im_node(im, &q8_op_reshape);
    q8_node *node = before ? q8_im_chain(im, &q8_op_normalize, "normalize") : NULL;
    q8_node *after = node ? q8_im_chain(im, &q8_op_reshape, "shape") : NULL;
    if (!after)
        return NULL;
    *(q8_reshape_attr *)before->attr = q8_reshape_to(&picture);
    *(q8_reshape_attr *)after->attr = q8_reshape_to(in);
    return node;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__NormalizeParameter none = CAFFE__NORMALIZE_PARAMETER__INIT;
    const Caffe__NormalizeParameter *p = im->param->norm_param ? im->param->norm_param : &none;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (im->in_shape[0].rank > 3)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "Normalize of more than channels, height and width is not supported");
    q8_node *node = add_nodes(im);
    if (!node)
        return q8_im_failed(im);
    q8_normalize_attr *a = node->attr;
    *a = (q8_normalize_attr){
        .across_spatial = p->across_spatial,
        .across_channel = 1,
        .channel_shared = p->channel_shared,
        .scale_data_size = p->channel_shared ? 1 : im->in_shape[0].dim[0],
        .eps = p->eps,
        .eps_mode = Q8_EPS_ADDED,
    };
    return q8_im_weight(im, node, 0, 0, &a->scale_data_size, 1);
}

const q8_op q8_op_normalize = {
    .type = "Normalize",
    .caffe_types = (const char *const[]){"Normalize", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_normalize_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits = "An input of channels, with or without height and width.",
};
