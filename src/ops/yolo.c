/* The last layers of YOLO v2 and v3: boxes from grid cells, the best without overlaps.
 *
 * ncnn's output has as many rows as there are detections. The graph's shapes are fixed, so here it
 * has one for every box of every cell, as q8_write_detections() fills them. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/detection.h"
#include "ops/rows.h"

typedef struct yolo_attr {
    int num_class;
    int num_box;
    float confidence_threshold, nms_threshold;
    q8_floats biases; /* width and height of each anchor */
    /* v3 only */
    q8_floats mask;   /* which anchors: num_box numbers for each input */
    q8_floats scales; /* of each input: pixels of the picture per cell */
} yolo_attr;

#define COMMON_FIELDS                                                                              \
    Q8_FIELD_INT(yolo_attr, num_class, 0, 20), Q8_FIELD_INT(yolo_attr, num_box, 1, 5),             \
        Q8_FIELD_FLOAT(yolo_attr, confidence_threshold, 2, 0.01f),                                 \
        Q8_FIELD_FLOAT(yolo_attr, nms_threshold, 3, 0.45f), Q8_FIELD_FLOATS(yolo_attr, biases, 4)

static const q8_field v2_fields[] = {COMMON_FIELDS};

static const q8_field v3_fields[] = {
    COMMON_FIELDS,
    Q8_FIELD_FLOATS(yolo_attr, mask, 5),
    Q8_FIELD_FLOATS(yolo_attr, scales, 6),
};

/* Values of a box: x, y, width, height, objectness, then one per class. */
enum { FIRST_CLASS = 5, MAX_CLASSES = 1 << 20, MAX_BOXES = 1 << 10 };

static bool is_v3(const q8_node *node)
{
    return node->op == &q8_op_yolov3detectionoutput;
}

/* --- shapes -------------------------------------------------------------------------------- */

static q8_code check_v3(const q8_node *node, q8_err *err)
{
    const yolo_attr *a = node->attr;
    if (a->mask.n != a->num_box * node->n_in || a->scales.n < node->n_in)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d mask values and %d anchor scales for %d inputs of %d boxes", a->mask.n,
                       a->scales.n, node->n_in, a->num_box);
    for (int i = 0; i < a->mask.n; i++)
        if (!(a->mask.v[i] >= 0 && a->mask.v[i] < (float)(a->biases.n / 2)))
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "mask %g, but there are %d anchors", (double)a->mask.v[i],
                           a->biases.n / 2);
    for (int i = 0; i < node->n_in; i++)
        if (!(a->scales.v[i] >= 1 && a->scales.v[i] <= Q8_MAX_EXTENT))
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "anchor scale %g",
                           (double)a->scales.v[i]);
    return Q8_OK;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const yolo_attr *a = node->attr;
    if (a->num_class < 1 || a->num_class > MAX_CLASSES || a->num_box < 1 || a->num_box > MAX_BOXES)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d boxes of %d classes", a->num_box,
                       a->num_class);
    if (!is_v3(node) && a->biases.n < 2 * a->num_box)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d biases, but %d boxes need a width and a height each", a->biases.n,
                       a->num_box);
    q8_code code = is_v3(node) ? check_v3(node, err) : Q8_OK;
    long long boxes = 0;
    for (int i = 0; i < node->n_in && !code; i++) {
        code = q8_node_rank(node, i, &in[i], 3, err);
        if (!code && in[i].dim[0] != (long long)a->num_box * (FIRST_CLASS + a->num_class))
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "input %d has %d channels, but %d boxes of %d classes take %lld", i,
                           in[i].dim[0], a->num_box, a->num_class,
                           (long long)a->num_box * (FIRST_CLASS + a->num_class));
        if (!code)
            boxes += (long long)a->num_box * (long long)q8_shape_spatial(&in[i]);
    }
    if (code)
        return code;
    if (boxes > (long long)Q8_MAX_ELEMENTS / Q8_DETECTION_ROW)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%lld boxes of %d values; " Q8_LIMIT,
                       boxes, Q8_DETECTION_ROW, Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    out[0] = (q8_shape){2, {(int)boxes, Q8_DETECTION_ROW}};
    return Q8_OK;
}

/* --- forward ------------------------------------------------------------------------------- */

/* A box's values in one cell: value k is at[k * plane]. */
struct cell {
    const float *at;
    size_t plane;
    int x, y;
};

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static int best_class(const struct cell *c, int num_class)
{
    int best = 0;
    for (int k = 1; k < num_class; k++)
        if (c->at[(size_t)(FIRST_CLASS + k) * c->plane] >
            c->at[(size_t)(FIRST_CLASS + best) * c->plane])
            best = k;
    return best;
}

static float class_value(const struct cell *c, int label)
{
    return c->at[(size_t)(FIRST_CLASS + label) * c->plane];
}

