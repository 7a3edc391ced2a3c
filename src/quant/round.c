#include "quant/round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "exec/gemm.h"
#include "quant/factor.h"
#include "quant/quant.h"

enum { MOST_SWEEPS = 30, LANES = 16, BLOCK = Q8_FACTOR_BLOCK };

/* A group of outputs at work. Matrices by weight have the outputs in columns, padded with zeros. */
struct group {
    const q8_rounding *r;
    const q8_round_outputs *o;
    int columns;
    float scale[Q8_ROUND_OUTPUTS];
    float *gradient; /* halved, by output: count x stride */
    float *target;   /* by weight: n x columns; C w + d w, then y, then q / scale */
    float *inverse;  /* of the curvature, by weight; 0: none */
};

size_t q8_round_room(int stride)
{
    return (2 * (size_t)Q8_ROUND_OUTPUTS + 1) * (size_t)stride;
}

static void open_group(struct group *g, const q8_rounding *r, const q8_round_outputs *o,
                       float *room)
{
    const size_t stride = (size_t)r->stride;
    *g = (struct group){.r = r, .o = o, .columns = (o->count + LANES - 1) / LANES * LANES};
    g->gradient = room;
    g->target = room + Q8_ROUND_OUTPUTS * stride;
    g->inverse = g->target + Q8_ROUND_OUTPUTS * stride;
    for (int c = 0; c < g->columns; c++)
        g->scale[c] = c < o->count ? o->scale[c] : 1;
    for (size_t i = 0; i < (size_t)r->n; i++) {
        const float curvature = r->own[i * (stride + 1)] + r->damping;
        g->inverse[i] = curvature > 0 ? 1 / curvature : 0;
    }
}

/* --- the start -------------------------------------------------------------------------------- */

/* gradient = -C w - d w */
static q8_code start_gradient(const struct group *g, q8_err *err)
{
    const q8_rounding *r = g->r;
    const q8_gemm product = {.m = g->o->count,
                             .n = r->n,
                             .k = r->n,
                             .a = g->o->w,
                             .b = r->cross,
                             .c = g->gradient,
                             .a_stride = (int)g->o->stride,
                             .b_stride = r->stride,
                             .c_stride = r->stride,
                             .factor = -1};
    const q8_code code = q8_gemm_run(&product, err);
    for (size_t c = 0; !code && c < (size_t)g->o->count; c++)
        for (size_t i = 0; i < (size_t)r->n; i++)
            g->gradient[c * (size_t)r->stride + i] -= r->damping * g->o->w[c * g->o->stride + i];
    return code;
}

/* By weight, what is by output, negated. */
static void turn(const struct group *g)
{
    const size_t columns = (size_t)g->columns, stride = (size_t)g->r->stride;
    for (size_t i = 0; i < (size_t)g->r->n; i++) {
        float *to = g->target + i * columns;
        memset(to, 0, columns * sizeof(*to));
        for (size_t c = 0; c < (size_t)g->o->count; c++)
            to[c] = -g->gradient[c * stride + i];
    }
}

/* Rounds the weights from `row` on, the last first, each making up for those behind it. What those
 * behind the block do has been taken off the target. Half away from zero; NaN: the lower limit. */
static inline void round_columns(const struct group *g, size_t row, size_t rows, size_t column)
{
    const size_t columns = (size_t)g->columns, stride = (size_t)g->r->stride;
    const float most = (float)g->r->weight_limit;
    const float *factor = g->r->factor + row * (stride + 1), *scale = g->scale + column;
    float *target = g->target + row * columns + column;
    for (size_t i = rows; i-- > 0;) {
        float sum[LANES], *to = target + i * columns;
        for (int l = 0; l < LANES; l++)
            sum[l] = to[l];
        for (size_t k = i + 1; k < rows; k++)
            for (int l = 0; l < LANES; l++)
                sum[l] -= factor[i * stride + k] * target[k * columns + (size_t)l];
        for (int l = 0; l < LANES; l++) {
            float x = sum[l] / factor[i * (stride + 1)] * scale[l];
            x = x > -most ? x : -most;
            x = x < most ? x : most;
            to[l] = (float)(int)(x + (x < 0 ? -0.5f : 0.5f)) / scale[l];
        }
    }
}

Q8_SIMD_CLONES
static void round_block(const struct group *g, size_t row, size_t rows)
{
    for (size_t c = 0; c < (size_t)g->columns; c += LANES)
        round_columns(g, row, rows, c);
}

/* Off the target of the weights from `row` on, what the rounded ones from `end` on do. */
static q8_code take_off_behind(const struct group *g, int row, int end, q8_err *err)
{
    const q8_rounding *r = g->r;
    const size_t columns = (size_t)g->columns;
    const q8_gemm product = {.m = end - row,
                             .n = g->columns,
                             .k = r->n - end,
                             .a = r->factor + (size_t)row * (size_t)r->stride + (size_t)end,
                             .b = g->target + (size_t)end * columns,
                             .c = g->target + (size_t)row * columns,
                             .a_stride = r->stride,
                             .b_stride = g->columns,
                             .c_stride = g->columns,
                             .add = true,
                             .factor = -1};
    return q8_gemm_run(&product, err);
}

