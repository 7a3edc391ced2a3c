/** 1x1 convolutions of tensors that are kept as NCHW: a product of matrices, without reordering. */
#ifndef Q8_EXEC_POINTWISE_H
#define Q8_EXEC_POINTWISE_H

#include "exec/backend.h"

/** For one picture. Leaves `*kernel` NULL where the node is something else. */
q8_code q8_pointwise_compile(const q8_graph *graph, const q8_node *node, q8_kernel **kernel,
                             q8_err *err);

#endif
