/* A constant: Caffe's Parameter layer, or factors that other layers are rewritten to read. */
#include "ops/memorydata.h"

#include <limits.h>
#include <string.h>

#include "ops/branch.h"
#include "ops/caffe_read.h"
#include "ops/rows.h"

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_memorydata_attr, w, 0, 0),          Q8_FIELD_INT(q8_memorydata_attr, h, 1, 0),
    Q8_FIELD_INT(q8_memorydata_attr, d, 11, 0),         Q8_FIELD_INT(q8_memorydata_attr, c, 2, 0),
    Q8_FIELD_INT(q8_memorydata_attr, load_type, 21, 1),
};

static q8_shape shape_of(const q8_memorydata_attr *a)
{
    if (a->c)
        return (q8_shape){3, {a->c, a->h, a->w}};
    if (a->h)
        return (q8_shape){2, {a->h, a->w}};
    return (q8_shape){1, {a->w}};
}

q8_memorydata_attr q8_memorydata_of(const q8_shape *shape)
{
    const int rank = shape->rank, *dim = shape->dim;
    return (q8_memorydata_attr){
        .w = dim[rank - 1],
        .h = rank > 1 ? dim[rank - 2] : 0,
        .c = rank > 2 ? dim[rank - 3] : 0,
        .load_type = 1,
    };
}

static size_t data_count(const void *attr)
{
    const q8_shape shape = shape_of(attr);
    return q8_shape_count(&shape);
}

static const q8_weight_spec weights[] = {
    {"data", false, data_count},
};

/* A first dim of 1 is taken for the batch, unless it is the only one. */
static q8_code read_shape(q8_caffe_import *im, const Caffe__BlobShape *shape, q8_shape *result)
{
    const size_t skip = shape->n_dim > 1 && shape->dim[0] == 1;
    if (shape->n_dim < 1 || shape->n_dim - skip > 3)
        return q8_im_fail(im, Q8_EUNSUPPORTED, shape, "dim",
                          "a Parameter of %zu dims is not supported, only of 1 to 3, or of 4 with "
                          "a first one of 1",
                          shape->n_dim);
    result->rank = (int)(shape->n_dim - skip);
    for (int i = 0; i < result->rank; i++) {
        const long long dim = shape->dim[(size_t)i + skip];
        if (dim < 1 || dim > INT_MAX)
            return q8_im_fail(im, Q8_EMODEL, shape, "dim", "dim %zu of the Parameter is %lld",
                              (size_t)i + skip, dim);
        result->dim[i] = (int)dim;
    }
    if (q8_shape_count(result) == 0)
        return q8_im_fail(im, Q8_EMODEL, shape, "dim", "the Parameter is too large");
    return Q8_OK;
}

/* The markers of one sequence from its first step on: 0 and then 1. */
static q8_code add_markers(q8_caffe_import *im)
{
    const Caffe__ContinuationIndicatorParameter *p = im->param->continuation_indicator_param;
    q8_shape shape = {.rank = 1};
    q8_code code = q8_read_uint(im, p, "time_step", p ? p->time_step : 0, 1, &shape.dim[0]);
    if (code)
        return code;
    q8_node *node = q8_im_node_of(im, &q8_op_memorydata, 0, NULL);
    float *markers = q8_arena_array(im->arena, (size_t)shape.dim[0], sizeof(*markers));
    if (!node || !markers)
        return q8_im_failed(im);
    for (int i = 1; i < shape.dim[0]; i++)
        markers[i] = 1;
    *(q8_memorydata_attr *)node->attr = q8_memorydata_of(&shape);
    q8_im_set_weight(node, 0, markers, (size_t)shape.dim[0]);
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    if (strcmp(im->layer->type, "ContinuationIndicator") == 0)
        return add_markers(im);
    const Caffe__ParameterParameter *p = im->param->parameter_param;
    q8_shape shape;
    if (!p || !p->shape)
        return q8_im_fail(im, Q8_EMODEL, p, "shape",
                          "the shape is missing: write parameter_param { shape { dim: … } }");
    q8_code code = read_shape(im, p->shape, &shape);
    if (code)
        return code;
    q8_node *node = q8_im_node(im, &q8_op_memorydata);
    if (!node)
        return q8_im_failed(im);
    *(q8_memorydata_attr *)node->attr = q8_memorydata_of(&shape);
    return q8_im_weight(im, node, 0, 0, shape.dim, shape.rank);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_memorydata_attr *a = node->attr;
    (void)in;
    if (a->d > 1)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "a constant of 4 dims (depth %d) is not supported", a->d);
    if (a->load_type != 1)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "load type %d is not supported, only plain numbers (1)", a->load_type);
    *out = shape_of(a);
    if (q8_shape_count(out) == 0)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "a constant of %d x %d x %d (c, h, w) is empty or too large", a->c, a->h,
                       a->w);
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_weight *data = &f->node->weight[0];
    memcpy(f->out[0], data->data, data->count * sizeof(float));
    return Q8_OK;
}

const q8_op q8_op_memorydata = {
    .type = "MemoryData",
    .caffe_types = (const char *const[]){"Parameter", "ContinuationIndicator", NULL},
    .min_in = 0,
    .max_in = 0,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_memorydata_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .limits =
        "Of a `Parameter` a first dim of 1 is taken for the batch. Refused: more than 3 other "
        "dims. The numbers stay fp32 in the .bin. A `ContinuationIndicator`, for LSTM, marks "
        "one sequence.",
};
