/* The same elements in another shape. */
#include "ops/simple.h"

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/sequence.h"

enum { NO_BATCH = 233, MAX_OUT_RANK = 3 };

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_reshape_attr, w, 0, Q8_RESHAPE_NONE),
    Q8_FIELD_INT(q8_reshape_attr, h, 1, Q8_RESHAPE_NONE),
    Q8_FIELD_INT(q8_reshape_attr, c, 2, Q8_RESHAPE_NONE),
    Q8_FIELD_INT(q8_reshape_attr, permute, 3, 0),
    Q8_FIELD_INT(q8_reshape_attr, d, 11, Q8_RESHAPE_NONE),
    Q8_FIELD_INT(q8_reshape_attr, batch_in, 12, NO_BATCH),
    Q8_FIELD_INT(q8_reshape_attr, batch_out, 13, NO_BATCH),
};

q8_reshape_attr q8_reshape_dims(int rank, const int *dim)
{
    return (q8_reshape_attr){
        .w = dim[rank - 1],
        .h = rank > 1 ? dim[rank - 2] : Q8_RESHAPE_NONE,
        .c = rank > 2 ? dim[rank - 3] : Q8_RESHAPE_NONE,
        .d = Q8_RESHAPE_NONE,
        .batch_in = NO_BATCH,
        .batch_out = NO_BATCH,
    };
}

q8_reshape_attr q8_reshape_to(const q8_shape *shape)
{
    return q8_reshape_dims(shape->rank, shape->dim);
}

/* --- infer --------------------------------------------------------------------------------- */

/* The dims asked for, outermost first, with zeros replaced. 0: there are none. */
static int asked_dims(const q8_reshape_attr *a, const q8_shape *in, int *dim)
{
    const int asked[] = {a->c, a->h, a->w};
    const int rank = a->w == Q8_RESHAPE_NONE   ? 0
                     : a->h == Q8_RESHAPE_NONE ? 1
                     : a->c == Q8_RESHAPE_NONE ? 2
                                               : 3;
    for (int i = 0; i < rank; i++) {
        const int from_end = rank - i; /* 1: w, 2: h, 3: c */
        dim[i] = asked[MAX_OUT_RANK - from_end];
        if (dim[i] == 0)
            dim[i] = in->rank >= from_end ? in->dim[in->rank - from_end] : 1;
    }
    return rank;
}

static bool copies_a_dim(const q8_reshape_attr *a)
{
    return a->w == 0 || a->h == 0 || a->c == 0;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_reshape_attr *a = node->attr;
    if (in->rank > 3 || a->d != Q8_RESHAPE_NONE)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "reshaping of more than 3 dimensions is not supported");
    if (a->permute || a->batch_in != NO_BATCH || a->batch_out != NO_BATCH)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "reshaping that permutes or moves the batch is not supported");
    /* After global pooling ncnn has {c} here, whose w and c are not those of {c,1,1}. */
    if (copies_a_dim(a) && in->rank == 3 && in->dim[1] == 1 && in->dim[2] == 1)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "copying a dimension of a 1x1 input is not supported");
    int dim[MAX_OUT_RANK], inferred = -1;
    const int rank = asked_dims(a, in, dim);
    const long long total = (long long)q8_shape_count(in);
    long long known = 1;
    for (int i = 0; i < rank; i++) {
        if (dim[i] == -1 && inferred < 0) {
            inferred = i;
            continue;
        }
        if (dim[i] < 1 || known > total)
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "cannot reshape to %d", dim[i]);
        known *= dim[i]; /* at most 2^30 * 2^31 */
    }
    if (inferred >= 0 && known <= total && total % known == 0) {
        dim[inferred] = (int)(total / known);
        known = total;
    }
    char text[64];
    if (rank == 0 || known != total)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "an input of %s cannot be reshaped to %lld elements",
                       q8_shape_text(in, text), known);
    out[0] = (q8_shape){.rank = rank};
    for (int i = 0; i < rank; i++)
        out[0].dim[i] = dim[i];
    return Q8_OK;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

enum { BATCH = -2, MAX_CAFFE_RANK = Q8_MAX_RANK + 1 };

/* The new shape as Caffe sees it: with the batch, and -1 for at most one dim. */
struct caffe_shape {
    int rank;
    int batch; /* the batch's axis: 0, of a sequence 1 */
    long long dim[MAX_CAFFE_RANK];
};

static long long caffe_dim(const q8_caffe_import *im, int axis)
{
    const int batch = q8_is_sequence(im, im->param->bottom[0]) ? 1 : 0;
    return axis == batch ? BATCH : im->in_shape[0].dim[axis - (axis > batch)];
}

/* The axes [*from, *to) of the input that the given dims replace. */
static q8_code replaced_axes(q8_caffe_import *im, const Caffe__ReshapeParameter *p, int *from,
                             int *to)
{
    const int rank = im->in_shape[0].rank + 1;
    *from = p->axis >= 0 ? p->axis : p->axis + rank + 1;
    if (*from < 0 || *from > rank)
        return q8_im_fail(im, Q8_EMODEL, p, "axis",
                          "axis %d is out of range: the input has %d axes", p->axis, rank);
    if (p->num_axes < -1 || p->num_axes > rank - *from)
        return q8_im_fail(im, Q8_EMODEL, p, "num_axes", "num_axes %d is out of range", p->num_axes);
    *to = p->num_axes == -1 ? rank : *from + p->num_axes;
    return Q8_OK;
}

