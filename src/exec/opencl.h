/** Inside the OpenCL backend: what its files share. */
#ifndef Q8_EXEC_OPENCL_H
#define Q8_EXEC_OPENCL_H

#include <CL/cl.h>
#include <clblast_c.h>

#include "exec/gpu.h"
#include "exec/opencl/geometry.h"
#include "ops/activation.h"

/** Calls that fail in the field, by way of a table so that tests can make them fail. */
#define Q8_CL_CALLS(X)                                                                             \
    X(clGetPlatformIDs)                                                                            \
    X(clGetDeviceIDs)                                                                              \
    X(clCreateContext)                                                                             \
    X(clCreateCommandQueue)                                                                        \
    X(clCreateBuffer)                                                                              \
    X(clCreateProgramWithSource)                                                                   \
    X(clCreateProgramWithBinary)                                                                   \
    X(clBuildProgram)                                                                              \
    X(clEnqueueNDRangeKernel)                                                                      \
    X(clEnqueueReadBuffer)                                                                         \
    X(clEnqueueWriteBuffer)                                                                        \
    X(clFinish)                                                                                    \
    X(CLBlastSgemmStridedBatched)

typedef struct q8_cl_calls {
#define X(name) __typeof__(name) *name;
    Q8_CL_CALLS(X)
#undef X
} q8_cl_calls;

/** The library's own entry points, unless a test has put others there. */
extern q8_cl_calls q8_cl;

/** Kernels of the program: `q8_` and the name. */
#define Q8_CL_KERNELS(X)                                                                           \
    X(unary)                                                                                       \
    X(affine)                                                                                      \
    X(prelu)                                                                                       \
    X(eltwise)                                                                                     \
    X(binary_scalar)                                                                               \
    X(binary)                                                                                      \
    X(gather)                                                                                      \
    X(place)                                                                                       \
    X(pool)                                                                                        \
    X(pool_all)                                                                                    \
    X(lrn)                                                                                         \
    X(softmax)                                                                                     \
    X(im2col)                                                                                      \
    X(conv)                                                                                        \
    X(deconv)                                                                                      \
    X(resize)                                                                                      \
    X(normalize)                                                                                   \
    X(reduce)                                                                                      \
    X(mvn)                                                                                         \
    X(quantize)                                                                                    \
    X(beyond)                                                                                      \
    X(dequantize)                                                                                  \
    X(int8_inner)                                                                                  \
    X(compare)                                                                                     \
    X(compare_total)                                                                               \
    X(stats_extent)                                                                                \
    X(stats_raise)                                                                                 \
    X(stats_count)                                                                                 \
    X(stats_channels)

typedef enum q8_cl_id {
#define X(name) Q8_CL_##name,
    Q8_CL_KERNELS(X)
#undef X
        Q8_CL_N_KERNELS
} q8_cl_id;

struct q8_gpu {
    q8_gpu_info info;
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue; /**< for what is done once: constants go there, results come back */
    cl_program program;
};

struct q8_gpu_run {
    q8_gpu *gpu;
    cl_command_queue queue;
    cl_mem slab, scratch;
    cl_mem *part; /**< by plan part; NULL where it is not on the GPU */
    int n_parts;
    cl_kernel kernel[Q8_CL_N_KERNELS]; /**< of this run alone: setting arguments is not for
                                          several threads */
};

/** OpenCL's own word for a status. */
const char *q8_cl_status(cl_int status);

/** An error of the device while it was to `what`: names it, and says what may help. Always
 *  ::Q8_EDEVICE, or ::Q8_ENOMEM where memory ran out. */
q8_code q8_cl_fail(const q8_gpu *gpu, const char *what, cl_int status, q8_err *err);

/** The text of all kernels, embedded when the library is built. */
extern const char q8_cl_source[];

/** Sets gpu->program: from the cache on disk, if it has it, else compiled. */
q8_code q8_cl_program(q8_gpu *gpu, q8_err *err);

/** Memory with these contents. */
q8_code q8_cl_constant(q8_gpu *gpu, cl_mem *mem, const void *data, size_t bytes, q8_err *err);

typedef struct q8_cl_arg {
    const void *data;
    size_t size;
} q8_cl_arg;

#define Q8_CL_ARG(x)                                                                               \
    {                                                                                              \
        &(x), sizeof(x)                                                                            \
    }

/** Work-items in two dimensions; the first is rounded up to whole groups. */
typedef struct q8_cl_grid {
    size_t x, y, group;
} q8_cl_grid;

q8_code q8_cl_launch(q8_gpu_run *run, q8_cl_id id, const q8_cl_grid *grid, const q8_cl_arg *arg,
                     int n_args, q8_err *err);

/** A node's kernel. */
typedef struct q8_cl_node {
    q8_kernel base;
    q8_gpu *gpu;
    const q8_graph *graph;
    const q8_node *node;
    int batch;
    cl_mem *constant;
    int n_constants;
    float *fill; /**< of a gather, by output */
    q8_cl_function f;
    union {
        q8_cl_conv conv;
        q8_cl_pool pool;
        q8_cl_pairs pairs;
        q8_cl_lrn lrn;
        q8_cl_resize resize;
        q8_cl_normalize normalize;
        q8_cl_reduce reduce;
    } as;
} q8_cl_node;

static inline const q8_shape *q8_cl_in(const q8_cl_node *k, int i)
{
    return &k->graph->tensor[k->node->in[i]].shape;
}

static inline const q8_shape *q8_cl_out(const q8_cl_node *k, int i)
{
    return &k->graph->tensor[k->node->out[i]].shape;
}

/** Adds a constant to the node's. */
q8_code q8_cl_add_constant(q8_cl_node *k, const void *data, size_t bytes, q8_err *err);

/** An activation as kernels are told of it. */
static inline q8_cl_function q8_cl_activation(const q8_activation *act)
{
    return (q8_cl_function){.kind = act->type,
                            .a = act->params.n > 0 ? act->params.v[0] : 0,
                            .b = act->params.n > 1 ? act->params.v[1] : 0};
}

/** How a node type is taken. */
typedef struct q8_cl_maker {
    const struct q8_op *op;
    /** Whether these attributes and shapes are ones there are kernels for. NULL: all are. */
    bool (*fits)(const q8_graph *graph, const q8_node *node);
    /** Sets base.enqueue and what it needs. */
    q8_code (*make)(q8_cl_node *k, q8_err *err);
} q8_cl_maker;

/** NULL-ended by `op`. */
extern const q8_cl_maker q8_cl_conv_makers[], q8_cl_layer_makers[], q8_cl_move_makers[],
    q8_cl_int8_makers[], q8_cl_sum_makers[];
/** For the ops that say they are an activation / an affine function. */
extern const q8_cl_maker q8_cl_activation_maker, q8_cl_affine_maker;

#endif
