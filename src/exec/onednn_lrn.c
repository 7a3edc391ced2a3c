/*
 * LRN across channels by oneDNN, and by plain C where oneDNN would be wrong. A layer's sum is
 *     s = k + alpha / n * (x_1^2 + ... + x_n^2)
 * and oneDNN has s^3 on the way to s^(-3/4): with s above 7e12 that is infinite, and the result 0;
 * with an s near 0 it is 0, and the result infinite.
 */
#ifdef Q8_HAVE_ONEDNN

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "exec/layout.h"
#include "exec/onednn.h"
#include "ops/op.h"
#include "ops/simple.h"

/* Sums whose cube is a normal float. */
static const float MIN_SUM = 0x1p-40f, MAX_SUM = 0x1p42f;

struct lrn_kernel {
    q8_kernel base;
    q8_kernel *quick;
    const q8_node *node;
    q8_shape shape;
    size_t batch, count; /* pictures; floats of one with the channels that pad it */
    float largest;       /* |x| with which no sum is above MAX_SUM */
};

Q8_SIMD_CLONES static bool lrn_is_within(const float *x, size_t n, float largest)
{
    int32_t limit, above = 0;
    memcpy(&limit, &largest, sizeof(limit));
    for (size_t i = 0; i < n; i++) {
        int32_t bits; /* those of |x| are in its order, NaN's behind all */
        memcpy(&bits, &x[i], sizeof(bits));
        above |= (bits & INT32_MAX) > limit;
    }
    return !above;
}

/* By the node's own forward; `scratch` holds one picture's input and output. */
static q8_code run_exactly(const struct lrn_kernel *k, const float *in, float *out, float *scratch,
                           q8_err *err)
{
    const int block = k->base.in_block;
    const float *picture_in = scratch;
    float *picture_out = scratch + q8_shape_count(&k->shape);
    const q8_forward f = {k->node, &k->shape, &k->shape, &picture_in, &picture_out};
    q8_code code = Q8_OK;
    for (size_t b = 0; b < k->batch && !code; b++) {
        q8_layout_convert(&k->shape, 1, in + b * k->count, block, scratch, 1);
        code = k->node->op->forward(&f, err);
        q8_layout_convert(&k->shape, 1, picture_out, 1, out + b * k->count, block);
    }
    return code;
}

static q8_code run_lrn(const q8_kernel *base, const float *const *in, float *const *out,
                       void *scratch, q8_err *err)
{
    const struct lrn_kernel *k = (const struct lrn_kernel *)base;
    if (lrn_is_within(in[0], k->batch * k->count, k->largest))
        return k->quick->run(k->quick, in, out, scratch, err);
    return run_exactly(k, in[0], out[0], scratch, err);
}

static q8_code prepare_lrn(q8_kernel *base, void *constants, q8_err *err)
{
    const struct lrn_kernel *k = (const struct lrn_kernel *)base;
    return q8_kernel_prepare(k->quick, constants, err);
}

static void close_lrn(q8_kernel *base)
{
    struct lrn_kernel *k = (struct lrn_kernel *)base;
    k->quick->close(k->quick);
    free(k);
}

static dnnl_status_t describe(const q8_dnnl_job *job, int block, dnnl_primitive_attr_t attr,
                              const void *with, dnnl_primitive_desc_t *pd)
{
    const q8_lrn_attr *a = with;
    const q8_dnnl_tensor tensor = q8_dnnl_batch(job->in, job->batch, block);
    return q8_dnnl_lrn(pd, job->engine, attr, &tensor, a->size, a->alpha, a->beta, a->bias);
}

/* A kernel that runs `quick`, which it takes over, where the input is small enough. */
static q8_code guard(const q8_dnnl_job *job, float largest, q8_kernel *quick, q8_kernel **kernel)
{
    struct lrn_kernel *k = malloc(sizeof(*k));
    if (!k) {
        quick->close(quick);
        return q8_fail_nomem(job->err);
    }
    const size_t exact = 2 * q8_shape_count(job->in) * sizeof(float);
    *k = (struct lrn_kernel){.base = *quick,
                             .quick = quick,
                             .node = job->node,
                             .shape = *job->in,
                             .batch = (size_t)job->batch * (size_t)job->times,
                             .count = q8_layout_count(job->in, quick->in_block),
                             .largest = largest};
    k->base.scratch = quick->scratch > exact ? quick->scratch : exact;
    k->base.run = run_lrn;
    k->base.prepare = prepare_lrn;
    k->base.close = close_lrn;
    *kernel = &k->base;
    return Q8_OK;
}

q8_code q8_dnnl_compile_lrn(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_lrn_attr *a = job->node->attr;
    q8_kernel *quick = NULL;
    if (a->region != Q8_LRN_ACROSS_CHANNELS || !(a->bias >= MIN_SUM && a->bias < MAX_SUM) ||
        !(a->alpha >= 0))
        return Q8_OK;
    const q8_code code = q8_dnnl_compile_in_some_layout(job, describe, a, &quick);
    if (code || !quick)
        return code;
    const float largest = sqrtf((MAX_SUM - a->bias) / a->alpha); /* infinite with an alpha of 0 */
    return guard(job, fminf(largest, FLT_MAX), quick, kernel);
}

#endif
