#include "ops/innerproduct.h"

#include <string.h>

#include "ops/activation.h"
#include "ops/caffe_read.h"
#include "ops/rows.h"
#include "ops/simple.h"

static const char *const caffe_types[] = {"InnerProduct", NULL};

static const q8_field fields[] = {
    Q8_FIELD_INT(q8_innerproduct_attr, num_output, 0, 0),
    Q8_FIELD_INT(q8_innerproduct_attr, bias_term, 1, 0),
    Q8_FIELD_INT(q8_innerproduct_attr, weight_data_size, 2, 0),
    Q8_FIELD_INT(q8_innerproduct_attr, int8_scale_term, 8, 0),
    Q8_FIELD_INT(q8_innerproduct_attr, activation.type, 9, 0),
    Q8_FIELD_FLOATS(q8_innerproduct_attr, activation.params, 10),
};

static size_t weight_count(const void *attr)
{
    const q8_innerproduct_attr *a = attr;
    return a->weight_data_size > 0 ? (size_t)a->weight_data_size : 0;
}

static size_t bias_count(const void *attr)
{
    const q8_innerproduct_attr *a = attr;
    return a->bias_term && a->num_output > 0 ? (size_t)a->num_output : 0;
}

static const q8_weight_spec weights[] = {
    {"weight", true, weight_count},
    {"bias", false, bias_count},
};

/* ncnn multiplies the rows of a rank-2 blob one by one where the weights are for one row. */
static bool is_by_row(const q8_innerproduct_attr *a, const q8_shape *in)
{
    return in->rank == 2 && a->weight_data_size == (long long)a->num_output * in->dim[1];
}

/* The layer's own name belongs to the node with its weights. */
static void swap_names(q8_node *a, q8_node *b)
{
    const char *name = a->name;
    a->name = b->name;
    b->name = name;
}

static void set_reshape(q8_node *node, int rank, const int *dim)
{
    *(q8_reshape_attr *)node->attr = q8_reshape_dims(rank, dim);
}

/* All dims from `axis` on are multiplied, for each index before it. */
static q8_node *add_nodes(q8_caffe_import *im, int axis, int outputs)
{
    const q8_shape *in = &im->in_shape[0];
    /* {1,w} would stay of rank 2. */
    if (axis == 0 && (in->rank != 2 || in->dim[0] != 1))
        return q8_im_node(im, &q8_op_innerproduct);
    if (axis == 1 && in->rank == 2)
        return q8_im_node(im, &q8_op_innerproduct);
    q8_node *first = q8_im_node(im, axis ? &q8_op_reshape : &q8_op_flatten);
    q8_node *node = first ? q8_im_chain(im, &q8_op_innerproduct, axis ? "rows" : "flatten") : NULL;
    if (!node)
        return NULL;
    swap_names(first, node);
    if (axis)
        set_reshape(first, 2,
                    axis == 1 ? (const int[]){in->dim[0], -1} : (const int[]){-1, in->dim[2]});
    if (axis == 2) {
        q8_node *last = q8_im_chain(im, &q8_op_reshape, "picture");
        if (!last)
            return NULL;
        set_reshape(last, 3, (const int[]){in->dim[0], in->dim[1], outputs});
    }
    return node;
}

