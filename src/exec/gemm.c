/* Where there is no oneDNN, see onednn_gemm.c. */
#ifndef Q8_HAVE_ONEDNN

#include "exec/gemm.h"

#include <string.h>

#include "base/simd.h"

Q8_SIMD_CLONES
static void add_multiple(float *restrict to, const float *restrict from, float factor, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += factor * from[i];
}

q8_code q8_gemm_run(const q8_gemm *g, q8_err *err)
{
    (void)err;
    const size_t across = g->a_transposed ? (size_t)g->a_stride : 1;
    const size_t down = g->a_transposed ? 1 : (size_t)g->a_stride;
    for (size_t i = 0; i < (size_t)g->m; i++) {
        float *c = g->c + i * (size_t)g->c_stride;
        if (!g->add)
            memset(c, 0, (size_t)g->n * sizeof(*c));
        for (size_t k = 0; k < (size_t)g->k; k++)
            add_multiple(c, g->b + k * (size_t)g->b_stride, g->factor * g->a[i * down + k * across],
                         g->n);
    }
    return Q8_OK;
}

#endif
