/** What a backend is to the plan: a maker of kernels, node by node. */
#ifndef Q8_EXEC_BACKEND_H
#define Q8_EXEC_BACKEND_H

#include "exec/exec.h"
#include "ops/op.h"

/** A tensor of a run in the memory it was planned in. */
typedef union q8_spot {
    float *host;
    void *gpu; /**< the backend's own handle */
} q8_spot;

struct q8_gpu_run;

/** A node to run for a fixed batch. Immutable once prepared; run() may be called from several
 * threads.
 */
typedef struct q8_kernel {
    int in_block, out_block; /**< layout it reads rank-3 inputs in / makes rank-3 outputs in */
    size_t scratch;          /**< bytes run() needs, 64-byte aligned */
    size_t constants;        /**< bytes prepare() fills for run(), 64-byte aligned */
    q8_code (*run)(const struct q8_kernel *kernel, const float *const *in, float *const *out,
                   void *scratch, q8_err *err);
    void (*close)(struct q8_kernel *kernel); /**< frees the kernel too */
    /** What takes long and nothing else waits for, once, before the first run: generating code,
     *  bringing weights into shape. Kernels may be prepared at the same time. NULL: nothing.
     *  @param constants outlive the kernel */
    q8_code (*prepare)(struct q8_kernel *kernel, void *constants, q8_err *err);
    /** Instead of run(): has the work done by the GPU after what it was given before, or waits for
     * it where an output is in the host's memory. Blocks may be ::Q8_ON_GPU. */
    q8_code (*enqueue)(const struct q8_kernel *kernel, struct q8_gpu_run *run, const q8_spot *in,
                       const q8_spot *out, q8_err *err);
    size_t gpu_scratch; /**< bytes enqueue() needs */
    bool adds;          /**< of a residual: its output's memory holds what is added */
} q8_kernel;

static inline q8_code q8_kernel_prepare(q8_kernel *kernel, void *constants, q8_err *err)
{
    return kernel->prepare ? kernel->prepare(kernel, constants, err) : Q8_OK;
}

typedef struct q8_backend {
    const char *name;
    /** Makes a kernel, or leaves `*kernel` NULL where this node is not supported (not an error).
     *  @param in_block current layout of each input: a layout-agnostic node keeps it */
    q8_code (*compile)(const q8_graph *graph, const q8_node *node, const int *in_block, int batch,
                       q8_kernel **kernel, q8_err *err);
    /** The same for a node whose output is added to what its memory holds, and then goes through an
     * activation, as at the end of a residual block: all in one kernel, or none. NULL: never. */
    q8_code (*compile_residual)(const q8_graph *graph, const q8_node *node,
                                const q8_activation *after, const int *in_block, int batch,
                                q8_kernel **kernel, q8_err *err);
} q8_backend;

extern const q8_backend q8_backend_plain; /**< supports everything */
extern const q8_backend q8_backend_onednn;
/** Convolutions with inputs and weights in bf16, where this processor is faster at that. */
extern const q8_backend q8_backend_bf16;

#endif
