#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/sequence.h"

typedef struct permute_attr {
    int order_type; /**< ncnn's number of an order */
} permute_attr;

static const q8_field fields[] = {
    Q8_FIELD_INT(permute_attr, order_type, 0, 0),
};

/* By order type: which dim of the input each dim of the output is, outermost first. Two dimensions
 * know the first two types, as the orders 0 1 and 1 0. */
static const int orders3[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
static const int orders2[][3] = {{0, 1}, {1, 0}};
static const int orders1[][3] = {{0}};

/* The orders of a rank and their number; 0: none. */
static int orders_of(int rank, const int (**orders)[3])
{
    *orders = rank == 3 ? orders3 : rank == 2 ? orders2 : orders1;
    return rank == 3 ? 6 : rank == 2 ? 2 : rank == 1;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const permute_attr *a = node->attr;
    const int(*orders)[3];
    if (a->order_type < 0 || a->order_type >= orders_of(in->rank, &orders))
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "order type %d of %d dimensions is not supported", a->order_type, in->rank);
    out[0] = (q8_shape){.rank = in->rank};
    for (int i = 0; i < in->rank; i++)
        out[0].dim[i] = in->dim[orders[a->order_type][i]];
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const permute_attr *a = f->node->attr;
    const q8_shape *in = &f->in_shape[0], *out = &f->out_shape[0];
    const int(*orders)[3];
    orders_of(in->rank, &orders);
    /* Both as rank 3 with dims of 1 in front, which no order of fewer dims moves. */
    const int missing = 3 - in->rank;
    size_t in_stride[3] = {0}, stride[3] = {0}, n[3] = {1, 1, 1};
    size_t step = 1;
    for (int i = in->rank - 1; i >= 0; i--) {
        in_stride[i] = step;
        step *= (size_t)in->dim[i];
    }
    for (int i = 0; i < in->rank; i++) {
        stride[missing + i] = in_stride[orders[a->order_type][i]];
        n[missing + i] = (size_t)out->dim[i];
    }
    float *to = f->out[0];
    for (size_t i = 0; i < n[0]; i++)
        for (size_t j = 0; j < n[1]; j++)
            for (size_t k = 0; k < n[2]; k++)
                *to++ = f->in[0][i * stride[0] + j * stride[1] + k * stride[2]];
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)in, (void)out;
    return ((const permute_attr *)node->attr)->order_type == 0;
}

/* Caffe's order without the batch; axes it leaves out follow in their own order. */
static q8_code read_order(q8_caffe_import *im, const Caffe__PermuteParameter *p, int *order)
{
    const int rank = im->in_shape[0].rank + 1;
    bool used[Q8_MAX_RANK + 1] = {false};
    int n = 0, full[Q8_MAX_RANK + 1] = {0};
    if (p->n_order > (size_t)rank)
        return q8_im_fail(im, Q8_EMODEL, p, "order", "%zu axes in the order, but the input has %d",
                          p->n_order, rank);
    for (size_t i = 0; i < p->n_order; i++) {
        const uint32_t axis = p->order[i];
        if (axis >= (uint32_t)rank || used[axis])
            return q8_im_fail(im, Q8_EMODEL, p, "order", "axis %u in the order is %s", axis,
                              axis >= (uint32_t)rank ? "out of range" : "there twice");
        used[axis] = true;
        full[n++] = (int)axis;
    }
    for (int axis = 0; axis < rank; axis++)
        if (!used[axis])
            full[n++] = axis;
    /* Of a sequence the batch is the second axis. */
    const int in_batch = q8_is_sequence(im, im->param->bottom[0]) ? 1 : 0;
    const int out_batch = im->n_out > 0 && q8_is_sequence(im, im->param->top[0]) ? 1 : 0;
    if (n <= out_batch || full[out_batch] != in_batch)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "order",
                          out_batch ? "the top is read as a sequence, so axis %d, the batch, must "
                                      "come second"
                                    : "axis %d, the batch, must stay first: ncnn has none (only "
                                      "before a recurrent layer it comes second)",
                          in_batch);
    for (int i = 0, k = 0; i < n; i++)
        if (i != out_batch)
            order[k++] = full[i] - (full[i] > in_batch);
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__PermuteParameter none = CAFFE__PERMUTE_PARAMETER__INIT;
    const Caffe__PermuteParameter *p = im->param->permute_param ? im->param->permute_param : &none;
    int order[Q8_MAX_RANK];
    q8_code code = q8_read_one_bottom(im);
    if (code || (code = read_order(im, p, order)))
        return code;
    q8_node *node = q8_im_node(im, &q8_op_permute);
    if (!node)
        return q8_im_failed(im);
    const int rank = im->in_shape[0].rank;
    const int(*orders)[3];
    const int n = orders_of(rank, &orders);
    for (int type = 0; type < n; type++) {
        bool same = true;
        for (int i = 0; i < rank; i++)
            same &= orders[type][i] == order[i];
        if (same) {
            ((permute_attr *)node->attr)->order_type = type;
            return Q8_OK;
        }
    }
    return q8_im_fail(im, Q8_EUNSUPPORTED, p, "order", "permuting %d axes is not supported",
                      rank + 1);
}

const q8_op q8_op_permute = {
    .type = "Permute",
    .caffe_types = (const char *const[]){"Permute", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(permute_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .needs_rank3 = true,
    .limits =
        "Up to 4 axes with the batch, which must stay first, or come second where a recurrent "
        "layer reads it, and first again behind that.",
};
