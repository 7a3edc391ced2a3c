/** Products of float matrices. */
#ifndef Q8_EXEC_GEMM_H
#define Q8_EXEC_GEMM_H

#include <stdbool.h>

#include "base/err.h"

/** c = factor * a b, or c += factor * a b: m x k times k x n, all row-major, rows `stride` floats
 * apart. */
typedef struct q8_gemm {
    int m, n, k;
    const float *a, *b;
    float *c;
    int a_stride, b_stride, c_stride;
    bool a_transposed; /**< `a` is stored as k x m */
    bool add;
    float factor;
} q8_gemm;

/** On the calling thread alone. k may be 0 where `add` is set. */
q8_code q8_gemm_run(const q8_gemm *g, q8_err *err);

#endif
