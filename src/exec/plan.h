/** What a plan consists of; for plan.c, which makes it, and run.c, which runs it. */
#ifndef Q8_EXEC_PLAN_H
#define Q8_EXEC_PLAN_H

#include "exec/backend.h"
#include "exec/gpu.h"
#include "exec/slab.h"

/** One kernel run: a node's, or a change of layout between nodes. */
typedef struct q8_step {
    q8_kernel *kernel;
    int n_in, n_out;
    int *in, *out; /**< indices of plan parts */
} q8_step;

/** A tensor to be shown to the observer once step `after` (-1: none) is done. */
typedef struct q8_sight {
    int after;
    int tensor;
    int part;
    int block;
    bool on_gpu;
} q8_sight;

typedef struct q8_input {
    int part;
    size_t count; /**< floats of one picture */
} q8_input;

struct q8_exec {
    const q8_graph *graph;
    q8_arena *arena;
    int batch;
    q8_step *step;
    int n_steps;
    int front;          /**< steps that run picture by picture, before those for the batch */
    q8_slab_part *part; /**< tensors in memory, one for each layout a tensor is needed in */
    int n_parts;
    q8_input *input; /**< by rank among the graph's Input nodes */
    int n_inputs;
    q8_sight *sight; /**< by ascending `after` */
    int n_sights;
    int most_edges;            /**< inputs and outputs of a step */
    const char **node_backend; /**< by node */
    size_t slab_bytes, scratch_bytes;
    void *constants; /**< the kernels', one after the other */
    q8_gpu *gpu;     /**< NULL: none */
    size_t gpu_slab_bytes, gpu_scratch_bytes;
};

/** A node's kernel, still to be prepared, from the first backend that supports it.
 *  @param residual what follows an addition to the node's output, of which the kernel may do both
 *  (it `adds`); NULL: nothing does
 *  @param in_block layouts in the host's memory, where such a backend is to read them
 *  @param backend its name */
q8_code q8_plan_kernel(const q8_graph *graph, const q8_node *node, const q8_exec_opts *opts,
                       const q8_activation *residual, const int *in_block, int batch,
                       q8_kernel **kernel, const char **backend, q8_err *err);

/** Prepares the kernels of all steps, on so many threads. */
q8_code q8_plan_prepare(q8_exec *exec, int threads, q8_err *err);

/** The first node that is to run for a whole batch: those before it move less memory for one
 * picture at a time. As many as there are nodes: none. */
int q8_plan_front(const q8_graph *graph, int batch);

#endif
