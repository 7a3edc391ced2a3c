#include "quant/moments.h"

#include <stdatomic.h>

#include "base/thread.h"
#include "exec/gemm.h"

/* Rows of a result that are made at once. */
enum { STRIPE = 64 };

struct job {
    const float *exact, *coded;
    int rows, n, stride;
    float *own, *cross;
    int stripes; /* of each result */
    atomic_int next, next_mirrored;
};

int q8_moments_stride(int n)
{
    return (n + Q8_MOMENTS_PAD - 1) / Q8_MOMENTS_PAD * Q8_MOMENTS_PAD;
}

/* Rows of out = a^T coded / rows from row `first` on; columns from `column` on. */
static q8_code make_stripe(const struct job *job, const float *a, int first, int column, float *out,
                           q8_err *err)
{
    const int left = job->n - first;
    const q8_gemm product = {.m = left < STRIPE ? left : STRIPE,
                             .n = job->n - column,
                             .k = job->rows,
                             .a = a + first,
                             .b = job->coded + column,
                             .c = out + (size_t)first * (size_t)job->stride + (size_t)column,
                             .a_stride = job->stride,
                             .b_stride = job->stride,
                             .c_stride = job->stride,
                             .a_transposed = true,
                             .factor = 1 / (float)job->rows};
    return q8_gemm_run(&product, err);
}

/* Of `own` just what is right of the diagonal, and the squares on it. */
static q8_code make_stripes(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct job *job = user;
    q8_code code = Q8_OK;
    for (int i; !code && (i = atomic_fetch_add(&job->next, 1)) < 2 * job->stripes;) {
        const int first = i % job->stripes * STRIPE;
        code = i < job->stripes ? make_stripe(job, job->exact, first, 0, job->cross, err)
                                : make_stripe(job, job->coded, first, first, job->own, err);
    }
    return code;
}

static void mirror_square(const struct job *job, size_t row, size_t column)
{
    const size_t stride = (size_t)job->stride, n = (size_t)job->n;
    for (size_t i = row; i < n && i < row + STRIPE; i++)
        for (size_t k = column; k < i && k < column + STRIPE; k++)
            job->own[i * stride + k] = job->own[k * stride + i];
}

/* Fills in what is left of the diagonal. */
static q8_code mirror_stripes(void *user, int worker, q8_err *err)
{
    (void)worker, (void)err;
    struct job *job = user;
    for (int i; (i = atomic_fetch_add(&job->next_mirrored, 1)) < job->stripes;)
        for (int k = 0; k <= i; k++)
            mirror_square(job, (size_t)i * STRIPE, (size_t)k * STRIPE);
    return Q8_OK;
}

q8_code q8_moments(const float *exact, const float *coded, int rows, int n, float *own,
                   float *cross, int threads, q8_err *err)
{
    struct job job = {.exact = exact,
                      .coded = coded,
                      .rows = rows,
                      .n = n,
                      .stride = q8_moments_stride(n),
                      .own = own,
                      .cross = cross,
                      .stripes = (n + STRIPE - 1) / STRIPE};
    const q8_code code = q8_parallel(threads, make_stripes, &job, err);
    return code ? code : q8_parallel(threads, mirror_stripes, &job, err);
}
