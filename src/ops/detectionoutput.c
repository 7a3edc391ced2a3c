/* SSD's last layer: decodes boxes, drops overlapping ones of each class, keeps the best.
 *
 * ncnn's output has as many rows as there are detections. The graph's shapes are fixed, so here it
 * has keep_top_k rows {label, score, left, top, right, bottom}; those past the last detection have
 * the label -1 and zeros. */
#include <math.h>
#include <stdlib.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/detection.h"
#include "ops/rows.h"

typedef struct detectionoutput_attr {
    int num_class; /**< with the background, class 0 */
    float nms_threshold;
    int nms_top_k, keep_top_k;
    float confidence_threshold;
    float variance[4]; /**< for models without a PriorBox's second row: not used */
} detectionoutput_attr;

static const q8_field fields[] = {
    Q8_FIELD_INT(detectionoutput_attr, num_class, 0, 0),
    Q8_FIELD_FLOAT(detectionoutput_attr, nms_threshold, 1, 0.05f),
    Q8_FIELD_INT(detectionoutput_attr, nms_top_k, 2, 300),
    Q8_FIELD_INT(detectionoutput_attr, keep_top_k, 3, 100),
    Q8_FIELD_FLOAT(detectionoutput_attr, confidence_threshold, 4, 0.5f),
    Q8_FIELD_FLOAT(detectionoutput_attr, variance[0], 5, 0.1f),
    Q8_FIELD_FLOAT(detectionoutput_attr, variance[1], 6, 0.1f),
    Q8_FIELD_FLOAT(detectionoutput_attr, variance[2], 7, 0.2f),
    Q8_FIELD_FLOAT(detectionoutput_attr, variance[3], 8, 0.2f),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const detectionoutput_attr *a = node->attr;
    const q8_shape *prior = &in[2];
    q8_code code = q8_node_rank(node, 2, prior, 2, err);
    if (code)
        return code;
    /* ncnn reads them as plain arrays, which only these are. */
    if (in[0].rank > 2 || in[1].rank > 2)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "locations and confidences must be flattened");
    if (a->num_class < 2)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "%d classes: the background and at least one more are needed", a->num_class);
    if (a->nms_top_k < 1 || a->keep_top_k < 1)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "nms_top_k %d and keep_top_k %d must be positive", a->nms_top_k,
                       a->keep_top_k);
    const long long priors = prior->dim[1] / 4;
    if (prior->dim[0] != 2 || prior->dim[1] % 4 ||
        (long long)q8_shape_count(&in[0]) != priors * 4 ||
        (long long)q8_shape_count(&in[1]) != priors * a->num_class) {
        char loc[64], conf[64], boxes[64];
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "locations of %s and confidences of %s in %d classes do not belong to "
                       "prior boxes of %s",
                       q8_shape_text(&in[0], loc), q8_shape_text(&in[1], conf), a->num_class,
                       q8_shape_text(prior, boxes));
    }
    out[0] = (q8_shape){2, {a->keep_top_k, Q8_DETECTION_ROW}};
    return Q8_OK;
}

/* --- forward ------------------------------------------------------------------------------- */

/* A box given as the offset of its centre and the logarithm of its size relative to a prior box. */
static q8_box decode(const float *loc, const float *prior, const float *variance)
{
    const float prior_w = prior[2] - prior[0], prior_h = prior[3] - prior[1];
    const float x = variance[0] * loc[0] * prior_w + (prior[0] + prior[2]) * 0.5f;
    const float y = variance[1] * loc[1] * prior_h + (prior[1] + prior[3]) * 0.5f;
    const float w = expf(variance[2] * loc[2]) * prior_w;
    const float h = expf(variance[3] * loc[3]) * prior_h;
    return (q8_box){x - w * 0.5f, y - h * 0.5f, x + w * 0.5f, y + h * 0.5f};
}

