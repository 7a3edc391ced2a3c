#include "quant/round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "quant/quant.h"

enum { MOST_SWEEPS = 30 };

Q8_SIMD_CLONES
static void add_scaled(float *to, const float *from, float factor, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* In lanes, so that it becomes vector code. */
Q8_SIMD_CLONES
static float dot_of_rows(const float *a, const float *b, int n)
{
    enum { LANES = 16 };
    float lane[LANES] = {0}, sum = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

bool q8_factorise(float *l, const float *own, int n, int stride, float damping)
{
    const size_t step = (size_t)stride;
    float *column = malloc((size_t)n * sizeof(*column));
    bool ok = column != NULL;
    memcpy(l, own, (size_t)n * step * sizeof(*l));
    for (int i = 0; i < n; i++)
        l[(size_t)i * (step + 1)] += damping;
    for (int k = 0; ok && k < n; k++) {
        const float pivot = sqrtf(l[(size_t)k * (step + 1)]);
        ok = pivot > 0 && isfinite(pivot);
        for (int i = k; ok && i < n; i++)
            column[i] = l[(size_t)i * step + (size_t)k] /= pivot;
        for (int i = k + 1; ok && i < n; i++)
            add_scaled(l + (size_t)i * step + k + 1, column + k + 1, -column[i], i - k);
    }
    free(column);
    return ok;
}

/* w* of the header: solves L L^T x = C w + d w, in `x`. */
static void best_weights(const q8_rounding *r, const float *w, float *x)
{
    const size_t stride = (size_t)r->stride;
    memset(x, 0, stride * sizeof(*x));
    for (int i = 0; i < r->n; i++) {
        add_scaled(x, r->cross + (size_t)i * stride, w[i], r->stride);
        x[i] += r->damping * w[i];
    }
    for (int i = 0; i < r->n; i++) {
        const float *row = r->factor + (size_t)i * stride;
        x[i] = (x[i] - dot_of_rows(row, x, i)) / row[i];
    }
    for (int i = r->n - 1; i >= 0; i--) {
        x[i] /= r->factor[(size_t)i * (stride + 1)];
        add_scaled(x, r->factor + (size_t)i * stride, -x[i], i);
    }
}

static int to_limits(const q8_rounding *r, float x)
{
    const float most = (float)r->weight_limit;
    return x >= -most && x <= most ? (int)roundf(x) : x > 0 ? r->weight_limit : -r->weight_limit;
}

/* Each weight makes up for what rounding those behind it did. @return whether the sum fits */
static bool round_in_turn(const q8_rounding *r, const float *w, float scale, signed char *q,
                          float *work)
{
    const size_t stride = (size_t)r->stride;
    float *best = work, *off = work + stride;
    long long sum = 0;
    best_weights(r, w, best);
    memset(off, 0, stride * sizeof(*off));
    for (int i = r->n - 1; i >= 0; i--) {
        const float *row = r->factor + (size_t)i * stride;
        q[i] = (signed char)to_limits(r, (best[i] - off[i] / row[i]) * scale);
        sum += abs(q[i]);
        add_scaled(off, row, (float)q[i] / scale - best[i], i);
    }
    return sum <= r->sum_limit;
}

/* Half the gradient at q: G q/s - C w, with the damping's part. */
static void gradient(const q8_rounding *r, const float *w, float scale, const signed char *q,
                     float *g)
{
    memset(g, 0, (size_t)r->stride * sizeof(*g));
    for (int i = 0; i < r->n; i++) {
        const size_t row = (size_t)i * (size_t)r->stride;
        add_scaled(g, r->own + row, (float)q[i] / scale, r->stride);
        add_scaled(g, r->cross + row, -w[i], r->stride);
        g[i] += r->damping * ((float)q[i] / scale - w[i]);
    }
}

/* Where q[i] should go, the others held; 0: stay. */
static int best_step(const q8_rounding *r, int i, float scale, int at, float g)
{
    const float curvature = r->own[(size_t)i * (size_t)r->stride + (size_t)i] + r->damping;
    if (!(curvature > 0))
        return 0;
    const float step = -g / curvature * scale;
    if (!(fabsf(step) > 0.5f)) /* NaN too */
        return 0;
    const float most = (float)r->weight_limit;
    const float to = fminf(fmaxf((float)at + roundf(fminf(fmaxf(step, -254), 254)), -most), most);
    return (int)to - at;
}

void q8_round_compensated(const q8_rounding *r, const float *w, float scale, signed char *q,
                          float *work)
{
    float *g = work;
    if (!r->factor || !round_in_turn(r, w, scale, q, work))
        for (int i = 0; i < r->n; i++)
            q[i] = q8_round_int8(w[i] * scale);
    long long sum = 0;
    for (int i = 0; i < r->n; i++)
        sum += abs(q[i]);
    gradient(r, w, scale, q, g);
    bool moved = true;
    for (int sweep = 0; moved && sweep < MOST_SWEEPS; sweep++) {
        moved = false;
        for (int i = 0; i < r->n; i++) {
            const int step = best_step(r, i, scale, q[i], g[i]);
            const long long after = sum + abs(q[i] + step) - abs(q[i]);
            if (step == 0 || (after > r->sum_limit && after > sum))
                continue;
            q[i] = (signed char)(q[i] + step);
            sum = after;
            const size_t row = (size_t)i * (size_t)r->stride;
            add_scaled(g, r->own + row, (float)step / scale, r->stride);
            g[i] += r->damping * (float)step / scale;
            moved = true;
        }
    }
}
