/**
 * Running the float network: a plan made once, and per thread a run that holds activations.
 *
 * A plan (q8_exec) picks for each node a backend that supports it and falls back to the plain-C
 * forward, decides layouts, and lays all activations of a run out in one slab by first and last
 * use. It is immutable once made, so threads share it; each thread has its own q8_run.
 *
 * The first layers, whose activations are large, run picture by picture, so that one finds in the
 * caches what the one before has made. The last ones, whose weights are large, run for the whole
 * batch.
 */
#ifndef Q8_EXEC_EXEC_H
#define Q8_EXEC_EXEC_H

#include "graph/graph.h"

/** How a backend keeps a tensor: NCHW, or channels in blocks of `block` (nChw16c when 16, NHWC when
 *  as many as there are), the last block padded with zeros. Only tensors of rank 3 are ever
 *  blocked. */
typedef struct q8_view {
    const float *data;
    int batch;      /**< pictures that count; the slab may hold more */
    q8_shape shape; /**< of one picture */
    int block;      /**< 1: NCHW */
    /** Not NULL: it lies there, NCHW, and `data` is NULL (see exec/gpu.h). */
    const struct q8_gpu_tensor *gpu;
} q8_view;

typedef struct q8_exec q8_exec;
typedef struct q8_run q8_run;

typedef enum q8_backend_kind {
    Q8_BACKEND_PLAIN, /**< the oracle */
    Q8_BACKEND_CPU,   /**< oneDNN, plain C where it has no such layer */
    /** The same, with inputs and weights of convolutions rounded to bf16 where that is faster;
     *  tensors stay fp32, as do other layers. */
    Q8_BACKEND_CPU_BF16,
    Q8_BACKEND_GPU, /**< OpenCL, ::Q8_BACKEND_CPU where it has no such layer */
} q8_backend_kind;

typedef struct q8_exec_opts {
    q8_backend_kind backend;
    int batch;          /**< pictures per forward; at least 1 */
    const bool *wanted; /**< by tensor id: what will be observed. Nodes no wanted tensor needs do
                           not run. NULL: the network's outputs */
    q8_gpu *gpu;        /**< of ::Q8_BACKEND_GPU; outlives the plan */
    bool gpu_views;     /**< the observer takes views of what lies on the GPU; else it is copied */
    /** The first node that runs for the whole batch; 0: as moves the least memory. On the GPU all
     *  do. */
    int batch_from;
    int threads; /**< to make the plan with; it does not depend on them. 0: one */
} q8_exec_opts;

/** Whether ::Q8_BACKEND_CPU_BF16 differs from ::Q8_BACKEND_CPU on this processor. */
bool q8_exec_has_bf16(void);

/** The graph must outlive the plan and not change. */
q8_code q8_exec_open(q8_exec **exec, const q8_graph *graph, const q8_exec_opts *opts, q8_err *err);
void q8_exec_close(q8_exec **exec);
/** Pictures per forward. */
int q8_exec_batch(const q8_exec *exec);
/** Bytes of activations one run holds. */
size_t q8_exec_slab_bytes(const q8_exec *exec);
/** Bytes one run takes: these, and what kernels work with. */
size_t q8_exec_run_bytes(const q8_exec *exec);
/** Name of the backend that runs node `index`: "opencl", "bf16", "onednn", "plain", or "" if it
 * does not run: not needed, an Input, an identity, whose output is its input under another name, or
 * a Concat whose inputs are made in their places in its output. */
const char *q8_exec_node_backend(const q8_exec *exec, int index);

/** Pictures per forward that take the least time each; depends on the graph alone. */
int q8_exec_best_batch(const q8_graph *graph);

/** About as many bytes as plans for this graph take for weights in the kernels' own forms. */
size_t q8_exec_weight_bytes(const q8_graph *graph);

q8_code q8_run_open(q8_run **run, const q8_exec *exec, q8_err *err);
void q8_run_close(q8_run **run);

/** Where picture `i` of the batch goes, NCHW fp32: the tensor made by the graph's `input`-th Input
 *  node. Contents do not survive a forward. */
float *q8_run_input(q8_run *run, int input, int i);

/** Called when a wanted tensor has just been made, for all pictures or for one or some after the
 * other; the view dies with the call. */
typedef q8_code (*q8_observe_fn)(void *user, int tensor, const q8_view *view, q8_err *err);

/** One forward of the first `n` pictures of the batch. A picture's results do not depend on `n`, on
 * its place in the batch, or on the other pictures; on how large a batch the plan is for they may,
 * in the last bits. */
q8_code q8_run_forward(q8_run *run, int n, q8_observe_fn observe, void *user, q8_err *err);

/** Copies picture `i` of a view to NCHW. */
void q8_view_to_nchw(const q8_view *view, int i, float *out);

#endif
