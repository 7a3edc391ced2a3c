/** Inside the oneDNN backend: what its files share. */
#ifndef Q8_EXEC_ONEDNN_H
#define Q8_EXEC_ONEDNN_H

#include <signal.h>

#include "exec/backend.h"
#include "exec/onednn_desc.h"

/** What q8_dnnl_leave() puts back. */
typedef struct q8_dnnl_before {
    int threads;
    sigset_t signals;
} q8_dnnl_before;

/**
 * Sets oneDNN to one thread and blocks signals, for the calling thread alone, around every use of
 * the library: oneDNN 2.6's products of matrices with AVX-512 write astray when a signal's handler
 * has run on their thread, whatever it does. Such a signal comes when they are done.
 */
void q8_dnnl_enter(q8_dnnl_before *before);
void q8_dnnl_leave(const q8_dnnl_before *before);

/** A node about to be compiled. */
typedef struct q8_dnnl_job {
    const q8_graph *graph;
    const q8_node *node;
    const q8_shape *in, *out;      /**< of the first input and output */
    int in_block;                  /**< layout the first input has now */
    int block;                     /**< the layout this processor's kernels are best at */
    const q8_activation *residual; /**< after adding to what the output holds; NULL: no adding */
    int batch;                     /**< pictures the primitive computes at once */
    int times;                     /**< how often it runs for the plan's batch */
    dnnl_engine_t engine;
    bool *engine_taken; /**< set once a kernel owns the engine */
    q8_err *err;
} q8_dnnl_job;

/** Of a node with one input and one output, in a batch of one; for the best block unless changed.
 */
q8_dnnl_job q8_dnnl_job_of(const q8_graph *graph, const q8_node *node,
                           const q8_activation *residual, int in_block, q8_err *err);

/** How a convolution may be computed. */
typedef struct q8_dnnl_way {
    dnnl_alg_kind_t kind;
    int in_block, out_block;
    bool bf16; /**< its kernel reads bf16 in place of fp32, and makes fp32 */
} q8_dnnl_way;

/** Leaves `*kernel` NULL where oneDNN has nothing good for the node. */
typedef q8_code (*q8_dnnl_compile_fn)(const q8_dnnl_job *job, q8_kernel **kernel);

q8_code q8_dnnl_compile_convolution(const q8_dnnl_job *job, q8_kernel **kernel);
/** In this way or none; the padding must be zeros. */
q8_code q8_dnnl_compile_convolution_in(const q8_dnnl_job *job, const q8_dnnl_way *way,
                                       q8_kernel **kernel);
q8_code q8_dnnl_compile_deconvolution(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_innerproduct(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_pooling(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_activation(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_unary(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_lrn(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_softmax(const q8_dnnl_job *job, q8_kernel **kernel);
q8_code q8_dnnl_compile_shuffle(const q8_dnnl_job *job, q8_kernel **kernel);

/** With an engine of its own and oneDNN set to one thread. */
q8_code q8_dnnl_compile(const q8_dnnl_job *job, q8_dnnl_compile_fn compile, q8_kernel **kernel);

/** A node in one layout, with what its compile function hands on. */
typedef dnnl_status_t (*q8_dnnl_describe_fn)(const q8_dnnl_job *job, int block,
                                             dnnl_primitive_attr_t attr, const void *with,
                                             dnnl_primitive_desc_t *pd);
/** The first of these layouts that oneDNN has good code for: the present one, which costs no
 *  conversion, the processor's, plain. */
q8_code q8_dnnl_compile_in_some_layout(const q8_dnnl_job *job, q8_dnnl_describe_fn describe,
                                       const void *with, q8_kernel **kernel);
/** A kernel for a function of each element of the job's input. */
q8_code q8_dnnl_compile_eltwise(const q8_dnnl_job *job, const q8_dnnl_eltwise *eltwise,
                                q8_kernel **kernel);

/** Whether this processor has all instructions of a level. */
bool q8_dnnl_has_isa(dnnl_cpu_isa_t isa);

/** oneDNN's code keeps some offsets in 32 bits: whether a batch of the shape stays within. */
bool q8_dnnl_fits(const q8_shape *shape, int batch);
/** Whether all inputs and outputs of the node do. */
bool q8_dnnl_fits_node(const q8_graph *graph, const q8_node *node, int batch);

/** A batch of a shape, in the layout `block`. */
q8_dnnl_tensor q8_dnnl_batch(const q8_shape *shape, int batch, int block);

/** Fails with oneDNN's own word for the status. */
q8_code q8_dnnl_fail(const q8_dnnl_job *job, const char *what, dnnl_status_t status);

/**
 * Judges what q8_dnnl_<primitive>() returned: `*pd` becomes NULL, without an error, where oneDNN
 * has no such primitive or only its slow reference code.
 */
q8_code q8_dnnl_offer(const q8_dnnl_job *job, dnnl_status_t status, dnnl_primitive_desc_t *pd);

/** Weights or bias in ncnn's order; `data` outlives the kernel. */
typedef struct q8_dnnl_constant {
    int arg; /**< DNNL_ARG_WEIGHTS, … */
    q8_dnnl_tensor tensor;
    const float *data;
} q8_dnnl_constant;

/** A kernel of one input and one output. Takes over `pd`, and on success the job's engine. */
q8_code q8_dnnl_kernel_new(const q8_dnnl_job *job, dnnl_primitive_desc_t pd, int in_block,
                           int out_block, const q8_dnnl_constant *constant, int n_constants,
                           q8_kernel **kernel);

#endif
