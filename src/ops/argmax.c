#include "ops/argmax.h"

#include "ops/broadcast_caffe.h"
#include "ops/caffe_read.h"
#include "ops/reduction.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

/* The tensor looked at, and along which of its dims. */
struct place {
    int tensor;
    q8_shape shape;
    int axis;
};

/* The maximum of a tensor like p's; `suffix` NULL: it is the layer's last node. */
static q8_code add_max(q8_caffe_import *im, const char *suffix, const struct place *p, int tensor,
                       int *out)
{
    q8_node *node = suffix ? q8_im_branch(im, &q8_op_reduction, suffix, 1, &tensor)
                           : q8_im_node_of(im, &q8_op_reduction, 1, &tensor);
    if (!node)
        return q8_im_failed(im);
    q8_reduction_attr *a = node->attr;
    *a = q8_reduction_of(im->arena, Q8_REDUCE_MAX, p->axis, p->axis + 1, true);
    *out = node->out[0];
    return a->axes.v ? Q8_OK : q8_im_failed(im);
}

/* 1 where the element is the maximum, else 0. */
static q8_code add_is_max(q8_caffe_import *im, const struct place *p, int max, int *out)
{
    int distance = -1;
    q8_code code = q8_add_binary(im, "distance", Q8_BINARY_SUB, p->tensor, max, &distance);
    q8_node *node = code ? NULL : q8_im_branch(im, &q8_op_threshold, "is_max", 1, &distance);
    if (!node)
        return q8_im_failed(im);
    ((q8_threshold_attr *)node->attr)->threshold = -1e-37F; /* the distance is 0 or below */
    *out = node->out[0];
    return Q8_OK;
}

/* 0, 1, 2, … along the axis. */
static q8_code add_numbers(q8_caffe_import *im, const struct place *p, int *out)
{
    const q8_shape shape = q8_operand_shape(&p->shape, p->axis, 1);
    float *number = q8_arena_array(im->arena, (size_t)shape.dim[p->axis], sizeof(*number));
    if (!number)
        return q8_fail_nomem(im->err);
    for (int i = 0; i < shape.dim[p->axis]; i++)
        number[i] = (float)i;
    return q8_add_constant(im, "numbers", &shape, number, out);
}

/* The largest number of an element that is the maximum: of equal ones Caffe takes the last too. */
static q8_code add_place(q8_caffe_import *im, const char *suffix, const struct place *p, int max,
                         int *out)
{
    int is_max = -1, numbers = -1, product = -1;
    q8_code code = add_is_max(im, p, max, &is_max);
    if (!code)
        code = add_numbers(im, p, &numbers);
    if (!code)
        code = q8_add_binary(im, "numbered", Q8_BINARY_MUL, is_max, numbers, &product);
    return code ? code : add_max(im, suffix, p, product, out);
}

static q8_code along_axis(q8_caffe_import *im, const struct place *p, bool value)
{
    int out = -1;
    q8_code code = add_max(im, value ? NULL : "max", p, p->tensor, &out);
    return code || value ? code : add_place(im, NULL, p, out, &out);
}

/* The place, and the value behind it, of all elements of the picture. */
static q8_code of_all(q8_caffe_import *im, bool value)
{
    const q8_shape *in = &im->in_shape[0];
    /* As many axes as the input, but with the batch at least three. */
    const q8_shape result = {in->rank > 2 ? in->rank : 2, {value ? 2 : 1, 1, 1}};
    struct place p = {.shape = {1, {(int)q8_shape_count(in)}}};
    int max = -1, both[2] = {-1, -1};
    const q8_node *flat = q8_im_branch(im, &q8_op_flatten, "flat", 1, im->in);
    if (!flat)
        return q8_im_failed(im);
    p.tensor = flat->out[0];
    q8_code code = add_max(im, "max", &p, p.tensor, &max);
    if (!code)
        code = add_place(im, "place", &p, max, &both[0]);
    if (code)
        return code;
    both[1] = max;
    if (value) {
        const q8_node *concat = q8_im_branch(im, &q8_op_concat, "both", 2, both);
        if (!concat)
            return q8_im_failed(im);
        both[0] = concat->out[0];
    }
    q8_node *node = q8_im_node_of(im, &q8_op_reshape, 1, both);
    if (!node)
        return q8_im_failed(im);
    *(q8_reshape_attr *)node->attr = q8_reshape_to(&result);
    return Q8_OK;
}

q8_code q8_argmax_from_caffe(q8_caffe_import *im)
{
    static const Caffe__ArgMaxParameter none = CAFFE__ARG_MAX_PARAMETER__INIT;
    const Caffe__ArgMaxParameter *message = im->param->argmax_param, *p = message ? message : &none;
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    if (p->top_k != 1)
        return q8_im_fail(im, Q8_EUNSUPPORTED, message, "top_k",
                          "ncnn can find only the largest element, not the top %u: remove the "
                          "layer and sort '%s' in your program",
                          (unsigned)p->top_k, im->param->bottom[0]);
    if (!p->has_axis)
        return of_all(im, p->out_max_val);
    struct place place = {.tensor = im->in[0], .shape = im->in_shape[0]};
    code = q8_im_axis(im, message, "axis", p->axis, &place.axis);
    return code ? code : along_axis(im, &place, p->out_max_val);
}
