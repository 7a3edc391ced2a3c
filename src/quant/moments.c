#include "quant/moments.h"

#include <stdatomic.h>

#include "base/simd.h"
#include "base/team.h"
#include "base/thread.h"

/* A tile of the result whose sums stay in registers. */
enum { LANES = 16, TILE_ROWS = 8, TILE_VECTORS = Q8_MOMENTS_PAD / LANES };

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

struct job {
    const float *a, *b;
    int rows, stride;
    float *out;
    int end;         /* of the stripes that are to be made */
    atomic_int next; /* stripe of TILE_ROWS rows of the result */
};

int q8_moments_stride(int n)
{
    return (n + Q8_MOMENTS_PAD - 1) / Q8_MOMENTS_PAD * Q8_MOMENTS_PAD;
}

Q8_SIMD_CLONES
static void tile(const struct job *job, size_t i, size_t j)
{
    const size_t stride = (size_t)job->stride;
    vector sum[TILE_ROWS][TILE_VECTORS] = {0};
    const float *a = job->a + i, *b = job->b + j;
    for (int r = 0; r < job->rows; r++, a += stride, b += stride)
        for (int k = 0; k < TILE_ROWS; k++)
            for (int v = 0; v < TILE_VECTORS; v++)
                sum[k][v] += a[k] * ((const vector *)b)[v];
    for (int k = 0; k < TILE_ROWS; k++)
        for (int v = 0; v < TILE_VECTORS; v++)
            ((vector *)(job->out + (i + (size_t)k) * stride + j))[v] = sum[k][v] / (float)job->rows;
}

static q8_code work(void *user, int worker, q8_err *err)
{
    (void)worker, (void)err;
    struct job *job = user;
    for (int i; (i = atomic_fetch_add(&job->next, 1)) < job->end;)
        for (int j = 0; j < job->stride; j += Q8_MOMENTS_PAD)
            tile(job, (size_t)i * TILE_ROWS, (size_t)j);
    return Q8_OK;
}

q8_code q8_moments(const float *a, const float *b, int rows, int n, float *out, const q8_env *env,
                   q8_err *err)
{
    struct job job = {.a = a, .b = b, .rows = rows, .stride = q8_moments_stride(n), .out = out};
    const size_t stripes = (size_t)job.stride / TILE_ROWS;
    const q8_range own = q8_team_range(env, stripes);
    job.end = (int)own.end;
    atomic_init(&job.next, (int)own.begin);
    const q8_code code = q8_parallel(q8_thread_count(env), work, &job, err);
    const size_t stripe = TILE_ROWS * (size_t)job.stride * sizeof(float);
    return q8_team_complete(env, code, out, stripes, stripe, err);
}
