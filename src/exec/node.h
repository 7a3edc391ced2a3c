/** One node at a time, for work that goes layer by layer. */
#ifndef Q8_EXEC_NODE_H
#define Q8_EXEC_NODE_H

#include "exec/exec.h"

/**
 * Runs one node, which need not be in the graph, on `n` pictures, shared out among threads.
 * @param in by input: pictures one after the other, NCHW, of the shape of the graph's tensor
 * @param out by output, likewise
 */
q8_code q8_exec_node(const q8_graph *graph, const q8_node *node, int n, const float *const *in,
                     float *const *out, int threads, q8_err *err);

#endif
