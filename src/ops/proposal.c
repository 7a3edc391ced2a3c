/* Faster R-CNN's regions: anchors moved by what the network says, the best without overlaps.
 *
 * ncnn's output has as many regions as there are. The graph's shapes are fixed, so here it has
 * post_nms of them: {post_nms,1,4}, left, top, right, bottom, and zeros after the last one. */
#include "ops/proposal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/common.h"
#include "ops/detection.h"
#include "ops/rows.h"

const float q8_proposal_ratio[Q8_PROPOSAL_RATIOS] = {0.5f, 1, 2};
const float q8_proposal_scale[Q8_PROPOSAL_SCALES] = {8, 16, 32};

enum { ANCHORS = Q8_PROPOSAL_RATIOS * Q8_PROPOSAL_SCALES };

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_proposal_attr, feat_stride, 0, 16),
    Q8_FIELD_INT(q8_proposal_attr, base_size, 1, 16),
    Q8_FIELD_INT(q8_proposal_attr, pre_nms, 2, 6000),
    Q8_FIELD_INT(q8_proposal_attr, post_nms, 3, 300),
    Q8_FIELD_FLOAT(q8_proposal_attr, nms_threshold, 4, 0.7f),
    Q8_FIELD_INT(q8_proposal_attr, min_size, 5, 16),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_proposal_attr *a = node->attr;
    q8_code code;
    if ((code = q8_node_rank(node, 0, &in[0], 3, err)) ||
        (code = q8_node_rank(node, 1, &in[1], 3, err)))
        return code;
    if (in[0].dim[0] != 2 * ANCHORS || in[1].dim[0] != 4 * ANCHORS ||
        in[0].dim[1] != in[1].dim[1] || in[0].dim[2] != in[1].dim[2]) {
        char scores[64], moves[64];
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "scores of %s and box moves of %s: %d and %d channels of one size are "
                       "needed",
                       q8_shape_text(&in[0], scores), q8_shape_text(&in[1], moves), 2 * ANCHORS,
                       4 * ANCHORS);
    }
    if (in[2].dim[in[2].rank - 1] < 3)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "input 2 must hold the picture's height, width and scale");
    if (a->feat_stride < 1 || a->feat_stride > Q8_MAX_EXTENT || a->base_size < 1 ||
        a->base_size > Q8_MAX_EXTENT || a->post_nms < 1 || !isfinite(a->nms_threshold))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "stride, base size and the number of regions must be positive");
    out[0] = (q8_shape){3, {a->post_nms, 1, 4}};
    if (node->n_out > 1)
        out[1] = (q8_shape){3, {a->post_nms, 1, 1}};
    return Q8_OK;
}

/* The anchor with its top left corner's pixel at (0, 0). */
static q8_box anchor_box(int base, int index)
{
    const float ratio = q8_proposal_ratio[index / Q8_PROPOSAL_SCALES];
    const float scale = q8_proposal_scale[index % Q8_PROPOSAL_SCALES];
    const float w = roundf((float)base / sqrtf(ratio)), h = roundf(w * ratio);
    const float half = (float)base * 0.5f;
    return (q8_box){half - w * scale * 0.5f, half - h * scale * 0.5f, half + w * scale * 0.5f,
                    half + h * scale * 0.5f};
}

/* What the network makes of an anchor with its corner at (left, top). */
static q8_box move_box(const q8_box *anchor, float left, float top, const float *move, size_t plane)
{
    const float w = anchor->right - anchor->left, h = anchor->bottom - anchor->top;
    const float x = left + w * 0.5f + w * move[0], y = top + h * 0.5f + h * move[plane];
    const float new_w = w * expf(move[2 * plane]), new_h = h * expf(move[3 * plane]);
    return (q8_box){x - new_w * 0.5f, y - new_h * 0.5f, x + new_w * 0.5f, y + new_h * 0.5f};
}

static float clip(float x, float last)
{
    return fmaxf(fminf(x, last), 0);
}

/* Regions of all anchors and positions that are large enough. @return their number */
static size_t find(const q8_forward *f, q8_detection *found)
{
    const q8_proposal_attr *a = f->node->attr;
    const int h = f->in_shape[0].dim[1], w = f->in_shape[0].dim[2];
    const size_t plane = (size_t)h * (size_t)w;
    const float image_h = f->in[2][0], image_w = f->in[2][1];
    const float min_size = (float)a->min_size * f->in[2][2];
    size_t n = 0;
    for (int k = 0; k < ANCHORS; k++) {
        const q8_box anchor = anchor_box(a->base_size, k);
        for (size_t i = 0; i < plane; i++) {
            const float left = anchor.left + (float)(i % (size_t)w) * (float)a->feat_stride;
            const float top = anchor.top + (float)(i / (size_t)w) * (float)a->feat_stride;
            q8_box box = move_box(&anchor, left, top, f->in[1] + 4 * (size_t)k * plane + i, plane);
            box = (q8_box){clip(box.left, image_w - 1), clip(box.top, image_h - 1),
                           clip(box.right, image_w - 1), clip(box.bottom, image_h - 1)};
            const float score = f->in[0][(size_t)(ANCHORS + k) * plane + i];
            if (box.right - box.left + 1 >= min_size && box.bottom - box.top + 1 >= min_size &&
                !isnan(score)) /* NaN has no place in an order */
                found[n++] = (q8_detection){
                    .box = box,
                    .score = score,
                    .origin = (int)((size_t)k * plane + i),
                };
        }
    }
    return n;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_proposal_attr *a = f->node->attr;
    q8_detection *found = malloc(ANCHORS * q8_shape_spatial(&f->in_shape[0]) * sizeof(*found));
    if (!found)
        return q8_fail_nomem(err);
    size_t n = find(f, found);
    q8_sort_detections(found, n);
    if (a->pre_nms > 0 && n > (size_t)a->pre_nms)
        n = (size_t)a->pre_nms;
    n = q8_drop_overlaps(found, n, a->nms_threshold);
    if (n > (size_t)a->post_nms)
        n = (size_t)a->post_nms;
    for (int k = 0; k < f->node->n_out; k++)
        memset(f->out[k], 0, q8_shape_count(&f->out_shape[k]) * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        memcpy(f->out[0] + 4 * i, &found[i].box, sizeof(found[i].box));
        if (f->node->n_out > 1)
            f->out[1][i] = found[i].score;
    }
    free(found);
    return Q8_OK;
}

const q8_op q8_op_proposal = {
    .type = "Proposal",
    .caffe_types = (const char *const[]){"Proposal", "Python", NULL},
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 2,
    .attr_size = sizeof(q8_proposal_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = q8_proposal_from_caffe,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits =
        "`Python` layers named `ProposalLayer` and the C++ layer of forks, with the ratios "
        "and scales that ncnn has built in. In ncnn the regions come without the picture's "
        "number, and overlaps are measured of boxes one pixel smaller than in Caffe. Refused: "
        "every other Python layer.",
};
