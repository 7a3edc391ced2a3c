/* The oneDNN backend: which node types it takes, and kernels around its primitives.
 *
 * Every thread of ours runs its own pictures, so a primitive must use just that thread: it is
 * compiled and executed with OpenMP set to one thread, which also makes results the same on any
 * number of cores. Primitives and constants are shared by threads; memory objects of activations
 * (about 0.15 us each) and the stream are made anew for each execution, so no handle ever changes.
 */
#ifdef Q8_HAVE_ONEDNN

#include "exec/onednn.h"

#include <limits.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <stdlib.h>
#include <string.h>

#include "exec/blocked.h"
#include "exec/layout.h"
#include "ops/rows.h"

enum { MAX_CONSTANTS = 2, ALIGN = 64 };

struct constant {
    dnnl_memory_t memory;
    q8_dnnl_constant from;
    bool as_is; /* the node's weights are used as they are */
    size_t at;  /* else: where in the kernel's constants the reordered copy is */
};

struct kernel {
    q8_kernel base;
    const q8_node *node;
    dnnl_engine_t engine;
    dnnl_primitive_desc_t pd;   /* owns the memory descriptors below */
    dnnl_primitive_t primitive; /* as its constants, NULL until prepared */
    q8_dnnl_md src, dst, scratchpad;
    size_t times, src_step, dst_step; /* executions, and floats from one to the next */
    struct constant constant[MAX_CONSTANTS];
    int n_constants;
};

/* --- entering the library --------------------------------------------------------------------- */

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
void omp_set_num_threads(int n);
int omp_get_max_threads(void);

static int set_threads(int n)
{
    const int before = omp_get_max_threads();
    omp_set_num_threads(n);
    return before;
}
#else
static int set_threads(int n)
{
    return n;
}
#endif

void q8_dnnl_enter(q8_dnnl_before *before)
{
    /* A fault's own signal cannot wait. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before->signals);
    before->threads = set_threads(1);
}

void q8_dnnl_leave(const q8_dnnl_before *before)
{
    set_threads(before->threads);
    pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
}

/* --- errors ----------------------------------------------------------------------------------- */

static q8_code fail(const q8_node *node, const char *what, dnnl_status_t status, q8_err *err)
{
    if (status == dnnl_out_of_memory)
        return q8_fail_nomem(err);
    return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name, "oneDNN: cannot %s (%s)", what,
                   dnnl_status2str(status));
}

q8_code q8_dnnl_fail(const q8_dnnl_job *job, const char *what, dnnl_status_t status)
{
    return fail(job->node, what, status, job->err);
}

q8_code q8_dnnl_offer(const q8_dnnl_job *job, dnnl_status_t status, dnnl_primitive_desc_t *pd)
{
    /* Shapes that oneDNN has no notion of (a negative padding, …) are "invalid arguments". */
    if (status == dnnl_unimplemented || status == dnnl_invalid_arguments) {
        *pd = NULL;
        return Q8_OK;
    }
    if (status) {
        *pd = NULL;
        return q8_dnnl_fail(job, "describe the layer", status);
    }
    const char *name = NULL;
    status = dnnl_primitive_desc_query(*pd, dnnl_query_impl_info_str, 0, &name);
    if (status || !name || strstr(name, "ref")) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    return Q8_OK;
}

/* --- kernels ---------------------------------------------------------------------------------- */

static void close_kernel(q8_kernel *base)
{
    struct kernel *k = (struct kernel *)base;
    for (int i = 0; i < k->n_constants; i++)
        if (k->constant[i].memory)
            dnnl_memory_destroy(k->constant[i].memory);
    if (k->primitive)
        dnnl_primitive_destroy(k->primitive);
    if (k->pd)
        dnnl_primitive_desc_destroy(k->pd);
    if (k->engine)
        dnnl_engine_destroy(k->engine);
    free(k);
}

