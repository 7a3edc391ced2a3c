#include "quant/moments.h"

#include "base/thread.h"
#include "exec/gemm.h"

/* Rows of a result that are made at once. */
enum { STRIPE = 64 };

struct job {
    const float *exact, *coded;
    int rows, n, stride;
    float *own, *cross;
    int stripes; /* of each result */
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
static q8_code make_stripe_of_either(void *user, int item, q8_err *err)
{
    const struct job *job = user;
    const int first = item % job->stripes * STRIPE;
    return item < job->stripes ? make_stripe(job, job->exact, first, 0, job->cross, err)
                               : make_stripe(job, job->coded, first, first, job->own, err);
}

static void mirror_square(const struct job *job, size_t row, size_t column)
{
    const size_t stride = (size_t)job->stride, n = (size_t)job->n;
    for (size_t i = row; i < n && i < row + STRIPE; i++)
        for (size_t k = column; k < i && k < column + STRIPE; k++)
            job->own[i * stride + k] = job->own[k * stride + i];
}

/* Fills in what is left of the diagonal. */
static q8_code mirror_stripe(void *user, int stripe, q8_err *err)
{
    (void)err;
    for (int k = 0; k <= stripe; k++)
        mirror_square(user, (size_t)stripe * STRIPE, (size_t)k * STRIPE);
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
    const q8_code code =
        q8_parallel_each(threads, 2 * job.stripes, make_stripe_of_either, &job, err);
    return code ? code : q8_parallel_each(threads, job.stripes, mirror_stripe, &job, err);
}
