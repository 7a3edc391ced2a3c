#include "ops/branch.h"

#include <string.h>

static q8_node *add_node(q8_caffe_import *im, const q8_op *op, const char *name, int n_in,
                         const int *in, int out)
{
    q8_node *node = name && out >= 0 ? q8_node_new(im->arena, op, name, n_in, 1) : NULL;
    if (!node || !q8_graph_insert(im->graph, node, im->graph->n_nodes)) {
        q8_fail_nomem(im->err);
        return NULL;
    }
    if (n_in > 0)
        memcpy(node->in, in, (size_t)n_in * sizeof(*in));
    node->out[0] = out;
    node->loc = im->layer->loc;
    return node;
}

q8_node *q8_im_branch(q8_caffe_import *im, const q8_op *op, const char *suffix, int n_in,
                      const int *in)
{
    const char *name = q8_arena_printf(im->arena, "%s_%s", im->layer->name, suffix);
    return add_node(im, op, name, n_in, in, name ? q8_graph_add_tensor(im->graph, name, NULL) : -1);
}

q8_node *q8_im_node_of(q8_caffe_import *im, const q8_op *op, int n_in, const int *in)
{
    if (im->n_out != 1) {
        q8_im_fail(im, Q8_EMODEL, im->param, "top", "%s has one top, not %d", im->layer->type,
                   im->n_out);
        return NULL;
    }
    return im->last = add_node(im, op, im->layer->name, n_in, in, im->out[0]);
}