/* v2: objectness times the class's share of a softmax. */
static float confidence_v2(const struct cell *c, int label, int num_class)
{
    const float largest = class_value(c, label);
    double sum = 0;
    for (int k = 0; k < num_class; k++)
        sum += expf(class_value(c, k) - largest);
    return sigmoid(c->at[4 * c->plane]) * (float)(1 / sum);
}

/* v3 as ncnn computes it; the product of two sigmoids, which was meant, has one bracket elsewhere.
 */
static float confidence_v3(const struct cell *c, int label)
{
    const float object = expf(-c->at[4 * c->plane]), class = expf(-class_value(c, label));
    return 1 / (1 + object * (1 + class));
}

/* `bias`: the anchor's size; `grid`: what it is relative to. */
static q8_box cell_box(const struct cell *c, const q8_shape *in, const float *bias, float grid_w,
                       float grid_h)
{
    const float x = ((float)c->x + sigmoid(c->at[0])) / (float)in->dim[2];
    const float y = ((float)c->y + sigmoid(c->at[c->plane])) / (float)in->dim[1];
    const float w = expf(c->at[2 * c->plane]) * bias[0] / grid_w;
    const float h = expf(c->at[3 * c->plane]) * bias[1] / grid_h;
    return (q8_box){x - w * 0.5f, y - h * 0.5f, x + w * 0.5f, y + h * 0.5f};
}

/* The boxes of one input that are confident enough, after the `n` that are there. */
static size_t find(const q8_forward *f, int input, q8_detection *found, size_t n)
{
    const yolo_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[input];
    const bool v3 = is_v3(f->node);
    const float scale = v3 ? a->scales.v[input] : 1;
    const float grid_w = floorf(scale * (float)in->dim[2]);
    const float grid_h = floorf(scale * (float)in->dim[1]);
    struct cell c = {.plane = q8_shape_spatial(in)};
    for (int b = 0; b < a->num_box; b++) {
        const int anchor = v3 ? (int)a->mask.v[input * a->num_box + b] : b;
        for (size_t i = 0; i < c.plane; i++) {
            c.at = f->in[input] + (size_t)b * (size_t)(FIRST_CLASS + a->num_class) * c.plane + i;
            c.x = (int)(i % (size_t)in->dim[2]);
            c.y = (int)(i / (size_t)in->dim[2]);
            const int label = best_class(&c, a->num_class);
            const float score =
                v3 ? confidence_v3(&c, label) : confidence_v2(&c, label, a->num_class);
            if (!(score >= a->confidence_threshold))
                continue;
            found[n] = (q8_detection){
                .box = cell_box(&c, in, a->biases.v + 2 * anchor, grid_w, grid_h),
                .score = score,
                .label = label + 1, /* 0 is the background, as in SSD */
                .origin = (int)n,
            };
            n++;
        }
    }
    return n;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const yolo_attr *a = f->node->attr;
    const size_t rows = (size_t)f->out_shape[0].dim[0];
    q8_detection *found = malloc(rows * sizeof(*found));
    if (!found)
        return q8_fail_nomem(err);
    size_t n = 0;
    for (int i = 0; i < f->node->n_in; i++)
        n = find(f, i, found, n);
    q8_sort_detections(found, n);
    n = q8_drop_overlaps(found, n, a->nms_threshold);
    q8_write_detections(found, n, f->out[0], rows);
    free(found);
    return Q8_OK;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

static q8_code check_bottoms(q8_caffe_import *im, const void *p, int num_box, int num_class)
{
    const long long channels = (long long)num_box * (FIRST_CLASS + num_class);
    for (int i = 0; i < im->n_in; i++)
        if (im->in_shape[i].rank != 3 || im->in_shape[i].dim[0] != channels)
            return q8_im_fail(im, Q8_EMODEL, p, "num_box",
                              "%d boxes of 5 values and %d classes take %lld channels, which "
                              "bottom %d does not have",
                              num_box, num_class, channels, i);
    return Q8_OK;
}

static q8_code read_v2(q8_caffe_import *im)
{
    const Caffe__YoloDetectionOutputParameter *p = im->param->yolo_detection_output_param;
    yolo_attr a = {0};
    q8_code code;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "yolo_detection_output_param missing");
    if ((code = q8_read_uint(im, p, "num_classes", p->num_classes, 1, &a.num_class)) ||
        (code = q8_read_uint(im, p, "num_box", p->num_box, 1, &a.num_box)) ||
        (code = check_bottoms(im, p, a.num_box, a.num_class)))
        return code;
    if (p->coords != 4)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "coords",
                          "only boxes of 4 coords are supported: ncnn has no other");
    if (p->n_biases < 2 * (size_t)a.num_box || p->n_biases > 2 * MAX_BOXES)
        return q8_im_fail(im, Q8_EMODEL, p, "biases",
                          "%zu biases, but %d boxes need a width and a height each", p->n_biases,
                          a.num_box);
    q8_node *node = q8_im_node(im, &q8_op_yolodetectionoutput);
    if (!node)
        return q8_im_failed(im);
    a.confidence_threshold = p->confidence_threshold;
    a.nms_threshold = p->nms_threshold;
    a.biases = q8_im_floats(im, p->biases, (int)p->n_biases);
    *(yolo_attr *)node->attr = a;
    return a.biases.v ? Q8_OK : q8_im_failed(im);
}

