/* Spatial pyramid pooling becomes one Pooling and Flatten per level and a Concat. */
#include "ops/branch.h"
#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/pooling.h"
#include "ops/rows.h"
#include "ops/simple.h"

/* One axis of a level: `bins` windows side by side, the overhang shared by both ends as Caffe does.
 */
struct windows {
    int kernel, before, after;
};

static q8_code cut_axis(q8_caffe_import *im, const Caffe__SPPParameter *p, int in, int bins,
                        struct windows *x)
{
    x->kernel = (int)(((long long)in + bins - 1) / bins);
    const long long overhang = (long long)x->kernel * bins - in;
    x->before = (int)((overhang + 1) / 2);
    x->after = (int)(overhang / 2);
    if (x->before > 0 && x->before >= x->kernel)
        return q8_im_fail(im, Q8_EMODEL, p, "pyramid_height",
                          "pyramid_height %u is too much for an input of %d: a level of %d bins "
                          "would have padding of %d with a kernel of %d",
                          (unsigned)p->pyramid_height, in, bins, x->before, x->kernel);
    return Q8_OK;
}

static q8_code read_level(q8_caffe_import *im, const Caffe__SPPParameter *p, int level,
                          q8_pooling_attr *a)
{
    const q8_shape *in = &im->in_shape[0];
    struct windows h, w;
    q8_code code;
    if ((code = cut_axis(im, p, in->dim[1], 1 << level, &h)) ||
        (code = cut_axis(im, p, in->dim[2], 1 << level, &w)))
        return code;
    *a = (q8_pooling_attr){
        .type = p->pool == CAFFE__SPPPARAMETER__POOL_METHOD__AVE ? Q8_POOL_AVE : Q8_POOL_MAX,
        .kernel_w = w.kernel,
        .kernel_h = h.kernel,
        .stride_w = w.kernel,
        .stride_h = h.kernel,
        .pad_left = w.before,
        .pad_right = w.after,
        .pad_top = h.before,
        .pad_bottom = h.after,
        .mode = Q8_POOL_VALID,
        .count_include_pad = p->pool == CAFFE__SPPPARAMETER__POOL_METHOD__AVE,
    };
    return Q8_OK;
}

/* The flattened level as a new tensor. */
static q8_code add_level(q8_caffe_import *im, const q8_pooling_attr *a, int level, int *tensor)
{
    const char *suffix = q8_arena_printf(im->arena, "level%d", level);
    const char *flat = q8_arena_printf(im->arena, "level%d_flat", level);
    if (!suffix || !flat)
        return q8_fail_nomem(im->err);
    q8_node *pool = q8_im_branch(im, &q8_op_pooling, suffix, 1, im->in);
    if (!pool)
        return q8_im_failed(im);
    *(q8_pooling_attr *)pool->attr = *a;
    q8_node *flatten = q8_im_branch(im, &q8_op_flatten, flat, 1, pool->out);
    if (!flatten)
        return q8_im_failed(im);
    *tensor = flatten->out[0];
    return Q8_OK;
}

q8_code q8_spp_from_caffe(q8_caffe_import *im)
{
    enum { MAX_LEVELS = 16 };
    const Caffe__SPPParameter *p = im->param->spp_param;
    q8_pooling_attr a;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (!p || !p->has_pyramid_height)
        return q8_im_fail(im, Q8_EMODEL, p, "pyramid_height", "pyramid_height missing");
    if (p->pyramid_height < 1 || p->pyramid_height > MAX_LEVELS)
        return q8_im_fail(im, Q8_EMODEL, p, "pyramid_height", "pyramid_height %u",
                          (unsigned)p->pyramid_height);
    if (p->pool == CAFFE__SPPPARAMETER__POOL_METHOD__STOCHASTIC)
        return q8_im_fail(
            im, Q8_EUNSUPPORTED, p, "pool",
            "only MAX and AVE pooling are supported: ncnn has no other; train the network "
            "with one of these");
    const q8_shape *in = &im->in_shape[0];
    if (in->rank != 3 || in->dim[1] > Q8_MAX_EXTENT || in->dim[2] > Q8_MAX_EXTENT)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "SPP needs an input with channels, height and width");
    if (p->pyramid_height == 1) { /* not flattened */
        if ((code = read_level(im, p, 0, &a)))
            return code;
        q8_node *node = q8_im_node(im, &q8_op_pooling);
        if (!node)
            return q8_im_failed(im);
        *(q8_pooling_attr *)node->attr = a;
        return Q8_OK;
    }
    int flat[MAX_LEVELS];
    for (int i = 0; i < (int)p->pyramid_height; i++)
        if ((code = read_level(im, p, i, &a)) || (code = add_level(im, &a, i, &flat[i])))
            return code;
    return q8_im_node_of(im, &q8_op_concat, (int)p->pyramid_height, flat) ? Q8_OK
                                                                          : q8_im_failed(im);
}
