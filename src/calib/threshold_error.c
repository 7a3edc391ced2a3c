/* Methods that look at what clipping to a threshold and rounding to its steps does to the values.
 */
#include <math.h>

#include "calib/threshold_method.h"

/* More than sums are off by that are equal but for rounding. */
#define ROUNDING 1.000001

/* Sums over a histogram, the values of a bin spread evenly over it: up to each edge, of x^0, x^1
 * and x^2. Any stretch then costs two look-ups. */
struct moments {
    double sum[Q8_HIST_BINS + 1][3];
};

static double cube(double x)
{
    return x * x * x;
}

static void add_up(struct moments *m, const q8_span *span)
{
    for (int k = 0; k < 3; k++)
        m->sum[0][k] = 0;
    for (int i = 0; i < span->n; i++) {
        const double count = (double)span->hist->bin[i], a = i, b = i + 1;
        m->sum[i + 1][0] = m->sum[i][0] + count;
        m->sum[i + 1][1] = m->sum[i][1] + count * (b * b - a * a) / 2;
        m->sum[i + 1][2] = m->sum[i][2] + count * (cube(b) - cube(a)) / 3;
    }
}

/* Sums up to `x`. */
static void sums_to(const struct moments *m, const q8_span *span, double x, double out[3])
{
    if (x >= span->n)
        x = span->n;
    const int i = x < span->n ? (int)x : span->n - 1;
    const double count = (double)span->hist->bin[i], a = i;
    out[0] = m->sum[i][0] + count * (x - a);
    out[1] = m->sum[i][1] + count * (x * x - a * a) / 2;
    out[2] = m->sum[i][2] + count * (cube(x) - cube(a)) / 3;
}

/* Values x and what becomes of them, q: sums of x^2, x q and q^2. */
struct products {
    double xx, xq, qq;
};

static struct products quantise(const struct moments *m, const q8_span *span, double clip,
                                int levels)
{
    const double step = clip / (levels - 1);
    struct products sum = {.xx = m->sum[span->n][2]};
    double below[3], to[3];
    sums_to(m, span, step / 2, below);
    for (int j = 1; j < levels; j++) {
        const double q = j * step;
        sums_to(m, span, j < levels - 1 ? q + step / 2 : span->n, to);
        sum.xq += q * (to[1] - below[1]);
        sum.qq += q * q * (to[0] - below[0]);
        for (int k = 0; k < 3; k++)
            below[k] = to[k];
    }
    return sum;
}

/* Squared error of what is clipped alone; no less for a lower threshold. */
static double clipped_error(const struct moments *m, const q8_span *span, double clip)
{
    const double *all = m->sum[span->n];
    double to[3];
    sums_to(m, span, clip, to);
    return all[2] - to[2] - 2 * clip * (all[1] - to[1]) + clip * clip * (all[0] - to[0]);
}

/* Least squared error, on a grid of 32 thresholds per octave: the error is flat around its least.
 */
double q8_clip_mse(const q8_span *span, int levels)
{
    struct moments m;
    double best = span->absmax, least = INFINITY;
    add_up(&m, span);
    for (double clip = span->absmax; clip * 4096 > span->absmax; clip *= Q8_CLIP_FINER) {
        if (clipped_error(&m, span, clip) > least * ROUNDING)
            break;
        const struct products p = quantise(&m, span, clip, levels);
        const double error = p.xx - 2 * p.xq + p.qq;
        if (error < least) {
            least = error;
            best = clip;
        }
    }
    return best;
}

/*
 * ncnn2table's "eq" tries scales from half to twice that of "kl" and takes the one whose layer,
 * run on pictures, has outputs of the greatest cosine with the float ones. Here it is the cosine of
 * the layer's input with what becomes of it, which needs no pictures: for weights that know
 * nothing of the rounding errors the expected cosine of the outputs is the same function of it.
 */
double q8_clip_eq(const q8_span *span, int levels)
{
    enum { STEPS = 100 };
    struct moments m;
    const double start = q8_clip_kl(span, levels);
    double best = start, most = 0;
    add_up(&m, span);
    for (int i = 0; i < STEPS; i++) {
        const double scale = 0.5 + 1.5 * i / STEPS;
        const double clip = start / scale < span->absmax ? start / scale : span->absmax;
        const struct products p = quantise(&m, span, clip, levels);
        const double cosine = p.qq > 0 ? p.xq / sqrt(p.xx * p.qq) : 0;
        if (cosine > most) {
            most = cosine;
            best = clip;
        }
    }
    return best;
}
