/* One operation on each pair of elements of two tensors, or of a tensor and a number. */
#include "ops/binaryop.h"

#include <math.h>

#include "ops/affine.h"
#include "ops/broadcast_caffe.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_binaryop_attr, type, 0, 0),
    Q8_FIELD_INT(q8_binaryop_attr, with_scalar, 1, 0),
    Q8_FIELD_FLOAT(q8_binaryop_attr, b, 2, 0),
};

/* --- shapes --------------------------------------------------------------------------------- */

/* `shape` with as many dims as `other`. */
static q8_shape expand(const q8_shape *shape, const q8_shape *other)
{
    if (shape->rank >= other->rank)
        return *shape;
    q8_shape result = *shape;
    for (int i = shape->rank; i < other->rank; i++)
        result.dim[i] = 1;
    result.rank = other->rank;
    if (shape->rank == 1 && shape->dim[0] != other->dim[0]) {
        result.dim[0] = 1;
        result.dim[other->rank - 1] = shape->dim[0];
    }
    return result;
}

bool q8_broadcast(const q8_shape *a, const q8_shape *b, q8_shape *out)
{
    const q8_shape x = expand(a, b), y = expand(b, a);
    *out = x;
    for (int i = 0; i < x.rank; i++) {
        if (x.dim[i] != y.dim[i] && x.dim[i] != 1 && y.dim[i] != 1)
            return false;
        out->dim[i] = x.dim[i] > y.dim[i] ? x.dim[i] : y.dim[i];
    }
    return true;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_binaryop_attr *a = node->attr;
    char first[64], second[64];
    if (a->type < 0 || a->type >= Q8_BINARY_N_TYPES)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "operation %d is not supported", a->type);
    if (node->n_in != (a->with_scalar ? 1 : 2))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d inputs with with_scalar %d",
                       node->n_in, a->with_scalar);
    if (a->with_scalar)
        out[0] = in[0];
    else if (!q8_broadcast(&in[0], &in[1], &out[0]))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "the shapes %s and %s do not fit",
                       q8_shape_text(&in[0], first), q8_shape_text(&in[1], second));
    return Q8_OK;
}

/* --- forward -------------------------------------------------------------------------------- */

static float operate(int type, float x, float y)
{
    switch (type) {
    case Q8_BINARY_ADD:
        return x + y;
    case Q8_BINARY_SUB:
        return x - y;
    case Q8_BINARY_MUL:
        return x * y;
    case Q8_BINARY_DIV:
        return x / y;
    case Q8_BINARY_MAX:
        return x > y ? x : y;
    case Q8_BINARY_MIN:
        return x < y ? x : y;
    case Q8_BINARY_POW:
        return (float)pow(x, y);
    case Q8_BINARY_RSUB:
        return y - x;
    default:
        return y / x;
    }
}

void q8_broadcast_steps(const q8_shape *shape, const q8_shape *out, size_t step[Q8_MAX_RANK])
{
    const q8_shape s = expand(shape, out);
    size_t so_far = 1;
    for (int i = out->rank - 1; i >= 0; i--) {
        step[i] = s.dim[i] == 1 ? 0 : so_far;
        so_far *= (size_t)s.dim[i];
    }
}

static void forward_pairs(const q8_forward *f, int type)
{
    const q8_shape *out = &f->out_shape[0];
    size_t step[2][Q8_MAX_RANK];
    q8_broadcast_steps(&f->in_shape[0], out, step[0]);
    q8_broadcast_steps(&f->in_shape[1], out, step[1]);
    int at[Q8_MAX_RANK] = {0};
    size_t x = 0, y = 0;
    const size_t count = q8_shape_count(out);
    for (size_t k = 0; k < count; k++) {
        f->out[0][k] = operate(type, f->in[0][x], f->in[1][y]);
        for (int i = out->rank - 1; i >= 0; i--) { /* to the next element */
            x += step[0][i];
            y += step[1][i];
            if (++at[i] < out->dim[i])
                break;
            x -= step[0][i] * (size_t)at[i];
            y -= step[1][i] * (size_t)at[i];
            at[i] = 0;
        }
    }
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_binaryop_attr *a = f->node->attr;
    if (!a->with_scalar) {
        forward_pairs(f, a->type);
        return Q8_OK;
    }
    const size_t count = q8_shape_count(&f->in_shape[0]);
    for (size_t k = 0; k < count; k++)
        f->out[0][k] = operate(a->type, f->in[0][k], a->b);
    return Q8_OK;
}