/* Executes with memory objects for src, dst and scratch that live for this call only. */
static dnnl_status_t execute(const struct kernel *k, const float *src, float *dst, void *scratch)
{
    dnnl_exec_arg_t args[MAX_CONSTANTS + 3] = {
        {DNNL_ARG_SRC, NULL}, {DNNL_ARG_DST, NULL}, {DNNL_ARG_SCRATCHPAD, NULL}};
    dnnl_stream_t stream = NULL;
    for (int i = 0; i < k->n_constants; i++)
        args[3 + i] = (dnnl_exec_arg_t){k->constant[i].from.arg, k->constant[i].memory};
    dnnl_status_t status =
        dnnl_memory_create(&args[0].memory, k->src, k->engine, (void *)(uintptr_t)src);
    if (!status)
        status = dnnl_memory_create(&args[1].memory, k->dst, k->engine, dst);
    if (!status)
        status = dnnl_memory_create(&args[2].memory, k->scratchpad, k->engine, scratch);
    if (!status)
        status = dnnl_stream_create(&stream, k->engine, dnnl_stream_default_flags);
    if (!status)
        status = dnnl_primitive_execute(k->primitive, stream, 3 + k->n_constants, args);
    if (!status)
        status = dnnl_stream_wait(stream);
    if (stream)
        dnnl_stream_destroy(stream);
    for (int i = 0; i < 3; i++)
        if (args[i].memory)
            dnnl_memory_destroy(args[i].memory);
    return status;
}

static q8_code run_kernel(const q8_kernel *base, const float *const *in, float *const *out,
                          void *scratch, q8_err *err)
{
    const struct kernel *k = (const struct kernel *)base;
    q8_dnnl_before before;
    q8_dnnl_enter(&before);
    dnnl_status_t status = dnnl_success;
    for (size_t i = 0; !status && i < k->times; i++)
        status = execute(k, in[0] + i * k->src_step, out[0] + i * k->dst_step, scratch);
    q8_dnnl_leave(&before);
    return status ? fail(k->node, "run the layer", status, err) : Q8_OK;
}

static q8_dnnl_md md_of(const struct kernel *k, const struct constant *c)
{
    return dnnl_primitive_desc_query_md(k->pd, dnnl_query_exec_arg_md, c->from.arg);
}

/* Room for a constant in the layout that the primitive wants, only where that differs. */
static void place_constant(struct kernel *k, struct constant *c)
{
    q8_dnnl_md md = md_of(k, c);
    c->as_is = q8_dnnl_is(md, &c->from.tensor);
    c->at = k->base.constants;
    if (!c->as_is)
        k->base.constants += (dnnl_memory_desc_get_size(md) + ALIGN - 1) / ALIGN * ALIGN;
}

static q8_code prepare_constant(const struct kernel *k, struct constant *c, void *constants,
                                q8_err *err)
{
    q8_dnnl_md md = md_of(k, c);
    void *data = c->as_is ? (void *)(uintptr_t)c->from.data /* read only, whatever the type says */
                          : (char *)constants + c->at;
    dnnl_status_t status = dnnl_memory_create(&c->memory, md, k->engine, data);
    if (!status && !c->as_is)
        status = q8_dnnl_reorder(k->engine, &c->from.tensor, c->from.data, md, c->memory);
    return status ? fail(k->node, "reorder the weights", status, err) : Q8_OK;
}

static q8_code prepare_kernel(q8_kernel *base, void *constants, q8_err *err)
{
    struct kernel *k = (struct kernel *)base;
    q8_dnnl_before before;
    q8_dnnl_enter(&before);
    dnnl_status_t status = dnnl_primitive_create(&k->primitive, k->pd);
    q8_code code = status ? fail(k->node, "compile the layer", status, err) : Q8_OK;
    for (int i = 0; !code && i < k->n_constants; i++)
        code = prepare_constant(k, &k->constant[i], constants, err);
    q8_dnnl_leave(&before);
    return code;
}

