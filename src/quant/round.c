#include "quant/round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/simd.h"
#include "quant/quant.h"

enum { MOST_SWEEPS = 30 };

Q8_SIMD_CLONES
static void add_scaled(float *to, const float *from, float factor, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += factor * from[i];
}

static float dot(const float *a, const float *b, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Half the gradient at q: G q/s - C w, with the damping's part. */
static void gradient(const q8_rounding *r, const float *w, float scale, const signed char *q,
                     float *g)
{
    memset(g, 0, (size_t)r->stride * sizeof(*g));
    for (int i = 0; i < r->n; i++)
        add_scaled(g, r->own + (size_t)i * (size_t)r->stride, (float)q[i] / scale, r->n);
    for (int i = 0; i < r->n; i++)
        g[i] += r->damping * ((float)q[i] / scale - w[i]) -
                dot(r->cross + (size_t)i * (size_t)r->stride, w, r->n);
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
    const float to = fminf(fmaxf((float)at + roundf(fminf(fmaxf(step, -254), 254)), -127), 127);
    return (int)to - at;
}

void q8_round_compensated(const q8_rounding *r, const float *w, float scale, long long limit,
                          signed char *q, float *work)
{
    float *g = work;
    long long sum = 0;
    for (int i = 0; i < r->n; i++) {
        q[i] = q8_round_int8(w[i] * scale);
        sum += abs(q[i]);
    }
    gradient(r, w, scale, q, g);
    bool moved = true;
    for (int sweep = 0; moved && sweep < MOST_SWEEPS; sweep++) {
        moved = false;
        for (int i = 0; i < r->n; i++) {
            const int step = best_step(r, i, scale, q[i], g[i]);
            const long long after = sum + abs(q[i] + step) - abs(q[i]);
            if (step == 0 || (after > limit && after > sum))
                continue;
            q[i] = (signed char)(q[i] + step);
            sum = after;
            const size_t row = (size_t)i * (size_t)r->stride;
            add_scaled(g, r->own + row, (float)step / scale, r->n);
            g[i] += r->damping * (float)step / scale;
            moved = true;
        }
    }
}
