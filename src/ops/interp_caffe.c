/* Interp of the DeepLab and PSPNet forks, Upsample of the YOLO forks. */
#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/crop.h"
#include "ops/interp.h"
#include "ops/rows.h"

/* The layer's first node, or the next one. */
static q8_node *next_node(q8_caffe_import *im, const q8_op *op, const char *suffix)
{
    q8_node *node = im->last ? q8_im_chain(im, op, suffix) : q8_im_node(im, op);
    if (node)
        node->n_in = 1; /* a second bottom only gives a size */
    return node;
}

static bool add_resize(q8_caffe_import *im, int type, const char *suffix, int h, int w)
{
    q8_node *node = next_node(im, &q8_op_interp, suffix);
    if (node)
        *(q8_interp_attr *)node->attr = (q8_interp_attr){
            .type = type,
            .scale_h = 1,
            .scale_w = 1,
            .out_h = h,
            .out_w = w,
            .align_corners = type == Q8_INTERP_BILINEAR,
        };
    return node != NULL;
}

/* An axis of one pixel, before or after, is not interpolated: its first pixel is taken. */
static bool is_blended(int in, int out)
{
    return in != out && in > 1 && out > 1;
}

/* The size at which an axis that is not blended passes a bilinear resize: ncnn needs 2 at least. */
static int passing_size(int in, int out)
{
    return is_blended(in, out) ? in : out > 1 ? out : in > 1 ? in : 2;
}

/*
 * With corners aligned, as in Caffe. ncnn's bilinear resize reads outside the tensor where an axis
 * has one pixel; there its nearest one, exact for such an axis, goes before or after.
 */
static q8_code add_bilinear(q8_caffe_import *im, int in_h, int in_w, int out_h, int out_w)
{
    const bool blend_h = is_blended(in_h, out_h), blend_w = is_blended(in_w, out_w);
    if (!blend_h && !blend_w)
        return add_resize(im, Q8_INTERP_NEAREST, "resize", out_h, out_w) ? Q8_OK : q8_im_failed(im);
    const int before_h = passing_size(in_h, out_h), before_w = passing_size(in_w, out_w);
    const int after_h = blend_h ? out_h : before_h, after_w = blend_w ? out_w : before_w;
    bool ok = true;
    if (before_h != in_h || before_w != in_w)
        ok = add_resize(im, Q8_INTERP_NEAREST, "widen", before_h, before_w);
    ok = ok && add_resize(im, Q8_INTERP_BILINEAR, "resize", after_h, after_w);
    if (after_h != out_h || after_w != out_w)
        ok = ok && add_resize(im, Q8_INTERP_NEAREST, "narrow", out_h, out_w);
    return ok ? Q8_OK : q8_im_failed(im);
}

static q8_code check_inputs(q8_caffe_import *im, int most)
{
    if (im->n_in < 1 || im->n_in > most)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom", "%s with %d bottoms", im->layer->type,
                          im->n_in);
    for (int i = 0; i < im->n_in; i++)
        if (im->in_shape[i].rank != 3)
            return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                              "%s needs bottoms with channels, height and width", im->layer->type);
    return Q8_OK;
}

static q8_code read_extent(q8_caffe_import *im, const void *p, const char *field, int value,
                           int *result)
{
    if (value < 1 || value > Q8_MAX_EXTENT)
        return q8_im_fail(im, Q8_EMODEL, p, field, "%s is %d, not at least 1; " Q8_LIMIT, field,
                          value, Q8_LIMIT_OF(Q8_MAX_EXTENT));
    *result = value;
    return Q8_OK;
}

/* In the forks the factors count the gaps between pixels, not the pixels. */
static q8_code scaled_size(q8_caffe_import *im, const Caffe__InterpParameter *p, int in, int *out)
{
    const int shrink = p->has_shrink_factor ? p->shrink_factor : 1;
    const int zoom = p->has_zoom_factor ? p->zoom_factor : 1;
    if (shrink < 1 || zoom < 1)
        return q8_im_fail(im, Q8_EMODEL, p, shrink < 1 ? "shrink_factor" : "zoom_factor",
                          "%s must be at least 1", shrink < 1 ? "shrink_factor" : "zoom_factor");
    const long long size = (in - 1) / shrink * (long long)zoom + 1;
    if (size > Q8_MAX_EXTENT)
        return q8_im_fail(im, Q8_EMODEL, p, "zoom_factor",
                          "zoom_factor %d makes a size of %lld; " Q8_LIMIT, zoom, size,
                          Q8_LIMIT_OF(Q8_MAX_EXTENT));
    *out = (int)size;
    return Q8_OK;
}

static q8_code interp_size(q8_caffe_import *im, const Caffe__InterpParameter *p, int in_h, int in_w,
                           int *h, int *w)
{
    q8_code code;
    if (im->n_in == 2) {
        *h = im->in_shape[1].dim[1];
        *w = im->in_shape[1].dim[2];
        return Q8_OK;
    }
    /* One factor alone goes before a size, a size before both factors. */
    if (p->has_height && p->has_width && p->has_shrink_factor == p->has_zoom_factor) {
        code = read_extent(im, p, "height", p->height, h);
        return code ? code : read_extent(im, p, "width", p->width, w);
    }
    if (!p->has_shrink_factor && !p->has_zoom_factor)
        return q8_im_fail(im, Q8_EMODEL, p, p->has_height ? "height" : "width",
                          "Interp needs height and width, or zoom_factor or shrink_factor");
    code = scaled_size(im, p, in_h, h);
    return code ? code : scaled_size(im, p, in_w, w);
}

