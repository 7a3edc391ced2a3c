/* Convolutions in bf16 by oneDNN: inputs and weights are rounded, sums and outputs are fp32.
 *
 * Processors with AMX are at their best where all channels of a pixel lie together; such kernels
 * make their neighbours, which keep a tensor's layout, work in it too. Processors that have AVX-512
 * instructions for bf16 only are better at blocks. Depthwise convolutions, which do little with
 * what they read, are no faster in bf16, nor is an InnerProduct on a picture at a time.
 */
#ifdef Q8_HAVE_ONEDNN

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "exec/layout.h"
#include "exec/onednn.h"
#include "ops/conv.h"
#include "ops/rows.h"

/* To the nearest, halves to even; NaN stays NaN, and denormals become 0 as they do in products. */
static inline uint16_t round_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    const uint32_t magnitude = bits & INT32_MAX;
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    if (magnitude < 0x00800000)
        return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)(magnitude > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
}

#ifdef Q8_SIMD_X86
/* Every processor with one of the layouts below has this. @return values done */
__attribute__((target("avx512f,avx512bf16"))) static size_t
round_avx512bf16(const float *restrict x, uint16_t *restrict y, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
        memcpy(y + i, &rounded, sizeof(rounded));
    }
    return i;
}
#endif

static void round_floats(const float *restrict x, uint16_t *restrict y, size_t n)
{
    size_t i = 0;
#ifdef Q8_SIMD_X86
    if (__builtin_cpu_supports("avx512bf16"))
        i = round_avx512bf16(x, y, n);
#endif
    for (; i < n; i++)
        y[i] = round_bf16(x[i]);
}

/* A picture at a time: how oneDNN divides the sums may depend on the batch. */
struct kernel {
    q8_kernel base;
    q8_kernel *conv;
    int batch;
    size_t in_count, out_count; /* floats of a picture */
};

static size_t rounded_bytes(const struct kernel *k)
{
    return (k->in_count * sizeof(uint16_t) + 63) / 64 * 64;
}

static q8_code run_kernel(const q8_kernel *base, const float *const *in, float *const *out,
                          void *scratch, q8_err *err)
{
    const struct kernel *k = (const struct kernel *)base;
    q8_code code = Q8_OK;
    for (size_t i = 0; i < (size_t)k->batch && !code; i++) {
        const float *const rounded[] = {scratch};
        float *const to[] = {out[0] + i * k->out_count};
        round_floats(in[0] + i * k->in_count, scratch, k->in_count);
        code = k->conv->run(k->conv, rounded, to, (char *)scratch + rounded_bytes(k), err);
    }
    return code;
}

static void close_kernel(q8_kernel *base)
{
    struct kernel *k = (struct kernel *)base;
    k->conv->close(k->conv);
    free(k);
}

static q8_code prepare_kernel(q8_kernel *base, void *constants, q8_err *err)
{
    return q8_kernel_prepare(((struct kernel *)base)->conv, constants, err);
}

/* Takes over `conv`. */
static q8_code wrap(const q8_dnnl_job *job, q8_kernel *conv, int batch, q8_kernel **kernel)
{
    struct kernel *k = malloc(sizeof(*k));
    if (!k) {
        conv->close(conv);
        return q8_fail_nomem(job->err);
    }
    *k = (struct kernel){
        .base = {.in_block = conv->in_block,
                 .out_block = conv->out_block,
                 .constants = conv->constants,
                 .run = run_kernel,
                 .close = close_kernel,
                 .prepare = prepare_kernel},
        .conv = conv,
        .batch = batch,
        .in_count = q8_layout_count(job->in, conv->in_block),
        .out_count = q8_layout_count(job->out, conv->out_block),
    };
    k->base.scratch = rounded_bytes(k) + conv->scratch;
    *kernel = &k->base;
    return Q8_OK;
}

/* The layout that bf16 is fast in here; 0: none. */
static int fast_block(void)
{
    if (q8_dnnl_has_isa(dnnl_cpu_isa_avx512_core_amx))
        return Q8_CHANNELS_LAST;
    return q8_dnnl_has_isa(dnnl_cpu_isa_avx512_core_bf16) ? 16 : 0;
}

/* Is there enough to compute on what has to be rounded? Measured on Sapphire Rapids: below 24
 * products for each value read or written, moving the values is what takes the time, and with fewer
 * than 32 channels AMX's tiles are not even half full. What lies as bf16 has it already stays so at
 * less. 1 to 3 channels are read as they are, where a filter must cover 25 values of each. */
static bool repays_rounding(const q8_dnnl_job *job)
{
    enum { MIN_PRODUCTS = 24, MIN_IN_PLACE = 6, MIN_CHANNELS = 32, FEW_CHANNELS = 3 };
    enum { MIN_FLAT_KERNEL = 25 };
    const q8_conv_attr *a = job->node->attr;
    const size_t kernel = (size_t)a->kernel_w * (size_t)a->kernel_h;
    const size_t channels = (size_t)job->in->dim[0];
    const size_t values = q8_shape_count(job->in) + q8_shape_count(job->out);
    const size_t products = q8_shape_count(job->out) * kernel * channels / (size_t)a->group;
    if (channels <= FEW_CHANNELS)
        return kernel >= MIN_FLAT_KERNEL;
    if (job->in_block == job->block)
        return products / values >= MIN_IN_PLACE;
    return channels >= MIN_CHANNELS && products / values >= MIN_PRODUCTS;
}

/* The rule looks at the processor and the shape alone, never at a clock, so results are the same in
 * every run. Pictures of 1 to 3 channels are best read as they are, or as pixels. */
static q8_code compile_convolution(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const bool flat = job->in->dim[0] < 4 && job->block != Q8_CHANNELS_LAST;
    const q8_dnnl_way way = {dnnl_convolution_direct, flat ? 1 : job->block, job->block, true};
    return repays_rounding(job) ? q8_dnnl_compile_convolution_in(job, &way, kernel) : Q8_OK;
}

static q8_code compile_residual(const q8_graph *graph, const q8_node *node,
                                const q8_activation *after, const int *in_block, int batch,
                                q8_kernel **kernel, q8_err *err)
{
    const int block = fast_block();
    *kernel = NULL;
    if (!block || node->op != &q8_op_convolution || node->exact || node->n_in != 1 ||
        !q8_dnnl_fits_node(graph, node, batch))
        return Q8_OK;
    q8_dnnl_job job = q8_dnnl_job_of(graph, node, after, in_block[0], err);
    job.block = block;
    q8_kernel *conv;
    q8_code code = q8_dnnl_compile(&job, compile_convolution, &conv);
    if (!code && conv)
        code = wrap(&job, conv, batch, kernel);
    if (!code && conv)
        (*kernel)->adds = after != NULL;
    return code;
}

static q8_code compile_node(const q8_graph *graph, const q8_node *node, const int *in_block,
                            int batch, q8_kernel **kernel, q8_err *err)
{
    return compile_residual(graph, node, NULL, in_block, batch, kernel, err);
}

const q8_backend q8_backend_bf16 = {"bf16", compile_node, compile_residual};

#endif

#include "exec/exec.h"

bool q8_exec_has_bf16(void)
{
#ifdef Q8_HAVE_ONEDNN
    return fast_block() != 0;
#else
    return false;
#endif
}
