/** A node as a network of its own, which a plan for the GPU runs. */
#ifndef Q8_EXEC_NODE_GPU_H
#define Q8_EXEC_NODE_GPU_H

#include "exec/exec.h"

typedef struct q8_lone_node q8_lone_node;

q8_code q8_lone_node_open(q8_lone_node **lone, const q8_graph *graph, const q8_node *node,
                          q8_gpu *gpu, q8_err *err);
void q8_lone_node_close(q8_lone_node **lone);
/** Runs one picture, as q8_runner_run() does. Threads take turns. */
q8_code q8_lone_node_run(q8_lone_node *lone, const float *const *in, float *const *out,
                         q8_err *err);

#endif
