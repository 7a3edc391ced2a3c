/* A row of a table for each index. ncnn reads the indices as 32-bit integers, which of all layers
 * only an Input can hand on; here they are floats, as in Caffe. */
#include <string.h>

#include "ops/branch.h"
#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/unary.h"

struct embed_attr {
    int num_output, input_dim, bias_term, weight_data_size;
    int int8_scale_term;
};

static const q8_field fields[] = {
    Q8_FIELD_INT(struct embed_attr, num_output, 0, 0),
    Q8_FIELD_INT(struct embed_attr, input_dim, 1, 0),
    Q8_FIELD_INT(struct embed_attr, bias_term, 2, 0),
    Q8_FIELD_INT(struct embed_attr, weight_data_size, 3, 0),
    Q8_FIELD_INT(struct embed_attr, int8_scale_term, 18, 0),
};

static size_t weight_count(const void *attr)
{
    const struct embed_attr *a = attr;
    return a->weight_data_size > 0 ? (size_t)a->weight_data_size : 0;
}

static size_t bias_count(const void *attr)
{
    const struct embed_attr *a = attr;
    return a->bias_term && a->num_output > 0 ? (size_t)a->num_output : 0;
}

static const q8_weight_spec weights[] = {
    {"weight", true, weight_count},
    {"bias", false, bias_count},
};

/* Hands its elements on in their order, whatever the shape. */
static bool keeps_order(const q8_node *node)
{
    return node->op == &q8_op_reshape || node->op == &q8_op_flatten || node->op == &q8_op_split ||
           node->op == &q8_op_noop ||
           (node->op == &q8_op_dropout && ((const q8_dropout_attr *)node->attr)->scale == 1);
}

/* The input that the indices come from. In between ncnn might turn their bits into fp16, so what
 * only changes their shape is passed by; -1: they come from elsewhere. */
static int find_input(const q8_caffe_import *im, int tensor)
{
    const q8_node *node = q8_im_maker(im, tensor);
    while (node && keeps_order(node)) {
        tensor = node->in[0];
        node = q8_im_maker(im, tensor);
    }
    return node && node->op == &q8_op_input ? tensor : -1;
}

static q8_code check_bottom(q8_caffe_import *im, int *input)
{
    char text[64];
    q8_code code = q8_read_one_bottom(im);
    if (code)
        return code;
    *input = find_input(im, im->in[0]);
    if (*input < 0)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param, "bottom",
                          "ncnn's Embed reads integers, and only an input of the network can be "
                          "integers: make bottom '%s' an Input and compute it outside",
                          im->param->bottom[0]);
    if (im->graph->tensor[*input].shape.rank != 1 || im->in_shape[0].rank > 2)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param, "bottom",
                          "ncnn's Embed reads one row of indices, an Input of 1 x N (a Reshape to "
                          "1 x M x N may follow), not %s",
                          q8_shape_text(&im->graph->tensor[*input].shape, text));
    return Q8_OK;
}

/* As many axes in front as the indices have. */
static q8_node *add_nodes(q8_caffe_import *im, int input, int outputs)
{
    const q8_shape *in = &im->in_shape[0];
    q8_node *node = q8_im_node_of(im, &q8_op_embed, 1, &input);
    if (!node || in->rank == 1)
        return node;
    q8_node *reshape = q8_im_chain(im, &q8_op_reshape, "rows");
    if (!reshape)
        return NULL;
    *(q8_reshape_attr *)reshape->attr =
        q8_reshape_dims(3, (const int[]){in->dim[0], in->dim[1], outputs});
    return node;
}

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__EmbedParameter *p = im->param->embed_param;
    int outputs, rows, input;
    if (!p || !p->has_num_output || !p->has_input_dim)
        return q8_im_fail(im, Q8_EMODEL, p, NULL, "%s missing",
                          p && p->has_num_output ? "input_dim" : "num_output");
    q8_code code = check_bottom(im, &input);
    if (!code)
        code = q8_read_uint(im, p, "num_output", p->num_output, 1, &outputs);
    if (!code)
        code = q8_read_uint(im, p, "input_dim", p->input_dim, 1, &rows);
    if (code)
        return code;
    if ((size_t)rows > Q8_MAX_ELEMENTS / (size_t)outputs)
        return q8_im_fail(im, Q8_EMODEL, p, "input_dim", "%d x %d weights; " Q8_LIMIT, rows,
                          outputs, Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    q8_node *node = add_nodes(im, input, outputs);
    if (!node)
        return q8_im_failed(im);
    *(struct embed_attr *)node->attr = (struct embed_attr){
        .num_output = outputs,
        .input_dim = rows,
        .bias_term = p->bias_term,
        .weight_data_size = rows * outputs,
    };
    q8_im_warn(im, im->param, "bottom",
               "input '%s' holds indices: ncnn wants them as 32-bit integers, not floats",
               im->graph->tensor[input].name);
    code = q8_im_weight(im, node, 0, 0, (int[]){rows, outputs}, 2);
    return code || !p->bias_term ? code : q8_im_weight(im, node, 1, 1, &outputs, 1);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const struct embed_attr *a = node->attr;
    if (a->int8_scale_term)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "an Embed with int8 weights is not supported");
    if (a->num_output < 1 || a->input_dim < 1 ||
        (long long)a->num_output * a->input_dim != a->weight_data_size)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d weights for %d rows of %d numbers", a->weight_data_size, a->input_dim,
                       a->num_output);
    *out = (q8_shape){2, {in->dim[0], a->num_output}};
    return q8_node_rank(node, 0, in, 1, err);
}

/* Indices outside the table become its first or last row, as in ncnn. */
static int row_of(const struct embed_attr *a, float index)
{
    if (!(index > 0))
        return 0;
    return index < (float)a->input_dim ? (int)index : a->input_dim - 1;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const struct embed_attr *a = f->node->attr;
    const size_t width = (size_t)a->num_output;
    const float *bias = a->bias_term ? f->node->weight[1].data : NULL;
    for (size_t i = 0; i < (size_t)f->in_shape[0].dim[0]; i++) {
        const float *row = f->node->weight[0].data + width * (size_t)row_of(a, f->in[0][i]);
        for (size_t k = 0; k < width; k++)
            f->out[0][i * width + k] = row[k] + (bias ? bias[k] : 0);
    }
    return Q8_OK;
}

const q8_op q8_op_embed = {
    .type = "Embed",
    .caffe_types = (const char *const[]){"Embed", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(struct embed_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .weights = weights,
    .n_weights = sizeof(weights) / sizeof(weights[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .limits = "The bottom must be an Input of 1 x N, with nothing but changes of shape in between: "
              "ncnn reads the indices as 32-bit integers, so the user has to feed integers, and no "
              "layer can come before. Indices outside the table become its first or last row.",
};
