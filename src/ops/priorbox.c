/* SSD's default boxes: row 0 of the output holds their corners, row 1 their variances. */
#include <math.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"

typedef struct priorbox_attr {
    q8_floats min_sizes, max_sizes; /**< max_sizes: empty or as many */
    q8_floats aspect_ratios;        /**< without 1, which every min size has */
    float variance[4];
    int flip; /**< each ratio r gives 1/r too */
    int clip;
    int image_w, image_h; /**< FROM_INPUT: of input 1 */
    float step_w, step_h; /**< FROM_INPUT: image size / size of input 0 */
    float offset;
    int step_mmdetection, center_mmdetection; /**< must be 0 */
} priorbox_attr;

enum { FROM_INPUT = -233, MAX_LIST = 4096 };

static const q8_field fields[] = {
    Q8_FIELD_FLOATS(priorbox_attr, min_sizes, 0),
    Q8_FIELD_FLOATS(priorbox_attr, max_sizes, 1),
    Q8_FIELD_FLOATS(priorbox_attr, aspect_ratios, 2),
    Q8_FIELD_FLOAT(priorbox_attr, variance[0], 3, 0.1f),
    Q8_FIELD_FLOAT(priorbox_attr, variance[1], 4, 0.1f),
    Q8_FIELD_FLOAT(priorbox_attr, variance[2], 5, 0.2f),
    Q8_FIELD_FLOAT(priorbox_attr, variance[3], 6, 0.2f),
    Q8_FIELD_INT(priorbox_attr, flip, 7, 1),
    Q8_FIELD_INT(priorbox_attr, clip, 8, 0),
    Q8_FIELD_INT(priorbox_attr, image_w, 9, 0),
    Q8_FIELD_INT(priorbox_attr, image_h, 10, 0),
    Q8_FIELD_FLOAT(priorbox_attr, step_w, 11, FROM_INPUT),
    Q8_FIELD_FLOAT(priorbox_attr, step_h, 12, FROM_INPUT),
    Q8_FIELD_FLOAT(priorbox_attr, offset, 13, 0),
    Q8_FIELD_INT(priorbox_attr, step_mmdetection, 14, 0),
    Q8_FIELD_INT(priorbox_attr, center_mmdetection, 15, 0),
};

/* Boxes at one position, given the numbers of sizes and ratios. */
static long long boxes_per_position(const priorbox_attr *a)
{
    const long long ratios = (long long)a->aspect_ratios.n * (a->flip ? 2 : 1);
    return a->min_sizes.n * (1 + ratios) + a->max_sizes.n;
}

static bool all_positive(const q8_floats *list)
{
    for (int i = 0; i < list->n; i++)
        if (!(list->v[i] > 0 && isfinite(list->v[i])))
            return false;
    return list->n <= MAX_LIST;
}

static bool is_step(float step)
{
    return step == FROM_INPUT || (step > 0 && isfinite(step));
}

static bool is_image(int size)
{
    return size == FROM_INPUT || size > 0;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const priorbox_attr *a = node->attr;
    q8_code code;
    if ((code = q8_node_rank(node, 0, &in[0], 3, err)) ||
        (code = q8_node_rank(node, 1, &in[1], 3, err)))
        return code;
    if (a->step_mmdetection || a->center_mmdetection)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "boxes after mmdetection are not supported");
    if (a->min_sizes.n < 1 || !all_positive(&a->min_sizes) || !all_positive(&a->max_sizes) ||
        !all_positive(&a->aspect_ratios))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "sizes and aspect ratios must be positive, with at least one min size");
    if (a->max_sizes.n && a->max_sizes.n != a->min_sizes.n)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d min sizes but %d max sizes",
                       a->min_sizes.n, a->max_sizes.n);
    if (!is_image(a->image_w) || !is_image(a->image_h) || !is_step(a->step_w) ||
        !is_step(a->step_h) || !isfinite(a->offset))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "the image's size and the step must be positive");
    /* At most 2^30 positions, 2^26 boxes at each. */
    const long long width = 4LL * in[0].dim[1] * in[0].dim[2] * boxes_per_position(a);
    if (width > (long long)Q8_MAX_ELEMENTS / 2)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%lld values of boxes, twice; " Q8_LIMIT, width,
                       Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    out[0] = (q8_shape){2, {2, (int)width}};
    return Q8_OK;
}