static q8_code new_dim(q8_caffe_import *im, const Caffe__ReshapeParameter *p, int axis,
                       long long value, long long *dim)
{
    const q8_shape *in = &im->in_shape[0];
    if (value < -1 || value > (long long)Q8_MAX_ELEMENTS)
        return q8_im_fail(im, Q8_EMODEL, p, "shape", "cannot reshape to %lld", value);
    if (value == 0 && axis > in->rank)
        return q8_im_fail(im, Q8_EMODEL, p, "shape",
                          "dim 0 copies axis %d, which the input does not have", axis);
    *dim = value == 0 ? caffe_dim(im, axis) : value;
    return Q8_OK;
}

static q8_code build_shape(q8_caffe_import *im, const Caffe__ReshapeParameter *p,
                           struct caffe_shape *s)
{
    const q8_shape *in = &im->in_shape[0];
    const size_t n_new = p->shape ? p->shape->n_dim : 0;
    int from = 0, to = 0;
    q8_code code = replaced_axes(im, p, &from, &to);
    if (code)
        return code;
    const int kept = in->rank + 1 - (to - from);
    if (n_new > MAX_CAFFE_RANK || kept + (int)n_new > MAX_OUT_RANK + 1 || kept + (int)n_new < 2)
        return q8_im_fail(
            im, Q8_EUNSUPPORTED, p, "shape",
            "reshaping to %zu dimensions is not supported: 2 to 4 are, with the batch",
            (size_t)kept + n_new);
    for (int i = 0; i < from; i++)
        s->dim[s->rank++] = caffe_dim(im, i);
    for (int i = 0; i < (int)n_new; i++)
        if ((code = new_dim(im, p, from + i, p->shape->dim[i], &s->dim[s->rank++])))
            return code;
    for (int i = to; i <= in->rank; i++)
        s->dim[s->rank++] = caffe_dim(im, i);
    s->batch = im->n_out > 0 && q8_is_sequence(im, im->param->top[0]) ? 1 : 0;
    return Q8_OK;
}

/* Whether the batch stays what it is: its dim is the batch, or the others hold a whole picture. */
static bool keeps_batch(const struct caffe_shape *s, long long total)
{
    long long known = 1;
    bool inferred = false;
    for (int i = 0; i < s->rank; i++) {
        if (i == s->batch)
            continue;
        if (s->dim[i] == BATCH)
            return false;
        inferred |= s->dim[i] == -1;
        if (s->dim[i] != -1 && known <= total)
            known *= s->dim[i];
    }
    /* A deploy file may spell a batch of 1 out. */
    const long long batch = s->dim[s->batch];
    return batch == BATCH || (inferred ? batch == 1 : known == total);
}

/* infer() checks it too, without knowing where the shape was written. */
static q8_code check_count(q8_caffe_import *im, const Caffe__ReshapeParameter *p, int rank,
                           const int *dim)
{
    const long long total = (long long)q8_shape_count(&im->in_shape[0]);
    long long known = 1;
    bool inferred = false;
    char text[64];
    for (int i = 0; i < rank; i++) {
        inferred |= dim[i] == -1;
        if (dim[i] > 0 && known <= total)
            known *= dim[i]; /* at most 2^30 * 2^30 */
    }
    if (inferred ? total % known == 0 : total == known)
        return Q8_OK;
    q8_shape_text(&im->in_shape[0], text);
    return inferred ? q8_im_fail(im, Q8_EMODEL, p, "shape",
                                 "the input's %lld elements (%s) cannot be divided by %lld, the "
                                 "product of the dims beside -1",
                                 total, text, known)
                    : q8_im_fail(im, Q8_EMODEL, p, "shape",
                                 "the input has %lld elements (%s), the new shape %lld", total,
                                 text, known);
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__ReshapeParameter *p = im->param->reshape_param;
    if (!p)
        return q8_im_fail(im, Q8_EMODEL, NULL, NULL, "reshape_param missing");
    struct caffe_shape s = {0};
    q8_code code = q8_read_one_bottom(im);
    if (code || (code = build_shape(im, p, &s)))
        return code;
    if (!keeps_batch(&s, (long long)q8_shape_count(&im->in_shape[0])))
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "shape",
                          "reshaping that moves elements between pictures of the batch is not "
                          "supported; %s",
                          s.batch ? "a sequence is STEPS x 1 x VALUES"
                                  : "start the shape with dim: 0");
    int dim[MAX_OUT_RANK] = {0}, n_inferred = 0;
    for (int i = 0, k = 0; i < s.rank; i++)
        if (i != s.batch) {
            dim[k] = (int)s.dim[i];
            n_inferred += dim[k++] == -1;
        }
    if (n_inferred > 1)
        return q8_im_fail(im, Q8_EMODEL, p, "shape", "more than one dim is -1");
    if ((code = check_count(im, p, s.rank - 1, dim)))
        return code;
    q8_node *node = q8_im_node(im, &q8_op_reshape);
    if (!node)
        return q8_im_failed(im);
    *(q8_reshape_attr *)node->attr = q8_reshape_dims(s.rank - 1, dim);
    return Q8_OK;
}

const q8_op q8_op_reshape = {
    .type = "Reshape",
    .caffe_types = (const char *const[]){"Reshape", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_reshape_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = q8_copy_forward,
    .channels = q8_channels_move,
    .is_identity = q8_same_shape,
    .limits = "2 to 4 dims with the batch, which must stay what it is (0, or the batch spelt out). "
              "`axis` and `num_axes` are supported. Refused: more than one -1.",
};