/* The weight matrix [outputs][inputs] of a layer that stores it as [inputs][outputs]. */
static q8_code transposed_weight(q8_caffe_import *im, q8_node *node, int outputs, int inputs)
{
    const size_t count = (size_t)outputs * inputs;
    const int dim[] = {inputs, outputs};
    float *from, *to;
    q8_code code = q8_im_blob(im, 0, dim, 2, &from);
    if (code)
        return code;
    to = q8_arena_array(im->arena, count, sizeof(*to));
    if (!to)
        return q8_fail_nomem(im->err);
    for (int o = 0; o < outputs; o++)
        for (int i = 0; i < inputs; i++)
            to[(size_t)o * inputs + i] = from[(size_t)i * outputs + o];
    q8_im_set_weight(node, 0, to, count);
    return Q8_OK;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    static const Caffe__InnerProductParameter defaults = CAFFE__INNER_PRODUCT_PARAMETER__INIT;
    const Caffe__InnerProductParameter *written = im->param->inner_product_param;
    const Caffe__InnerProductParameter *p = written ? written : &defaults;
    q8_innerproduct_attr a = {.bias_term = p->bias_term ? 1 : 0};
    int axis = 0;
    q8_code code = q8_read_one_bottom(im);
    if (!code)
        code = q8_im_axis(im, written, "axis", p->axis, &axis);
    if (!code && !p->has_num_output)
        code = q8_im_fail(im, Q8_EMODEL, written, "num_output", "num_output missing");
    if (!code)
        code = q8_read_uint(im, written, "num_output", p->num_output, 1, &a.num_output);
    if (code)
        return code;
    size_t inputs = 1;
    for (int i = axis; i < im->in_shape[0].rank; i++)
        inputs *= (size_t)im->in_shape[0].dim[i];
    if (inputs > Q8_MAX_ELEMENTS / (size_t)a.num_output)
        return q8_im_fail(im, Q8_EMODEL, written, "num_output", "%d x %zu weights; " Q8_LIMIT,
                          a.num_output, inputs, Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    a.weight_data_size = (int)(inputs * (size_t)a.num_output);
    q8_node *node = add_nodes(im, axis, a.num_output);
    if (!node)
        return q8_im_failed(im);
    *(q8_innerproduct_attr *)node->attr = a;
    const int dim[] = {a.num_output, (int)inputs};
    code = p->transpose ? transposed_weight(im, node, dim[0], dim[1])
                        : q8_im_weight(im, node, 0, 0, dim, 2);
    if (!code && a.bias_term)
        code = q8_im_weight(im, node, 1, 1, &a.num_output, 1);
    return code;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_innerproduct_attr *a = node->attr;
    const bool by_row = is_by_row(a, &in[0]);
    const size_t inputs = by_row ? (size_t)in->dim[1] : q8_shape_count(&in[0]);
    char text[64];
    if (a->num_output < 1)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "num_output is %d; it must be at least 1", a->num_output);
    if (inputs == 0 || a->weight_data_size < 1 ||
        (size_t)a->weight_data_size / inputs != (size_t)a->num_output ||
        (size_t)a->weight_data_size % inputs)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d weights do not fit: %d outputs, input %s", a->weight_data_size,
                       a->num_output, q8_shape_text(&in[0], text));
    *out = by_row ? (q8_shape){2, {in->dim[0], a->num_output}} : (q8_shape){1, {a->num_output}};
    return q8_activation_check(&a->activation, node, err);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const q8_innerproduct_attr *a = f->node->attr;
    const size_t rows = is_by_row(a, &f->in_shape[0]) ? (size_t)f->in_shape[0].dim[0] : 1;
    const size_t inputs = q8_shape_count(&f->in_shape[0]) / rows;
    float *out = f->out[0];
    for (size_t r = 0; r < rows; r++) {
        const float *in = f->in[0] + r * inputs, *weight = f->node->weight[0].data;
        for (int o = 0; o < a->num_output; o++) {
            double sum = a->bias_term ? f->node->weight[1].data[o] : 0;
            for (size_t i = 0; i < inputs; i++)
                sum += (double)in[i] * *weight++;
            *out++ = (float)sum;
        }
    }
    q8_activate_array(&a->activation, f->out[0], rows * (size_t)a->num_output);
    return Q8_OK;
}

static bool linear(const q8_node *node, const q8_shape *in, q8_linear *view)
{
    const q8_innerproduct_attr *a = node->attr;
    if (is_by_row(a, &in[0]) && in->dim[0] > 1)
        return false; /* what lies along dim[0] is not what is summed over */
    *view = (q8_linear){
        .groups = 1,
        .outputs = a->num_output,
        .inputs = in[0].dim[0],
        .kernel = (int)q8_shape_spatial(&in[0]),
    };
    return true;
}

static void window(const q8_node *node, const q8_shape *in, const float *x, size_t at, int group,
                   float *row)
{
    (void)node, (void)at, (void)group;
    memcpy(row, x, q8_shape_count(in) * sizeof(float));
}

static void window_sums(const q8_node *node, const q8_shape *in, const float *x, double *sum)
{
    (void)node;
    for (size_t i = 0; i < q8_shape_count(in); i++)
        sum[i] = (double)x[i];
}

static long long macs(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)in;
    const q8_innerproduct_attr *a = node->attr;
    const long long rows = out->rank == 2 ? out->dim[0] : 1;
    return rows * a->weight_data_size;
}

static q8_activation *activation(q8_node *node)
{
    q8_innerproduct_attr *a = node->attr;
    return &a->activation;
}

static void set_bias(q8_node *node)
{
    q8_innerproduct_attr *a = node->attr;
    a->bias_term = 1;
}

static void set_int8(q8_node *node)
{
    q8_innerproduct_attr *a = node->attr;
    a->int8_scale_term = 2; /* ncnn's InnerProduct always yields float */
}

const q8_op q8_op_innerproduct = {
    .type = "InnerProduct",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_innerproduct_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .linear = linear,
    .window = window,
    .window_sums = window_sums,
    .activation = activation,
    .set_bias = set_bias,
    .set_int8 = set_int8,
    .macs = macs,
    .limits = "Any `axis` but the batch; one behind the first multiplies row by row, which stays "
              "float. `transpose` is undone when the weights are read.",
};
