/* Which layers may read a sequence, whose first axis is the time. */
#include <string.h>

#include "ops/caffe_import.h"
#include "ops/input.h"
#include "ops/recurrent.h"
#include "ops/rows.h"

static bool is_one_of(const char *type, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, type) == 0)
            return true;
    return false;
}

static bool is_recurrent(const q8_caffe_layer *layer)
{
    return is_one_of(layer->type, (const char *const[]){"LSTM", "RNN", NULL});
}

/* Works on each element, or on each row of values. */
static bool keeps_time(const q8_caffe_layer *layer)
{
    static const char *const elementwise[] = {
        "AbsVal", "BNLL",  "Clip",    "Dropout", "ELU",   "Eltwise",   "Exp",  "Log", "Power",
        "ReLU",   "ReLU6", "Sigmoid", "Split",   "Swish", "Threshold", "TanH", NULL};
    const Caffe__LayerParameter *p = layer->param;
    if (strcmp(layer->type, "InnerProduct") == 0)
        return p->inner_product_param &&
               (p->inner_product_param->axis == 2 || p->inner_product_param->axis == -1);
    if (strcmp(layer->type, "Softmax") == 0)
        return p->softmax_param && (p->softmax_param->axis == 2 || p->softmax_param->axis == -1);
    return is_recurrent(layer) || is_one_of(layer->type, elementwise);
}

/* Blobs that are sequences so far; in place ones stay, as only such layers make them. */
struct names {
    q8_arena *arena;
    const char **name;
    size_t n;
};

static bool has(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->name[i], name) == 0)
            return true;
    return false;
}

static q8_code add(struct names *names, const char *name, q8_err *err)
{
    if (has(names, name))
        return Q8_OK;
    const char **grown = q8_arena_grow(names->arena, names->name, names->n, sizeof(*grown));
    if (!grown)
        return q8_fail_nomem(err);
    names->name = grown;
    names->name[names->n++] = name;
    return Q8_OK;
}

/* Its tops are sequences if one of its bottoms is; then all have to be, but for markers. */
static q8_code visit(const q8_caffe_layer *layer, struct names *names, q8_err *err)
{
    const Caffe__LayerParameter *p = layer->param;
    const size_t wanted = is_recurrent(layer) && p->n_bottom > 1 ? 1 : p->n_bottom;
    size_t n = 0;
    for (size_t i = 0; i < p->n_bottom; i++)
        n += has(names, p->bottom[i]);
    if (n == 0)
        return Q8_OK;
    if (n != wanted || !keeps_time(layer))
        return q8_fail(err, Q8_EUNSUPPORTED, &layer->loc, layer->name,
                       "%s cannot read a sequence, whose first axis is the time, which ncnn has no "
                       "axis of its own for: only LSTM, RNN, layers of single elements, and "
                       "InnerProduct and Softmax with axis: 2 can, all of their bottoms sequences",
                       layer->type);
    for (size_t i = 0; i < p->n_top; i++) {
        q8_code code = add(names, p->top[i], err);
        if (code)
            return code;
    }
    return Q8_OK;
}

q8_code q8_check_sequences(q8_caffe_import *im)
{
    const q8_caffe_layer *first = im->net->layer, *end = first + im->net->n_layers;
    struct names names = {.arena = im->arena};
    for (const q8_caffe_layer *l = first; l < im->layer; l++)
        if (is_recurrent(l))
            return Q8_OK; /* it has checked them all */
    for (const q8_caffe_layer *l = first; l < end; l++)
        for (size_t i = 0; strcmp(l->type, "Input") == 0 && i < l->param->n_top; i++)
            for (const q8_caffe_layer *r = im->layer; r < end; r++)
                if (is_recurrent(r) && r->param->n_bottom > 0 &&
                    strcmp(r->param->bottom[0], l->param->top[i]) == 0) {
                    q8_code code = add(&names, l->param->top[i], im->err);
                    if (code)
                        return code;
                    break;
                }
    for (const q8_caffe_layer *l = first; l < end; l++) {
        q8_code code = visit(l, &names, im->err);
        if (code)
            return code;
    }
    return Q8_OK;
}

/* The {T,1,D} of an Input's top; NULL: it is not made by an Input. */
static const Caffe__BlobShape *input_shape(const q8_caffe_import *im, const char *name)
{
    for (const q8_caffe_layer *l = im->net->layer; l < im->layer; l++) {
        const Caffe__InputParameter *p = l->param->input_param;
        for (size_t i = 0; strcmp(l->type, "Input") == 0 && p && i < l->param->n_top; i++)
            if (strcmp(l->param->top[i], name) == 0 && p->n_shape > 0)
                return p->shape[p->n_shape == 1 ? 0 : i];
    }
    return NULL;
}

static q8_node *input_node(const q8_caffe_import *im, int tensor)
{
    for (int i = 0; i < im->graph->n_nodes; i++)
        if (im->graph->node[i]->op == &q8_op_input && im->graph->node[i]->out[0] == tensor)
            return im->graph->node[i];
    return NULL;
}

static bool is_read(const q8_caffe_import *im, int tensor)
{
    for (int i = 0; i < im->graph->n_nodes; i++)
        for (int k = 0; k < im->graph->node[i]->n_in; k++)
            if (im->graph->node[i]->in[k] == tensor)
                return true;
    return false;
}

/* Only recurrent layers and what follows them make sequences of rank 2 from sequences. */
static bool is_made_by_sequence(const q8_caffe_import *im)
{
    const char *name = im->param->bottom[0];
    const q8_caffe_layer *maker = NULL;
    for (const q8_caffe_layer *l = im->net->layer; l < im->layer; l++)
        for (size_t i = 0; i < l->param->n_top; i++)
            if (strcmp(l->param->top[i], name) == 0)
                maker = l;
    return maker && keeps_time(maker) && im->in_shape[0].rank == 2;
}

q8_code q8_read_sequence(q8_caffe_import *im)
{
    const int tensor = im->in[0];
    q8_node *node = input_node(im, tensor);
    if (!node && is_made_by_sequence(im))
        return Q8_OK;
    const Caffe__BlobShape *shape = node ? input_shape(im, im->param->bottom[0]) : NULL;
    if (!shape || shape->n_dim != 3 || shape->dim[0] < 1 || shape->dim[1] != 1 ||
        shape->dim[0] > (long long)Q8_MAX_ELEMENTS)
        return q8_im_fail(im, Q8_EUNSUPPORTED, shape ? (const void *)shape : im->param,
                          shape ? "dim" : "bottom",
                          "%s can only read an input of shape STEPS x 1 x VALUES, or another "
                          "recurrent layer: ncnn runs one sequence and has no batch to be the time",
                          im->layer->type);
    q8_input_attr *a = node->attr;
    if (a->h == 1 && is_read(im, tensor) && shape->dim[0] != 1)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param, "bottom",
                          "the recurrent layer must be the first in the file to read '%s'",
                          im->param->bottom[0]);
    a->h = (int)shape->dim[0];
    im->graph->tensor[tensor].shape = (q8_shape){2, {a->h, a->w}};
    return Q8_OK;
}