/* Detections of one class into `found`, in order and without overlaps. @return their number */
static size_t detect_class(const q8_forward *f, int label, q8_detection *found)
{
    const detectionoutput_attr *a = f->node->attr;
    const int priors = f->in_shape[2].dim[1] / 4;
    const float *prior = f->in[2], *variance = prior + (size_t)priors * 4;
    size_t n = 0;
    for (int i = 0; i < priors; i++) {
        const float *score = f->in[1] + (size_t)i * (size_t)a->num_class;
        /* ncnn does not decode boxes that are background enough. */
        if (!(score[label] > a->confidence_threshold) ||
            score[0] >= 1.0 - (double)a->confidence_threshold)
            continue;
        const size_t at = (size_t)i * 4;
        found[n++] = (q8_detection){decode(f->in[0] + at, prior + at, variance + at), score[label],
                                    label, i};
    }
    q8_sort_detections(found, n);
    if (n > (size_t)a->nms_top_k)
        n = (size_t)a->nms_top_k;
    return q8_drop_overlaps(found, n, a->nms_threshold);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const detectionoutput_attr *a = f->node->attr;
    const size_t priors = (size_t)f->in_shape[2].dim[1] / 4;
    /* infer() has seen that there are so many confidences. */
    q8_detection *found = malloc(priors * (size_t)a->num_class * sizeof(*found));
    if (!found)
        return q8_fail_nomem(err);
    size_t n = 0;
    for (int label = 1; label < a->num_class; label++)
        n += detect_class(f, label, found + n);
    q8_sort_detections(found, n);
    q8_write_detections(found, n, f->out[0], (size_t)f->out_shape[0].dim[0]);
    free(found);
    return Q8_OK;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

/* Features of SSD's layer that ncnn's does not have. */
static q8_code check_supported(q8_caffe_import *im, const Caffe__DetectionOutputParameter *p)
{
    if (!p->share_location)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "share_location",
                          "boxes for each class (share_location: false) are not supported");
    if (p->background_label_id != 0)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "background_label_id",
                          "the background must be class 0, not %d", p->background_label_id);
    if (p->code_type != CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CENTER_SIZE)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "code_type",
                          "code_type %s%s is not supported: ncnn has CENTER_SIZE only",
                          p->code_type == CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CORNER
                              ? "CORNER"
                              : "CORNER_SIZE",
                          p->has_code_type ? "" : ", the default,");
    if (p->variance_encoded_in_target)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "variance_encoded_in_target",
                          "variance_encoded_in_target is not supported");
    if (p->nms_param && p->nms_param->eta != 1)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p->nms_param, "eta",
                          "adaptive suppression (eta %g) is not supported",
                          (double)p->nms_param->eta);
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__NonMaximumSuppressionParameter none =
        CAFFE__NON_MAXIMUM_SUPPRESSION_PARAMETER__INIT;
    const Caffe__DetectionOutputParameter *p = im->param->detection_output_param;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "detection_output_param missing");
    int num_class;
    q8_code code = q8_read_uint(im, p, "num_classes", p->num_classes, 2, &num_class);
    if (code || (code = check_supported(im, p)))
        return code;
    const Caffe__NonMaximumSuppressionParameter *nms = p->nms_param ? p->nms_param : &none;
    if (im->n_in != 3 || im->in_shape[2].rank != 2)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL,
                          "DetectionOutput needs locations, confidences and prior boxes");
    q8_node *node = q8_im_node(im, &q8_op_detectionoutput);
    if (!node)
        return q8_im_failed(im);
    const int priors = im->in_shape[2].dim[1] / 4;
    detectionoutput_attr *a = node->attr;
    *a = (detectionoutput_attr){
        .num_class = num_class,
        .nms_threshold = nms->nms_threshold,
        /* Caffe keeps all if the number is negative or not there; ncnn needs one. */
        .nms_top_k = nms->has_top_k && nms->top_k >= 0 ? nms->top_k : priors,
        .keep_top_k = p->keep_top_k >= 0 ? p->keep_top_k : priors,
        /* Without a threshold every score counts. */
        .confidence_threshold = p->has_confidence_threshold ? p->confidence_threshold : -1e30f,
        .variance = {0.1f, 0.1f, 0.2f, 0.2f},
    };
    return Q8_OK;
}

const q8_op q8_op_detectionoutput = {
    .type = "DetectionOutput",
    .caffe_types = (const char *const[]){"DetectionOutput", NULL},
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(detectionoutput_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .limits = "Locations, confidences and prior boxes, with class 0 as the background. Refused: "
              "`share_location: false`, another background class, any `code_type` but CENTER_SIZE, "
              "`variance_encoded_in_target`, an `eta` other than 1. `save_output_param` and "
              "visualising are ignored. A missing `confidence_threshold` lets every box through.",
};
