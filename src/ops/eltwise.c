/* Product, weighted sum or maximum of tensors of one shape. */
#include "ops/caffe_import.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"

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
    q8_node *node = q8_im_node(im, &q8_op_eltwise);
    if (!node)
        return q8_im_failed(im);
    q8_eltwise_attr *a = node->attr;
    switch (p->operation) {
    case CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__PROD:
        a->type = Q8_ELTWISE_PROD;
        break;
    case CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__MAX:
        a->type = Q8_ELTWISE_MAX;
        break;
    default:
        a->type = Q8_ELTWISE_SUM;
    }
    if (p->n_coeff)
        a->coeffs = q8_im_floats(im, p->coeff, (int)p->n_coeff);
    return p->n_coeff && !a->coeffs.v ? q8_im_failed(im) : Q8_OK;
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
};