static q8_code round_in_turn(const struct group *g, q8_err *err)
{
    const q8_rounding *r = g->r;
    q8_code code =
        q8_factor_solve(r->factor, r->n, r->stride, g->target, g->columns, g->columns, err);
    for (int row = (r->n - 1) / BLOCK * BLOCK; !code && row >= 0; row -= BLOCK) {
        const int end = row + BLOCK < r->n ? row + BLOCK : r->n;
        code = take_off_behind(g, row, end, err);
        if (!code)
            round_block(g, (size_t)row, (size_t)(end - row));
    }
    return code;
}

static long long sum_of_sizes(const signed char *q, int n)
{
    long long sum = 0;
    for (int i = 0; i < n; i++)
        sum += abs(q[i]);
    return sum;
}

/* Weights to their output, nearest rounding where there is no better start. */
static void set_weights(const struct group *g)
{
    const q8_rounding *r = g->r;
    const size_t columns = (size_t)g->columns;
    for (size_t c = 0; c < (size_t)g->o->count; c++) {
        const float *w = g->o->w + c * g->o->stride, scale = g->scale[c];
        signed char *q = g->o->q + c * g->o->stride;
        for (size_t i = 0; r->factor && i < (size_t)r->n; i++)
            q[i] = q8_round_int8(g->target[i * columns + c] * scale);
        if (r->factor && sum_of_sizes(q, r->n) <= r->sum_limit)
            continue;
        for (size_t i = 0; i < (size_t)r->n; i++) {
            q[i] = q8_round_int8(w[i] * scale);
            g->target[i * columns + c] = (float)q[i] / scale;
        }
    }
}

/* --- descent ---------------------------------------------------------------------------------- */

/* gradient += (G + d) q / scale */
static q8_code finish_gradient(const struct group *g, q8_err *err)
{
    const q8_rounding *r = g->r;
    const size_t columns = (size_t)g->columns;
    const q8_gemm product = {.m = g->o->count,
                             .n = r->n,
                             .k = r->n,
                             .a = g->target,
                             .b = r->own,
                             .c = g->gradient,
                             .a_stride = g->columns,
                             .b_stride = r->stride,
                             .c_stride = r->stride,
                             .a_transposed = true,
                             .add = true,
                             .factor = 1};
    const q8_code code = q8_gemm_run(&product, err);
    for (size_t c = 0; !code && c < (size_t)g->o->count; c++)
        for (size_t i = 0; i < (size_t)r->n; i++)
            g->gradient[c * (size_t)r->stride + i] += r->damping * g->target[i * columns + c];
    return code;
}

Q8_SIMD_CLONES
static void add_scaled(float *restrict to, const float *restrict from, float factor, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* The first weight from `i` on that is more than `half` a step off its best; n: none. */
Q8_SIMD_CLONES
static int next_off(const float *gradient, const float *inverse, float half, int i, int n)
{
    for (; i + LANES <= n; i += LANES) {
        int any = 0;
        for (int l = 0; l < LANES; l++)
            any |= fabsf(gradient[i + l] * inverse[i + l]) > half; /* NaN: stays */
        if (any)
            break;
    }
    while (i < n && !(fabsf(gradient[i] * inverse[i]) > half))
        i++;
    return i;
}

/* Where a weight should go, the others held. */
static int best_step(int at, float step, float most)
{
    const float to = (float)at + roundf(fminf(fmaxf(step, -254), 254));
    return (int)fminf(fmaxf(to, -most), most) - at;
}

static void descend(const struct group *g, size_t output)
{
    const q8_rounding *r = g->r;
    const float scale = g->scale[output];
    float *gradient = g->gradient + output * (size_t)r->stride;
    signed char *q = g->o->q + output * g->o->stride;
    long long sum = sum_of_sizes(q, r->n);
    bool moved = true;
    for (int sweep = 0; moved && sweep < MOST_SWEEPS; sweep++) {
        moved = false;
        for (int i = 0; (i = next_off(gradient, g->inverse, 0.5f / scale, i, r->n)) < r->n; i++) {
            const int step =
                best_step(q[i], -gradient[i] * g->inverse[i] * scale, (float)r->weight_limit);
            const long long after = sum + abs(q[i] + step) - abs(q[i]);
            if (step == 0 || (after > r->sum_limit && after > sum))
                continue;
            q[i] = (signed char)(q[i] + step);
            sum = after;
            add_scaled(gradient, r->own + (size_t)i * (size_t)r->stride, (float)step / scale, r->n);
            gradient[i] += r->damping * (float)step / scale;
            moved = true;
        }
    }
}

q8_code q8_round_compensated(const q8_rounding *r, const q8_round_outputs *o, float *room,
                             q8_err *err)
{
    struct group g;
    open_group(&g, r, o, room);
    q8_code code = start_gradient(&g, err);
    if (code)
        return code;
    turn(&g);
    if (r->factor)
        code = round_in_turn(&g, err);
    if (!code) {
        set_weights(&g);
        code = finish_gradient(&g, err);
    }
    for (int c = 0; !code && c < o->count; c++)
        descend(&g, (size_t)c);
    return code;
}