/* --- traits --------------------------------------------------------------------------------- */

static void factors(const q8_node *node, int channel, double *a, double *b)
{
    const q8_binaryop_attr *attr = node->attr;
    (void)channel;
    *a = attr->type == Q8_BINARY_MUL    ? attr->b
         : attr->type == Q8_BINARY_DIV  ? 1.0 / attr->b
         : attr->type == Q8_BINARY_RSUB ? -1
                                        : 1;
    *b = attr->type == Q8_BINARY_ADD || attr->type == Q8_BINARY_RSUB ? attr->b
         : attr->type == Q8_BINARY_SUB                               ? -attr->b
                                                                     : 0;
}

static bool as_affine(const q8_node *node, int channels, float *a, float *b)
{
    const q8_binaryop_attr *attr = node->attr;
    const bool affine = attr->type == Q8_BINARY_ADD || attr->type == Q8_BINARY_SUB ||
                        attr->type == Q8_BINARY_MUL || attr->type == Q8_BINARY_DIV ||
                        attr->type == Q8_BINARY_RSUB;
    return attr->with_scalar && affine && q8_affine_fill(node, channels, factors, a, b);
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    const q8_binaryop_attr *a = node->attr;
    if (a->with_scalar)
        return a->type == Q8_BINARY_MUL || a->type == Q8_BINARY_DIV ? Q8_CHANNELS_LINEAR
                                                                    : Q8_CHANNELS_FIXED;
    if (in[0].dim[0] != in[1].dim[0]) /* one is spread over the other's channels */
        return Q8_CHANNELS_FIXED;
    switch (a->type) {
    case Q8_BINARY_ADD:
    case Q8_BINARY_SUB:
    case Q8_BINARY_RSUB:
        return Q8_CHANNELS_SUM;
    case Q8_BINARY_MAX:
        return Q8_CHANNELS_MAX;
    default:
        return Q8_CHANNELS_FIXED;
    }
}

/* SENet's layer: bottom 1, each channel times its number of bottom 0, plus bottom 2. */
static q8_code from_caffe(q8_caffe_import *im)
{
    if (im->n_in != 3)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "Axpy has 3 bottoms (scale, x, y), not %d", im->n_in);
    if (!q8_shape_equal(&im->in_shape[1], &im->in_shape[2])) {
        char x[64], y[64];
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                          "bottoms 1 and 2 have the shapes %s and %s, which should be the same",
                          q8_shape_text(&im->in_shape[1], x), q8_shape_text(&im->in_shape[2], y));
    }
    q8_operand scale;
    int product;
    q8_code code = q8_read_bottom_operand(im, 0, NULL, 0, &im->in_shape[1], &scale);
    if (!code)
        code = q8_add_binary(im, "mul", Q8_BINARY_MUL, im->in[1], scale.tensor, &product);
    if (code)
        return code;
    q8_node *sum = q8_im_node_of(im, &q8_op_eltwise, 2, (int[]){product, im->in[2]});
    if (!sum)
        return q8_im_failed(im);
    ((q8_eltwise_attr *)sum->attr)->type = Q8_ELTWISE_SUM;
    return Q8_OK;
}

const q8_op q8_op_binaryop = {
    .type = "BinaryOp",
    .caffe_types = (const char *const[]){"Axpy", "AxPy", NULL},
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_binaryop_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .as_affine = as_affine,
    .limits = "`Axpy` (SENet) becomes a product and an Eltwise sum. Also made of a Scale or Bias "
              "whose second operand is not one value per channel, and of an Eltwise whose inputs "
              "differ in shape.",
};