/* --- forward ------------------------------------------------------------------------------- */

/* A position on the picture, and the picture's size. */
struct place {
    double x, y, image_w, image_h;
};

static float *put_box(float *box, const struct place *at, double w, double h)
{
    box[0] = (float)((at->x - w / 2) / at->image_w);
    box[1] = (float)((at->y - h / 2) / at->image_h);
    box[2] = (float)((at->x + w / 2) / at->image_w);
    box[3] = (float)((at->y + h / 2) / at->image_h);
    return box + 4;
}

static float *put_boxes(float *box, const struct place *at, const priorbox_attr *a)
{
    for (int i = 0; i < a->min_sizes.n; i++) {
        const double min = a->min_sizes.v[i];
        box = put_box(box, at, min, min);
        if (a->max_sizes.n) {
            const double size = sqrt(min * a->max_sizes.v[i]);
            box = put_box(box, at, size, size);
        }
        for (int k = 0; k < a->aspect_ratios.n; k++) {
            const double root = sqrt(a->aspect_ratios.v[k]);
            box = put_box(box, at, min * root, min / root);
            if (a->flip)
                box = put_box(box, at, min / root, min * root);
        }
    }
    return box;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const priorbox_attr *a = f->node->attr;
    const int h = f->in_shape[0].dim[1], w = f->in_shape[0].dim[2];
    const int width = f->out_shape[0].dim[1];
    struct place at = {
        .image_w = a->image_w == FROM_INPUT ? f->in_shape[1].dim[2] : a->image_w,
        .image_h = a->image_h == FROM_INPUT ? f->in_shape[1].dim[1] : a->image_h,
    };
    const double step_w = a->step_w == FROM_INPUT ? at.image_w / w : a->step_w;
    const double step_h = a->step_h == FROM_INPUT ? at.image_h / h : a->step_h;
    float *box = f->out[0];
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            at.x = (j + (double)a->offset) * step_w;
            at.y = (i + (double)a->offset) * step_h;
            box = put_boxes(box, &at, a);
        }
    for (int i = 0; i < width; i++) {
        float *x = &f->out[0][i];
        if (a->clip)
            *x = *x < 0 ? 0 : *x > 1 ? 1 : *x;
        f->out[0][width + i] = a->variance[i % 4];
    }
    return Q8_OK;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

static bool same_ratio(float a, float b)
{
    return fabsf(a - b) < 1e-6f;
}

/* SSD starts from the ratio 1, adds each other one and, with flip, its inverse, and skips what it
 * has already. ncnn has 1 built in and flips each of its list: what is kept here. */
static q8_code read_ratios(q8_caffe_import *im, const Caffe__PriorBoxParameter *p, q8_floats *list)
{
    float *ratio = q8_arena_array(im->arena, p->n_aspect_ratio + 1, sizeof(*ratio));
    if (!ratio)
        return q8_fail_nomem(im->err);
    int n = 0;
    for (size_t i = 0; i < p->n_aspect_ratio; i++) {
        const float r = p->aspect_ratio[i];
        if (!(r > 0))
            return q8_im_fail(im, Q8_EMODEL, p, "aspect_ratio", "aspect_ratio %g", (double)r);
        bool known = same_ratio(r, 1);
        for (int k = 0; k < n && !known; k++)
            known = same_ratio(r, ratio[k]) || (p->flip && same_ratio(r, 1 / ratio[k]));
        if (!known)
            ratio[n++] = r;
    }
    *list = (q8_floats){n, ratio};
    return Q8_OK;
}

