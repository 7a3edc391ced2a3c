#include "ops/input.h"

#include <limits.h>

#include "ops/caffe_import.h"
#include "ops/rows.h"
#include "ops/sequence.h"

static const char *const caffe_types[] = {"Input", NULL};

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_input_attr, w, 0, 0),
    Q8_FIELD_INT(q8_input_attr, h, 1, 0),
    Q8_FIELD_INT(q8_input_attr, d, 11, 0),
    Q8_FIELD_INT(q8_input_attr, c, 2, 0),
};

/* A Caffe shape without the batch, its first dim, or of a sequence the second. A height or width of
 * 0 or -1 is left for the caller's size to fill in; infer() complains when it does not. */
static q8_code read_shape(q8_caffe_import *im, const Caffe__BlobShape *shape, bool is_sequence,
                          q8_input_attr *a)
{
    int *const dims[3][3] = {{&a->w}, {&a->h, &a->w}, {&a->c, &a->h, &a->w}};
    const size_t rank = shape->n_dim - 1;
    if (shape->n_dim < 2 || shape->n_dim > 4)
        return q8_im_fail(im, Q8_EUNSUPPORTED, shape, "dim",
                          "an input of %zu dims is not supported, only of 2 to 4 with the batch "
                          "first",
                          shape->n_dim);
    if (is_sequence && shape->dim[1] != 1)
        return q8_im_fail_at(im, Q8_EUNSUPPORTED, shape, "dim", 1,
                             "a recurrent layer reads this input as %lld steps of %lld sequences: "
                             "ncnn runs one sequence, so the shape must be STEPS x 1 x VALUES",
                             (long long)shape->dim[0], (long long)shape->dim[1]);
    for (size_t i = 0; i < rank; i++) {
        const size_t at = is_sequence && i == 0 ? 0 : i + 1;
        const long long dim = shape->dim[at];
        const bool may_be_open = rank == 3 && i > 0 && !is_sequence;
        if (dim > INT_MAX || dim < -1 || (dim <= 0 && !may_be_open))
            return q8_im_fail_at(im, Q8_EMODEL, shape, "dim", (int)at,
                                 "dim %zu of the input is %lld; it must be at least 1", at, dim);
        *dims[rank - 1][i] = dim > 0 ? (int)dim : 0;
    }
    return Q8_OK;
}

/* ncnn's Input makes one blob, so each top gets a node. */
static q8_code add_input(q8_caffe_import *im, int top, const Caffe__BlobShape *shape)
{
    const char *name = im->layer->name;
    if (im->n_out > 1)
        name = q8_arena_printf(im->arena, "%s_%s", name, im->param->top[top]);
    q8_node *node = name ? q8_node_new(im->arena, &q8_op_input, name, 0, 1) : NULL;
    if (!node || !q8_graph_insert(im->graph, node, im->graph->n_nodes))
        return q8_fail_nomem(im->err);
    node->loc = im->layer->loc;
    node->out[0] = im->out[top];
    im->last = node;
    return read_shape(im, shape, q8_is_sequence(im, im->param->top[top]), node->attr);
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__InputParameter *p = im->param->input_param;
    if (!p || p->n_shape == 0)
        return q8_im_fail(im, Q8_EMODEL, p, "shape",
                          "the input's shape is missing: write input_param { shape { dim: 1 dim: 3 "
                          "dim: HEIGHT dim: WIDTH } }");
    if (im->n_in != 0)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom", "an Input cannot have a bottom");
    if (p->n_shape != 1 && p->n_shape != (size_t)im->n_out)
        return q8_im_fail(im, Q8_EMODEL, p, "shape", "%zu shapes for %d tops", p->n_shape,
                          im->n_out);
    for (int i = 0; i < im->n_out; i++) {
        q8_code code = add_input(im, i, p->shape[p->n_shape == 1 ? 0 : i]);
        if (code)
            return code;
    }
    return Q8_OK;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_input_attr *a = node->attr;
    (void)in;
    if (a->d > 1)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "an input of 4 dims (depth %d) is not supported", a->d);
    if (a->c > 0)
        *out = (q8_shape){3, {a->c, a->h, a->w}};
    else if (a->h > 0)
        *out = (q8_shape){2, {a->h, a->w}};
    else
        *out = (q8_shape){1, {a->w}};
    if (a->w < 1 || (a->c > 0 && a->h < 1) || a->h < 0 || a->c < 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "the input's width or height is not known; give it with --size");
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    return q8_fail(err, Q8_EINTERNAL, &f->node->loc, f->node->name, "an input cannot be computed");
}

const q8_op q8_op_input = {
    .type = "Input",
    .caffe_types = caffe_types,
    .min_in = 0,
    .max_in = 0,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_input_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .limits = "2 to 4 dims, the batch first, whose size is not kept; of a sequence (see LSTM) it "
              "is the second. A height or width of 0 or -1 is taken from `--size`. Also made of "
              "the `input:` header of older files, and one for each top.",
};