/* A list of whole numbers as ncnn keeps it. */
static q8_floats float_list(q8_caffe_import *im, const uint32_t *v, size_t n)
{
    float *list = q8_arena_array(im->arena, n + 1, sizeof(*list));
    for (size_t i = 0; i < n && list; i++)
        list[i] = (float)v[i];
    return (q8_floats){(int)n, list};
}

static q8_code check_lists(q8_caffe_import *im, const Caffe__Yolov3DetectionOutputParameter *p,
                           int num_box)
{
    if (p->has_mask_group_num && p->mask_group_num != (uint32_t)im->n_in)
        return q8_im_fail(im, Q8_EMODEL, p, "mask_group_num", "mask_group_num %u for %d bottoms",
                          (unsigned)p->mask_group_num, im->n_in);
    if (p->n_mask != (size_t)num_box * (size_t)im->n_in)
        return q8_im_fail(im, Q8_EMODEL, p, "mask", "%zu masks for %d bottoms of %d boxes",
                          p->n_mask, im->n_in, num_box);
    if (p->n_anchors_scale != (size_t)im->n_in)
        return q8_im_fail(im, Q8_EMODEL, p, "anchors_scale", "%zu anchor scales for %d bottoms",
                          p->n_anchors_scale, im->n_in);
    if (p->n_biases % 2 || p->n_biases > 2 * MAX_BOXES)
        return q8_im_fail(im, Q8_EMODEL, p, "biases",
                          "%zu biases are not pairs of width and height", p->n_biases);
    for (size_t i = 0; i < p->n_mask; i++)
        if (p->mask[i] >= p->n_biases / 2)
            return q8_im_fail(im, Q8_EMODEL, p, "mask", "mask %u, but there are %zu anchors",
                              (unsigned)p->mask[i], p->n_biases / 2);
    for (size_t i = 0; i < p->n_anchors_scale; i++)
        if (p->anchors_scale[i] < 1 || p->anchors_scale[i] > Q8_MAX_EXTENT)
            return q8_im_fail(im, Q8_EMODEL, p, "anchors_scale", "anchors_scale %u",
                              (unsigned)p->anchors_scale[i]);
    return Q8_OK;
}

static q8_code read_v3(q8_caffe_import *im)
{
    const Caffe__Yolov3DetectionOutputParameter *p = im->param->yolov3_detection_output_param;
    yolo_attr a = {0};
    q8_code code;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "yolov3_detection_output_param missing");
    if ((code = q8_read_uint(im, p, "num_classes", p->num_classes, 1, &a.num_class)) ||
        (code = q8_read_uint(im, p, "num_box", p->num_box, 1, &a.num_box)) ||
        (code = check_bottoms(im, p, a.num_box, a.num_class)) ||
        (code = check_lists(im, p, a.num_box)))
        return code;
    q8_node *node = q8_im_node(im, &q8_op_yolov3detectionoutput);
    if (!node)
        return q8_im_failed(im);
    a.confidence_threshold = p->confidence_threshold;
    a.nms_threshold = p->nms_threshold;
    a.biases = q8_im_floats(im, p->biases, (int)p->n_biases);
    a.mask = float_list(im, p->mask, p->n_mask);
    a.scales = float_list(im, p->anchors_scale, p->n_anchors_scale);
    *(yolo_attr *)node->attr = a;
    return a.biases.v && a.mask.v && a.scales.v ? Q8_OK : q8_im_failed(im);
}

const q8_op q8_op_yolodetectionoutput = {
    .type = "YoloDetectionOutput",
    .caffe_types = (const char *const[]){"YoloDetectionOutput", NULL},
    .min_in = 1,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(yolo_attr),
    .fields = v2_fields,
    .n_fields = sizeof(v2_fields) / sizeof(v2_fields[0]),
    .from_caffe = read_v2,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits = "4 `coords`; as many pairs of `biases` as boxes. `side` is not read: the size is the "
              "input's.",
};

const q8_op q8_op_yolov3detectionoutput = {
    .type = "Yolov3DetectionOutput",
    .caffe_types = (const char *const[]){"Yolov3DetectionOutput", NULL},
    .min_in = 1,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(yolo_attr),
    .fields = v3_fields,
    .n_fields = sizeof(v3_fields) / sizeof(v3_fields[0]),
    .from_caffe = read_v3,
    .infer = infer,
    .forward = forward,
    .needs_rank3 = true,
    .limits =
        "`mask`, `anchors_scale` and `mask_group_num` for each input. Of a box ncnn reports the "
        "best class only, Caffe each above the threshold; ncnn's score is 1 / (1 + e^-object "
        "(1 + e^-class)), Caffe's the product of two sigmoids.",
};
