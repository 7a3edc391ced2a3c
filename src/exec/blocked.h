/** Own kernels for cheap layers that would cost more in changes of layout than in work. */
#ifndef Q8_EXEC_BLOCKED_H
#define Q8_EXEC_BLOCKED_H

#include "exec/backend.h"

/** Kernels that keep the inputs' layout: Concat of channels, Eltwise, PReLU, and whatever scales
 * and shifts each channel. Leaves `*kernel` NULL for anything else. */
q8_code q8_blocked_compile(const q8_graph *graph, const q8_node *node, const int *in_block,
                           int batch, q8_kernel **kernel, q8_err *err);

/** Adds a bias to each channel of the node's output; in and out may be the same memory. */
q8_code q8_blocked_bias(const q8_graph *graph, const q8_node *node, const float *bias, int block,
                        int batch, q8_kernel **kernel, q8_err *err);

#endif
