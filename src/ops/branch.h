/** Nodes beside the line that q8_im_node() and q8_im_chain() make, for layers that become a net. */
#ifndef Q8_OPS_BRANCH_H
#define Q8_OPS_BRANCH_H

#include "ops/caffe_import.h"

/**
 * A further node, named "<layer>_<suffix>", that reads the given tensors and makes a new tensor of
 * that name. It does not become im->last. NULL: see q8_im_failed().
 */
q8_node *q8_im_branch(q8_caffe_import *im, const q8_op *op, const char *suffix, int n_in,
                      const int *in);

/** The layer's own node, making its first top, from other tensors than the bottoms. */
q8_node *q8_im_node_of(q8_caffe_import *im, const q8_op *op, int n_in, const int *in);

#endif
