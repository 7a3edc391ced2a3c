/* Region pooling of the Fast R-CNN, R-FCN and Mask R-CNN forks. */
#include "ops/branch.h"
#include "ops/caffe_read.h"
#include "ops/crop.h"
#include "ops/roi.h"
#include "ops/rows.h"
#include "ops/simple.h"

static bool has_shape(const q8_shape *shape, int rank, const int *dim)
{
    for (int i = 0; i < rank; i++)
        if (dim[i] > 0 && shape->dim[i] != dim[i])
            return false;
    return shape->rank == rank;
}

/*
 * Caffe's regions are rows of picture number, left, top, right and bottom, one batch element each,
 * so the graph has the {5} of one. ncnn's layers want {4}. What a Proposal makes in ncnn has no
 * picture number either; there the graph has all regions.
 */
static q8_code add_regions(q8_caffe_import *im, int *regions)
{
    const q8_shape *shape = &im->in_shape[1];
    char text[64];
    *regions = im->in[1];
    if (has_shape(shape, 3, (const int[]){0, 1, 4}))
        return Q8_OK;
    const bool flat = has_shape(shape, 1, (const int[]){5});
    if (!flat && !has_shape(shape, 3, (const int[]){5, 1, 1}) &&
        !has_shape(shape, 3, (const int[]){1, 1, 5}))
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "the second bottom must have one region per batch element (picture "
                          "number, left, top, right, bottom), not %s",
                          q8_shape_text(shape, text));
    q8_node *node = NULL;
    if (!flat) {
        node = q8_im_branch(im, &q8_op_flatten, "region", 1, regions);
        if (!node)
            return q8_im_failed(im);
        *regions = node->out[0];
    }
    node = q8_im_branch(im, &q8_op_crop, "corners", 1, regions);
    if (!node)
        return q8_im_failed(im);
    *(q8_crop_attr *)node->attr =
        (q8_crop_attr){.offset_w = 1, .out_w = 4, .out_h = Q8_CROP_REST, .out_c = Q8_CROP_REST};
    *regions = node->out[0];
    return Q8_OK;
}

/* A node of the layer's type; NULL with an error recorded. */
static q8_node *add_roi(q8_caffe_import *im, const q8_op *op)
{
    int in[2];
    if (im->n_in != 2 || im->in_shape[0].rank != 3) {
        q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                   "%s needs two bottoms: a feature map with channels, height and width, and "
                   "regions",
                   im->layer->type);
        return NULL;
    }
    if (add_regions(im, &in[1]))
        return NULL;
    in[0] = im->in[0];
    q8_im_warn(im, NULL, NULL,
               "ncnn pools one region a run: run the network up to the regions once, and the rest "
               "for each of them");
    return q8_im_node_of(im, op, 2, in);
}

static q8_code check_scale(q8_caffe_import *im, const void *p, float scale)
{
    if (!(scale > 0))
        return q8_im_fail(im, Q8_EMODEL, p, "spatial_scale", "spatial_scale %g", (double)scale);
    return Q8_OK;
}

q8_code q8_roipooling_from_caffe(q8_caffe_import *im)
{
    const Caffe__ROIPoolingParameter *p = im->param->roi_pooling_param;
    q8_node *node;
    q8_code code;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "roi_pooling_param missing");
    if (!(node = add_roi(im, &q8_op_roipooling)))
        return q8_im_failed(im);
    q8_roi_attr *a = node->attr;
    if ((code = q8_read_uint(im, p, "pooled_w", p->pooled_w, 1, &a->pooled_w)) ||
        (code = q8_read_uint(im, p, "pooled_h", p->pooled_h, 1, &a->pooled_h)) ||
        (code = check_scale(im, p, p->spatial_scale)))
        return code;
    a->scale = p->spatial_scale;
    return Q8_OK;
}

q8_code q8_psroipooling_from_caffe(q8_caffe_import *im)
{
    const Caffe__PSROIPoolingParameter *p = im->param->psroi_pooling_param;
    q8_node *node;
    q8_code code;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "psroi_pooling_param missing");
    if (p->output_dim < 1 || p->group_size < 1)
        return q8_im_fail(im, Q8_EMODEL, p, p->output_dim < 1 ? "output_dim" : "group_size",
                          "%s must be positive", p->output_dim < 1 ? "output_dim" : "group_size");
    if ((code = check_scale(im, p, p->spatial_scale)))
        return code;
    if (!(node = add_roi(im, &q8_op_psroipooling)))
        return q8_im_failed(im);
    *(q8_roi_attr *)node->attr = (q8_roi_attr){
        .pooled_w = p->group_size,
        .pooled_h = p->group_size,
        .scale = p->spatial_scale,
        .output_dim = p->output_dim,
    };
    return Q8_OK;
}

q8_code q8_roialign_from_caffe(q8_caffe_import *im)
{
    const Caffe__ROIAlignParameter *p = im->param->roi_align_param;
    q8_node *node;
    q8_code code;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "roi_align_param missing");
    if (p->roi_end_mode)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "roi_end_mode",
                          "only roi_end_mode 0 is supported: ncnn has no other");
    if (!(node = add_roi(im, &q8_op_roialign)))
        return q8_im_failed(im);
    q8_roialign_attr *a = node->attr;
    if ((code = q8_read_uint(im, p, "pooled_w", p->pooled_w, 1, &a->pooled_w)) ||
        (code = q8_read_uint(im, p, "pooled_h", p->pooled_h, 1, &a->pooled_h)) ||
        (code = check_scale(im, p, p->spatial_scale)))
        return code;
    if (!p->has_sampling_ratio)
        q8_im_warn(im, p, NULL,
                   "taken as the published ROIAlign, which averages its sampling points; some "
                   "forks keep the largest");
    a->scale = p->spatial_scale;
    a->sampling_ratio = p->sampling_ratio > 0 ? p->sampling_ratio : 0;
    a->version = Q8_ROIALIGN_PUBLISHED;
    return Q8_OK;
}