/* The forks have padding only to cut it off: -1 leaves one pixel out. */
static q8_code cut_border(q8_caffe_import *im, const Caffe__InterpParameter *p, int *in_h,
                          int *in_w)
{
    if (p->pad_beg > 0 || p->pad_end > 0)
        return q8_im_fail(im, Q8_EMODEL, p, p->pad_beg > 0 ? "pad_beg" : "pad_end",
                          "%s must be 0 or negative, as it is in Caffe: it cuts pixels off",
                          p->pad_beg > 0 ? "pad_beg" : "pad_end");
    if (p->pad_beg == 0 && p->pad_end == 0)
        return Q8_OK;
    const long long cut = -(long long)p->pad_beg - p->pad_end;
    if (cut >= *in_h || cut >= *in_w)
        return q8_im_fail(im, Q8_EMODEL, p, p->pad_beg ? "pad_beg" : "pad_end",
                          "nothing is left of an input of %dx%d", *in_h, *in_w);
    q8_node *node = next_node(im, &q8_op_crop, "crop");
    if (!node)
        return q8_im_failed(im);
    *(q8_crop_attr *)node->attr = (q8_crop_attr){
        .offset_w = -p->pad_beg,
        .offset_h = -p->pad_beg,
        .out_w = *in_w -= (int)cut,
        .out_h = *in_h -= (int)cut,
        .out_c = Q8_CROP_REST,
    };
    return Q8_OK;
}

static q8_code read_interp(q8_caffe_import *im)
{
    const Caffe__InterpParameter *p = im->param->interp_param;
    if (!p && im->n_in < 2)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "interp_param missing");
    q8_code code = check_inputs(im, 2);
    if (code)
        return code;
    const Caffe__InterpParameter none = CAFFE__INTERP_PARAMETER__INIT;
    p = p ? p : &none;
    int in_h = im->in_shape[0].dim[1], in_w = im->in_shape[0].dim[2], h, w;
    if ((code = cut_border(im, p, &in_h, &in_w)) || (code = interp_size(im, p, in_h, in_w, &h, &w)))
        return code;
    return add_bilinear(im, in_h, in_w, h, w);
}

/* ncnn finds a pixel's source by multiplying with 1 / scale in fp32, which is one too low for a few
 * scales, 41 the first. */
static bool is_exact_scale(int in, int scale)
{
    const float step = (float)in / (float)(in * scale);
    for (int i = 0; i < in; i++)
        if ((int)((float)(i * scale) * step) != i ||
            (int)((float)(i * scale + scale - 1) * step) != i)
            return false;
    return true;
}

static q8_code read_scales(q8_caffe_import *im, const Caffe__UpsampleParameter *p, int *h, int *w)
{
    if (!p || (!p->has_scale && !(p->has_scale_h && p->has_scale_w)))
        return q8_im_fail(im, Q8_EMODEL, p, "scale", "scale missing");
    if (p->has_scale && (p->has_scale_h || p->has_scale_w))
        return q8_im_fail(im, Q8_EMODEL, p, "scale", "both scale and scale_h or scale_w");
    q8_code code = q8_read_uint(im, p, p->has_scale ? "scale" : "scale_h",
                                p->has_scale ? p->scale : p->scale_h, 1, h);
    return code ? code
                : q8_read_uint(im, p, p->has_scale ? "scale" : "scale_w",
                               p->has_scale ? p->scale : p->scale_w, 1, w);
}

static q8_code read_upsample(q8_caffe_import *im)
{
    const Caffe__UpsampleParameter *p = im->param->upsample_param;
    if (im->n_in == 2)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param, "bottom",
                          "Upsample with the places of a max pooling (SegNet's unpooling) cannot "
                          "be expressed in ncnn; train the network with Deconvolution, Interp or "
                          "Upsample of one bottom instead, or end it before this layer");
    if (p && (p->has_upsample_h || p->has_upsample_w || p->pad_out_h || p->pad_out_w))
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, p->has_upsample_h ? "upsample_h" : NULL,
                          "upsample_h, upsample_w and pad_out belong to SegNet's unpooling, which "
                          "cannot be expressed in ncnn; only scale is supported");
    q8_code code = check_inputs(im, 1);
    int scale_h, scale_w;
    if (code || (code = read_scales(im, p, &scale_h, &scale_w)))
        return code;
    const int in_h = im->in_shape[0].dim[1], in_w = im->in_shape[0].dim[2];
    if ((long long)in_h * scale_h > Q8_MAX_EXTENT || (long long)in_w * scale_w > Q8_MAX_EXTENT)
        return q8_im_fail(im, Q8_EMODEL, p, p->has_scale ? "scale" : "scale_h",
                          "an output of %lldx%lld; " Q8_LIMIT, (long long)in_h * scale_h,
                          (long long)in_w * scale_w, Q8_LIMIT_OF(Q8_MAX_EXTENT));
    if (!is_exact_scale(in_h, scale_h) || !is_exact_scale(in_w, scale_w))
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, p->has_scale ? "scale" : "scale_h",
                          "ncnn rounds a scale of %d or %d to the wrong pixels; use two layers of "
                          "smaller scales",
                          scale_h, scale_w);
    return add_resize(im, Q8_INTERP_NEAREST, "resize", in_h * scale_h, in_w * scale_w)
               ? Q8_OK
               : q8_im_failed(im);
}

q8_code q8_interp_from_caffe(q8_caffe_import *im)
{
    return strcmp(im->layer->type, "Upsample") == 0 ? read_upsample(im) : read_interp(im);
}