q8_code q8_dnnl_kernel_new(const q8_dnnl_job *job, dnnl_primitive_desc_t pd, int in_block,
                           int out_block, const q8_dnnl_constant *constant, int n_constants,
                           q8_kernel **kernel)
{
    struct kernel *k = calloc(1, sizeof(*k));
    if (!k) {
        dnnl_primitive_desc_destroy(pd);
        return q8_fail_nomem(job->err);
    }
    k->base = (q8_kernel){.in_block = in_block,
                          .out_block = out_block,
                          .run = run_kernel,
                          .close = close_kernel,
                          .prepare = prepare_kernel};
    k->node = job->node;
    k->engine = job->engine;
    k->pd = pd;
    k->src = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_SRC);
    k->dst = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_DST);
    k->scratchpad = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_SCRATCHPAD);
    k->base.scratch = dnnl_memory_desc_get_size(k->scratchpad);
    k->times = (size_t)job->times;
    k->src_step = dnnl_memory_desc_get_size(k->src) / sizeof(float);
    k->dst_step = dnnl_memory_desc_get_size(k->dst) / sizeof(float);
    k->n_constants = n_constants;
    for (int i = 0; i < n_constants; i++) {
        k->constant[i].from = constant[i];
        place_constant(k, &k->constant[i]);
    }
    *job->engine_taken = true;
    *kernel = &k->base;
    return Q8_OK;
}

/* --- the backend ------------------------------------------------------------------------------ */

q8_dnnl_tensor q8_dnnl_batch(const q8_shape *shape, int batch, int block)
{
    static const dnnl_format_tag_t plain[] = {dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde};
    static const dnnl_format_tag_t blocked[] = {dnnl_nchw, dnnl_nChw8c, dnnl_nChw16c, dnnl_nhwc};
    q8_dnnl_tensor tensor = {.rank = shape->rank + 1, .dim = {batch}};
    for (int i = 0; i < shape->rank; i++)
        tensor.dim[i + 1] = shape->dim[i];
    tensor.format = shape->rank == 3 ? blocked[q8_block_index(block)] : plain[shape->rank - 1];
    return tensor;
}

bool q8_dnnl_has_isa(dnnl_cpu_isa_t isa)
{
#if defined(__x86_64__) || defined(__i386__)
    return ((unsigned)dnnl_get_effective_cpu_isa() & (unsigned)isa) == (unsigned)isa;
#else
    (void)isa;
    return false;
#endif
}

/* nChw16c for AVX-512, nChw8c for AVX2 and SSE4.1; oneDNN has no fast blocked code elsewhere. */
static int best_block(void)
{
    if (q8_dnnl_has_isa(dnnl_cpu_isa_avx512_core))
        return 16;
    return q8_dnnl_has_isa(dnnl_cpu_isa_sse41) ? 8 : 1;
}

static q8_dnnl_compile_fn find_compile(const q8_node *node)
{
    static const struct {
        const q8_op *op;
        q8_dnnl_compile_fn compile;
    } table[] = {
        {&q8_op_convolution, q8_dnnl_compile_convolution},
        {&q8_op_convolutiondepthwise, q8_dnnl_compile_convolution},
        {&q8_op_deconvolution, q8_dnnl_compile_deconvolution},
        {&q8_op_deconvolutiondepthwise, q8_dnnl_compile_deconvolution},
        {&q8_op_innerproduct, q8_dnnl_compile_innerproduct},
        {&q8_op_pooling, q8_dnnl_compile_pooling},
        {&q8_op_lrn, q8_dnnl_compile_lrn},
        {&q8_op_softmax, q8_dnnl_compile_softmax},
        {&q8_op_shufflechannel, q8_dnnl_compile_shuffle},
        {&q8_op_absval, q8_dnnl_compile_unary},
        {&q8_op_elu, q8_dnnl_compile_unary},
        {&q8_op_exp, q8_dnnl_compile_unary},
        {&q8_op_log, q8_dnnl_compile_unary},
        {&q8_op_swish, q8_dnnl_compile_unary},
        {&q8_op_tanh, q8_dnnl_compile_unary},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].op == node->op)
            return table[i].compile;
    return node->op->as_activation ? q8_dnnl_compile_activation : NULL;
}

