/** One node at a time, for work that goes layer by layer. */
#ifndef Q8_EXEC_NODE_H
#define Q8_EXEC_NODE_H

#include "exec/exec.h"

/** A node made ready to run on single pictures. Threads share it; on a GPU they take turns. */
typedef struct q8_runner q8_runner;

/** The node need not be in the graph, which knows its tensors; both must outlive the runner.
 *  @param gpu where it runs, unless only the CPU has such a layer; NULL: on the CPU */
q8_code q8_runner_open(q8_runner **runner, const q8_graph *graph, const q8_node *node, q8_gpu *gpu,
                       q8_err *err);
void q8_runner_close(q8_runner **runner);

/** Bytes of scratch memory that a run needs, a multiple of 64. */
size_t q8_runner_scratch(const q8_runner *runner);

/**
 * Runs one picture.
 * @param in by input, NCHW
 * @param out by output, likewise
 * @param scratch aligned to 64 bytes
 */
q8_code q8_runner_run(const q8_runner *runner, const float *const *in, float *const *out,
                      void *scratch, q8_err *err);

#endif
