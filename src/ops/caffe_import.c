#include "ops/caffe_import.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

q8_code q8_im_failed(q8_caffe_import *im)
{
    return im->err->code ? im->err->code : q8_fail_nomem(im->err);
}

static q8_loc place_of(const q8_caffe_import *im, const void *message, const char *field, int index)
{
    q8_loc loc = {0};
    if (message && field)
        loc = q8_caffe_loc(im->net, message, field, index);
    return loc.line > 0 ? loc : im->layer->loc;
}

static q8_code fail(q8_caffe_import *im, q8_code code, const q8_loc *loc, const char *fmt,
                    va_list args)
{
    char text[512];
    vsnprintf(text, sizeof(text), fmt, args);
    return q8_fail(im->err, code, loc, im->layer->name, "%s", text);
}

q8_code q8_im_fail(q8_caffe_import *im, q8_code code, const void *message, const char *field,
                   const char *fmt, ...)
{
    const q8_loc loc = place_of(im, message, field, 0);
    va_list args;
    va_start(args, fmt);
    fail(im, code, &loc, fmt, args);
    va_end(args);
    return code;
}

q8_code q8_im_fail_at(q8_caffe_import *im, q8_code code, const void *message, const char *field,
                      int index, const char *fmt, ...)
{
    const q8_loc loc = place_of(im, message, field, index);
    va_list args;
    va_start(args, fmt);
    fail(im, code, &loc, fmt, args);
    va_end(args);
    return code;
}

void q8_im_warn(q8_caffe_import *im, const void *message, const char *field, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    const q8_loc loc = place_of(im, message, field, 0);
    q8_warn(im->env, &loc, im->layer->name, "%s", text);
}

static q8_node *add_node(q8_caffe_import *im, const q8_op *op, const char *name, int n_in,
                         int n_out)
{
    q8_node *node = name ? q8_node_new(im->arena, op, name, n_in, n_out) : NULL;
    if (!node || !q8_graph_insert(im->graph, node, im->graph->n_nodes)) {
        q8_fail_nomem(im->err);
        return NULL;
    }
    node->loc = im->layer->loc;
    im->last = node;
    return node;
}

q8_node *q8_im_node(q8_caffe_import *im, const q8_op *op)
{
    q8_node *node = add_node(im, op, im->layer->name, im->n_in, im->n_out);
    if (!node)
        return NULL;
    memcpy(node->in, im->in, (size_t)im->n_in * sizeof(int));
    memcpy(node->out, im->out, (size_t)im->n_out * sizeof(int));
    return node;
}

q8_node *q8_im_chain(q8_caffe_import *im, const q8_op *op, const char *suffix)
{
    q8_node *before = im->last;
    const char *name = q8_arena_printf(im->arena, "%s_%s", im->layer->name, suffix);
    const char *tensor_name = q8_arena_printf(im->arena, "%s_before_%s", im->layer->name, suffix);
    q8_node *node = tensor_name ? add_node(im, op, name, 1, 1) : NULL;
    const int between = node ? q8_graph_add_tensor(im->graph, tensor_name, NULL) : -1;
    if (between < 0) {
        q8_fail_nomem(im->err);
        return NULL;
    }
    node->out[0] = before->out[0];
    before->out[0] = node->in[0] = between;
    return node;
}

const q8_node *q8_im_maker(const q8_caffe_import *im, int tensor)
{
    for (int i = im->graph->n_nodes - 1; i >= 0; i--)
        for (int k = 0; k < im->graph->node[i]->n_out; k++)
            if (im->graph->node[i]->out[k] == tensor)
                return im->graph->node[i];
    return NULL;
}

q8_code q8_im_axis(q8_caffe_import *im, const void *message, const char *field, int caffe_axis,
                   int *axis)
{
    const int caffe_rank = im->in_shape[0].rank + 1;
    const int index = caffe_axis < 0 ? caffe_axis + caffe_rank : caffe_axis;
    if (index < 0 || index >= caffe_rank)
        return q8_im_fail(im, Q8_EMODEL, message, field,
                          "axis %d is out of range: the input has %d axes, 0 (the batch) to %d",
                          caffe_axis, caffe_rank, caffe_rank - 1);
    if (index == 0)
        return q8_im_fail(im, Q8_EUNSUPPORTED, message, field,
                          "axis %d is the batch, which ncnn does not have", caffe_axis);
    *axis = index - 1;
    return Q8_OK;
}

q8_code q8_im_blob(q8_caffe_import *im, int index, const int *dim, int n_dim, float **data)
{
    const float *borrowed;
    q8_code code =
        im->weights->get(im->weights->user, im->layer, index, dim, n_dim, &borrowed, im->err);
    if (code)
        return code;
    size_t count = 1;
    for (int i = 0; i < n_dim; i++)
        count *= (size_t)dim[i]; /* get() has checked it */
    *data = q8_arena_array(im->arena, count, sizeof(float));
    if (!*data)
        return q8_fail_nomem(im->err);
    memcpy(*data, borrowed, count * sizeof(float));
    return Q8_OK;
}

q8_code q8_im_weight(q8_caffe_import *im, q8_node *node, int slot, int index, const int *dim,
                     int n_dim)
{
    const float *data;
    q8_code code =
        im->weights->get(im->weights->user, im->layer, index, dim, n_dim, &data, im->err);
    if (code)
        return code;
    size_t count = 1;
    for (int i = 0; i < n_dim; i++)
        count *= (size_t)dim[i];
    q8_im_set_weight(node, slot, data, count);
    return Q8_OK;
}

void q8_im_set_weight(q8_node *node, int slot, const float *data, size_t count)
{
    node->weight[slot] = (q8_weight){.data = data, .count = count};
}

static void *copy_list(q8_caffe_import *im, const void *v, int n, size_t size)
{
    void *copy = q8_arena_array(im->arena, (size_t)n + 1, size);
    if (!copy)
        q8_fail_nomem(im->err);
    else if (n > 0)
        memcpy(copy, v, (size_t)n * size);
    return copy;
}

q8_ints q8_im_ints(q8_caffe_import *im, const int *v, int n)
{
    return (q8_ints){.n = n, .v = copy_list(im, v, n, sizeof(*v))};
}

q8_floats q8_im_floats(q8_caffe_import *im, const float *v, int n)
{
    return (q8_floats){.n = n, .v = copy_list(im, v, n, sizeof(*v))};
}