static q8_code read_sizes(q8_caffe_import *im, const Caffe__PriorBoxParameter *p, priorbox_attr *a)
{
    if (p->n_min_size == 0)
        return q8_im_fail(im, Q8_EMODEL, p, "min_size", "min_size missing");
    if (p->n_max_size && p->n_max_size != p->n_min_size)
        return q8_im_fail(im, Q8_EMODEL, p, "max_size", "%zu min sizes but %zu max sizes",
                          p->n_min_size, p->n_max_size);
    if (p->n_min_size > MAX_LIST || p->n_aspect_ratio > MAX_LIST)
        return q8_im_fail(im, Q8_EMODEL, p, "min_size", "too many sizes or aspect ratios");
    for (size_t i = 0; i < p->n_min_size; i++) {
        if (!(p->min_size[i] > 0))
            return q8_im_fail(im, Q8_EMODEL, p, "min_size", "min_size %g", (double)p->min_size[i]);
        if (p->n_max_size && !(p->max_size[i] > p->min_size[i]))
            return q8_im_fail(im, Q8_EMODEL, p, "max_size", "max_size %g is not above min_size %g",
                              (double)p->max_size[i], (double)p->min_size[i]);
    }
    a->min_sizes = q8_im_floats(im, p->min_size, (int)p->n_min_size);
    a->max_sizes = q8_im_floats(im, p->max_size, (int)p->n_max_size);
    if (!a->min_sizes.v || !a->max_sizes.v)
        return q8_im_failed(im);
    return read_ratios(im, p, &a->aspect_ratios);
}

static q8_code read_variances(q8_caffe_import *im, const Caffe__PriorBoxParameter *p,
                              float *variance)
{
    if (p->n_variance > 1 && p->n_variance != 4)
        return q8_im_fail(im, Q8_EMODEL, p, "variance", "%zu variances, but there must be 1 or 4",
                          p->n_variance);
    for (size_t i = 0; i < 4; i++)
        variance[i] = p->n_variance == 0 ? 0.1f : p->variance[p->n_variance == 1 ? 0 : i];
    return Q8_OK;
}

/* A picture size, written once or as height and width; 0 stands for the input's. */
static q8_code read_image(q8_caffe_import *im, const Caffe__PriorBoxParameter *p, priorbox_attr *a)
{
    if (p->has_img_size && (p->has_img_h || p->has_img_w))
        return q8_im_fail(im, Q8_EMODEL, p, "img_size", "both img_size and img_h or img_w");
    int w, h;
    q8_code code;
    if ((code = q8_read_uint(im, p, p->has_img_size ? "img_size" : "img_w",
                             p->has_img_size ? p->img_size : p->img_w, 0, &w)) ||
        (code = q8_read_uint(im, p, p->has_img_size ? "img_size" : "img_h",
                             p->has_img_size ? p->img_size : p->img_h, 0, &h)))
        return code;
    a->image_w = w && h ? w : FROM_INPUT;
    a->image_h = w && h ? h : FROM_INPUT;
    return Q8_OK;
}

static q8_code read_steps(q8_caffe_import *im, const Caffe__PriorBoxParameter *p, priorbox_attr *a)
{
    if (p->has_step && (p->has_step_h || p->has_step_w))
        return q8_im_fail(im, Q8_EMODEL, p, "step", "both step and step_h or step_w");
    const float w = p->has_step ? p->step : p->step_w, h = p->has_step ? p->step : p->step_h;
    const bool given = w != 0 && h != 0;
    if (given && !(w > 0 && h > 0 && isfinite(w) && isfinite(h)))
        return q8_im_fail(im, Q8_EMODEL, p, p->has_step ? "step" : "step_w",
                          "a step must be positive");
    a->step_w = given ? w : FROM_INPUT;
    a->step_h = given ? h : FROM_INPUT;
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__PriorBoxParameter *p = im->param->prior_box_param;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "prior_box_param missing");
    q8_node *node = q8_im_node(im, &q8_op_priorbox);
    if (!node)
        return q8_im_failed(im);
    priorbox_attr *a = node->attr;
    q8_code code;
    if ((code = read_sizes(im, p, a)) || (code = read_variances(im, p, a->variance)) ||
        (code = read_image(im, p, a)) || (code = read_steps(im, p, a)))
        return code;
    a->flip = p->flip;
    a->clip = p->clip;
    a->offset = p->offset;
    return Q8_OK;
}

const q8_op q8_op_priorbox = {
    .type = "PriorBox",
    .caffe_types = (const char *const[]){"PriorBox", NULL},
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(priorbox_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .shapes_only = true,
    .needs_rank3 = true,
    .limits = "`max_size` as often as `min_size`, 1 or 4 variances. Refused: both `step` and "
              "`step_h` or `step_w`, both `img_size` and `img_h` or `img_w`.",
};
