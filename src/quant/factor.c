#include "quant/factor.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "exec/gemm.h"

enum { BLOCK = Q8_FACTOR_BLOCK, LANES = 16 };

/* A square on the diagonal, transposed: row i holds what row i of the solution needs. */
struct square {
    int n;
    float at[BLOCK][BLOCK];
};

static void copy_square(struct square *s, const float *u, int n, int stride)
{
    s->n = n;
    for (int k = 0; k < n; k++)
        for (int i = k; i < n; i++)
            s->at[i][k] = u[(size_t)k * (size_t)stride + (size_t)i];
}

/* Solves for `lanes` columns. */
static inline void solve_columns(const struct square *s, float *y, size_t stride, int lanes)
{
    for (int i = 0; i < s->n; i++) {
        float sum[LANES];
        float *to = y + (size_t)i * stride;
        for (int l = 0; l < lanes; l++)
            sum[l] = to[l];
        for (int k = 0; k < i; k++)
            for (int l = 0; l < lanes; l++)
                sum[l] -= s->at[i][k] * y[(size_t)k * stride + (size_t)l];
        for (int l = 0; l < lanes; l++)
            to[l] = sum[l] / s->at[i][i];
    }
}

Q8_SIMD_CLONES
static void solve_square(const struct square *s, float *y, int columns, size_t stride)
{
    int c = 0;
    for (; c + LANES <= columns; c += LANES)
        solve_columns(s, y + c, stride, LANES);
    if (c < columns)
        solve_columns(s, y + c, stride, columns - c);
}

/* Of the rows from `row` on, takes off what those above them contribute. */
static q8_code take_off_above(const float *u, int stride, int row, int rows, float *y, int columns,
                              int y_stride, q8_err *err)
{
    const q8_gemm product = {.m = rows,
                             .n = columns,
                             .k = row,
                             .a = u + row,
                             .b = y,
                             .c = y + (size_t)row * (size_t)y_stride,
                             .a_stride = stride,
                             .b_stride = y_stride,
                             .c_stride = y_stride,
                             .a_transposed = true,
                             .add = true,
                             .factor = -1};
    return q8_gemm_run(&product, err);
}

/* In place; the square's upper half. */
Q8_SIMD_CLONES
static bool factorise_square(float *u, int n, size_t stride)
{
    for (int k = 0; k < n; k++) {
        float *row = u + (size_t)k * stride;
        const float pivot = sqrtf(row[k]);
        if (!(pivot > 0) || !isfinite(pivot))
            return false;
        for (int i = k; i < n; i++)
            row[i] /= pivot;
        for (int i = k + 1; i < n; i++)
            for (int j = i; j < n; j++)
                u[(size_t)i * stride + (size_t)j] -= row[i] * row[j];
    }
    return true;
}

q8_code q8_factorise(float *u, const float *a, int n, int stride, float damping, bool *exists,
                     q8_err *err)
{
    const size_t step = (size_t)stride;
    q8_code code = Q8_OK;
    *exists = true;
    for (int row = 0; !code && *exists && row < n; row += BLOCK) {
        const int rows = n - row < BLOCK ? n - row : BLOCK, rest = n - row - rows;
        float *square = u + (size_t)row * (step + 1);
        for (size_t i = (size_t)row; i < (size_t)(row + rows); i++) {
            memcpy(u + i * step + row, a + i * step + row, (size_t)(n - row) * sizeof(*u));
            u[i * (step + 1)] += damping;
        }
        code = take_off_above(u, stride, row, rows, u + row, n - row, stride, err);
        *exists = !code && factorise_square(square, rows, step);
        if (*exists && rest > 0) {
            struct square s;
            copy_square(&s, square, rows, stride);
            solve_square(&s, square + rows, rest, step);
        }
    }
    return code;
}

q8_code q8_factor_solve(const float *u, int n, int stride, float *y, int columns, int y_stride,
                        q8_err *err)
{
    q8_code code = Q8_OK;
    for (int row = 0; !code && row < n; row += BLOCK) {
        const int rows = n - row < BLOCK ? n - row : BLOCK;
        struct square s;
        copy_square(&s, u + (size_t)row * ((size_t)stride + 1), rows, stride);
        code = take_off_above(u, stride, row, rows, y, columns, y_stride, err);
        if (!code)
            solve_square(&s, y + (size_t)row * (size_t)y_stride, columns, (size_t)y_stride);
    }
    return code;
}