bool q8_dnnl_fits(const q8_shape *shape, int batch)
{
    const size_t count = q8_layout_count(shape, 16); /* 0: beyond all limits */
    return count > 0 && count <= INT_MAX / sizeof(float) / (size_t)batch;
}

bool q8_dnnl_fits_node(const q8_graph *graph, const q8_node *node, int batch)
{
    for (int i = 0; i < node->n_in + node->n_out; i++) {
        const int tensor = i < node->n_in ? node->in[i] : node->out[i - node->n_in];
        if (!q8_dnnl_fits(&graph->tensor[tensor].shape, batch))
            return false;
    }
    return true;
}

q8_code q8_dnnl_compile(const q8_dnnl_job *job, q8_dnnl_compile_fn compile, q8_kernel **kernel)
{
    bool taken = false;
    q8_dnnl_job own = *job;
    own.engine_taken = &taken;
    *kernel = NULL;
    dnnl_status_t status = dnnl_engine_create(&own.engine, dnnl_cpu, 0);
    if (status)
        return q8_dnnl_fail(job, "start", status);
    q8_dnnl_before before;
    q8_dnnl_enter(&before);
    q8_code code = compile(&own, kernel);
    q8_dnnl_leave(&before);
    if (!taken)
        dnnl_engine_destroy(own.engine);
    return code;
}

q8_dnnl_job q8_dnnl_job_of(const q8_graph *graph, const q8_node *node,
                           const q8_activation *residual, int in_block, q8_err *err)
{
    return (q8_dnnl_job){.graph = graph,
                         .node = node,
                         .in = &graph->tensor[node->in[0]].shape,
                         .out = &graph->tensor[node->out[0]].shape,
                         .in_block = in_block,
                         .block = best_block(),
                         .residual = residual,
                         .batch = 1,
                         .times = 1,
                         .err = err};
}

/* By a primitive of oneDNN. */
static q8_code compile_primitive(const q8_graph *graph, const q8_node *node,
                                 const q8_activation *residual, const int *in_block, int batch,
                                 q8_kernel **kernel, q8_err *err)
{
    const q8_dnnl_compile_fn by_onednn = find_compile(node);
    *kernel = NULL;
    /* Plain C takes what may not fit. */
    if (!by_onednn || node->n_in != 1 || node->n_out != 1 || !q8_dnnl_fits_node(graph, node, batch))
        return Q8_OK;
    q8_dnnl_job job = q8_dnnl_job_of(graph, node, residual, in_block[0], err);
    job.batch = batch;
    return q8_dnnl_compile(&job, by_onednn, kernel);
}

static q8_code compile_node(const q8_graph *graph, const q8_node *node, const int *in_block,
                            int batch, q8_kernel **kernel, q8_err *err)
{
    const q8_code code = compile_primitive(graph, node, NULL, in_block, batch, kernel, err);
    return code || *kernel ? code : q8_blocked_compile(graph, node, in_block, batch, kernel, err);
}

static q8_code compile_residual(const q8_graph *graph, const q8_node *node,
                                const q8_activation *after, const int *in_block, int batch,
                                q8_kernel **kernel, q8_err *err)
{
    *kernel = NULL;
    if (node->op != &q8_op_convolution)
        return Q8_OK;
    const q8_code code = compile_primitive(graph, node, after, in_block, batch, kernel, err);
    if (*kernel)
        (*kernel)->adds = true;
    return code;
}

const q8_backend q8_backend_onednn = {"onednn", compile_node, compile_residual};

#endif
