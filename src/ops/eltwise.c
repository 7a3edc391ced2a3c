/* Product, weighted sum or maximum of tensors of one shape. */
#include "ops/broadcast_caffe.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_eltwise_attr, type, 0, 0),
    Q8_FIELD_FLOATS(q8_eltwise_attr, coeffs, 1),
};

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_eltwise_attr *a = node->attr;
    char first[64], other[64];
    if (a->type < Q8_ELTWISE_PROD || a->type > Q8_ELTWISE_MAX)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "operation %d", a->type);
    if (a->type == Q8_ELTWISE_SUM && a->coeffs.n != 0 && a->coeffs.n != node->n_in)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d coefficients for %d inputs",
                       a->coeffs.n, node->n_in);
    for (int i = 1; i < node->n_in; i++)
        if (!q8_shape_equal(&in[0], &in[i]))
            return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                           "input 0 has the shape %s, input %d has %s",
                           q8_shape_text(&in[0], first), i, q8_shape_text(&in[i], other));
    out[0] = in[0];
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_eltwise_attr *a = f->node->attr;
    const size_t count = q8_shape_count(&f->out_shape[0]);
    for (size_t k = 0; k < count; k++) {
        double y = a->type == Q8_ELTWISE_MAX ? f->in[0][k] : a->type == Q8_ELTWISE_PROD;
        for (int i = 0; i < f->node->n_in; i++) {
            const double x = f->in[i][k];
            if (a->type == Q8_ELTWISE_PROD)
                y *= x;
            else if (a->type == Q8_ELTWISE_MAX)
                y = x > y ? x : y;
            else
                y += a->coeffs.n ? x * a->coeffs.v[i] : x;
        }
        f->out[0][k] = (float)y;
    }
    return Q8_OK;
}

/* --- from Caffe ---------------------------------------------------------------------------- */

static bool all_of_one_shape(const q8_caffe_import *im)
{
    for (int i = 1; i < im->n_in; i++)
        if (!q8_shape_equal(&im->in_shape[0], &im->in_shape[i]))
            return false;
    return true;
}

/* What forks let their Eltwise do beyond Caffe's: dims of 1, or a number per channel, repeat. */
static bool spreads(const q8_shape *a, const q8_shape *b, q8_shape *out)
{
    return (a->rank == b->rank || ((a->rank == 1 || b->rank == 1) && a->dim[0] == b->dim[0])) &&
           q8_broadcast(a, b, out);
}

/* Input `i`, times its coefficient. */
static q8_code weighted(q8_caffe_import *im, const Caffe__EltwiseParameter *p, int i, int *tensor)
{
    *tensor = im->in[i];
    if (p->n_coeff == 0 || p->coeff[i] == 1)
        return Q8_OK;
    const char *suffix = q8_arena_printf(im->arena, "coeff%d", i);
    q8_node *node = suffix ? q8_im_branch(im, &q8_op_power, suffix, 1, &im->in[i]) : NULL;
    if (!node)
        return q8_im_failed(im);
    ((q8_power_attr *)node->attr)->scale = p->coeff[i];
    *tensor = node->out[0];
    return Q8_OK;
}

/* Shapes differ: one BinaryOp after the other. */
static q8_code spread_over(q8_caffe_import *im, const Caffe__EltwiseParameter *p, int type)
{
    static const q8_binary_type binary[] = {
        [Q8_ELTWISE_PROD] = Q8_BINARY_MUL,
        [Q8_ELTWISE_SUM] = Q8_BINARY_ADD,
        [Q8_ELTWISE_MAX] = Q8_BINARY_MAX,
    };
    q8_shape shape = im->in_shape[0];
    int so_far;
    q8_code code = weighted(im, p, 0, &so_far);
    for (int i = 1; !code && i < im->n_in; i++) {
        char first[64], other[64];
        const q8_shape before = shape;
        if (!spreads(&before, &im->in_shape[i], &shape))
            return q8_im_fail(im, Q8_EMODEL, im->param, "bottom",
                              "bottom %d has the shape %s, which does not fit %s before it", i,
                              q8_shape_text(&im->in_shape[i], other),
                              q8_shape_text(&before, first));
        const char *suffix = i + 1 < im->n_in ? q8_arena_printf(im->arena, "part%d", i) : NULL;
        int tensor;
        code = weighted(im, p, i, &tensor);
        if (!code)
            code = q8_add_binary(im, suffix, binary[type], so_far, tensor, &so_far);
    }
    return code;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__EltwiseParameter none = CAFFE__ELTWISE_PARAMETER__INIT;
    const Caffe__EltwiseParameter *message = im->param->eltwise_param,
                                  *p = message ? message : &none;
    if (p->n_coeff && p->operation != CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM)
        return q8_im_fail(im, Q8_EMODEL, message, "coeff", "coeff is for SUM only");
    if (p->n_coeff && p->n_coeff != (size_t)im->n_in)
        return q8_im_fail(im, Q8_EMODEL, message, "coeff", "%zu coefficients for %d bottoms",
                          p->n_coeff, im->n_in);
    const int type = p->operation == CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__PROD  ? Q8_ELTWISE_PROD
                     : p->operation == CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__MAX ? Q8_ELTWISE_MAX
                                                                                 : Q8_ELTWISE_SUM;
    if (!all_of_one_shape(im))
        return spread_over(im, p, type);
    q8_node *node = q8_im_node(im, &q8_op_eltwise);
    if (!node)
        return q8_im_failed(im);
    q8_eltwise_attr *a = node->attr;
    a->type = type;
    if (p->n_coeff)
        a->coeffs = q8_im_floats(im, p->coeff, (int)p->n_coeff);
    return p->n_coeff && !a->coeffs.v ? q8_im_failed(im) : Q8_OK;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    const q8_eltwise_attr *a = node->attr;
    (void)in;
    return a->type == Q8_ELTWISE_SUM   ? Q8_CHANNELS_SUM
           : a->type == Q8_ELTWISE_MAX ? Q8_CHANNELS_MAX
                                       : Q8_CHANNELS_FIXED;
}

const q8_op q8_op_eltwise = {
    .type = "Eltwise",
    .caffe_types = (const char *const[]){"Eltwise", NULL},
    .min_in = 2,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_eltwise_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .limits = "Two or more inputs. `coeff` is for SUM only, one per input. Beyond Caffe, inputs "
              "may have dims of 1, or be a vector of one number per channel: then BinaryOps are "
              "made. `stable_prod_grad` is ignored.",
};
