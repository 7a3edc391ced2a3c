/*
 * The KL-divergence threshold of TensorRT (S. Migacz, "8-bit Inference with TensorRT", GTC 2017):
 * over candidate thresholds T, clip |x| to T (what lies above falls into the last bin), quantise to
 * so many levels, and take the T whose distribution differs least from the clipped one. Candidates
 * are the bin edges, from as many bins as there are levels up; of equal ones the largest wins.
 *
 * As in ncnn2table, neighbouring levels share a bin that the edge between them cuts, and every
 * bin's probability is raised a little (by as much as there in total: 0.0001 in each of 2048 bins),
 * so that rare values weigh little. Unlike there, a level's probability is spread over its
 * non-empty bins only, which is exact for data that take few values, such as pixels.
 */
#include <float.h>
#include <math.h>

#include "base/simd.h"
#include "calib/log.h"
#include "calib/threshold_method.h"

/* Divergences closer than this count as equal. */
#define TIE 1e-9

/* More than a divergence's own rounding errors. */
#define ROUNDING 1e-11

/* Sums over the bins before bin i, so that any stretch of bins costs two look-ups. Behind the last
 * there is an empty bin. */
struct sums {
    double unit;                     /* probability of one value */
    double smooth;                   /* raises each probability */
    double values[Q8_HIST_BINS + 2]; /* exact: integers */
    double filled[Q8_HIST_BINS + 2]; /* bins that are not empty */
    double own[Q8_HIST_BINS + 1];    /* p log p of those, smoothed */
};

/* Bins `first` to `end` of one of the sums. */
static double stretch(const double *sums, int first, int end)
{
    return sums[end] - sums[first];
}

static double probability(const struct sums *s, int i)
{
    return stretch(s->values, i, i + 1) * s->unit;
}

static bool is_filled(const struct sums *s, int i)
{
    return s->filled[i + 1] > s->filled[i];
}

static void add_up(struct sums *s, const q8_hist *hist, int n)
{
    s->values[0] = s->filled[0] = s->own[0] = 0;
    for (int i = 0; i < n; i++) {
        s->values[i + 1] = s->values[i] + (double)hist->bin[i];
        s->filled[i + 1] = s->filled[i] + (hist->bin[i] > 0);
    }
    s->values[n + 1] = s->values[n];
    s->filled[n + 1] = s->filled[n];
    s->unit = 1 / s->values[n];
    s->smooth = 0.2048 / n;
    for (int i = 0; i < n; i++) {
        const double p = probability(s, i) + s->smooth;
        s->own[i + 1] = s->own[i] + (is_filled(s, i) ? p * q8_log(p) : 0);
    }
}

/* Levels at a time: between two looks at whether a candidate can still win, and as many logarithms
 * as make vector code worth it. */
enum { RUN = 16 };

/* One of the sums at edges between levels: those of the bins before the one that an edge is in,
 * with the share of that one, and with all of it if the edge cuts it. */
struct at_edges {
    double below[RUN + 1], at[RUN + 1], above[RUN + 1];
};

static void look_up(struct at_edges *e, int j, const double *sums, int whole, double share)
{
    const double below = sums[whole], bin = sums[whole + 1] - below;
    e->below[j] = below;
    e->at[j] = below + share * bin;
    e->above[j] = share > 0 ? below + bin : below;
}

/* Some levels that follow each other: level j is between edge j, in bin `whole` at part / levels of
 * it, and edge j + 1. */
struct run {
    int whole, part;       /* of the last edge */
    double after[RUN + 1]; /* shares of the bins that edges cut */
    struct at_edges values, filled;
    double q[RUN + 1]; /* [j + 1]: of level j's bins that are not empty, once it has been quantised;
                          [0] is of the level before */
    double weight[2 * RUN], of[2 * RUN]; /* terms weight * log(of), of bins that are one level's,
                                            then of those that edge j cuts */
};

static void place_edge(struct run *r, int j, const struct sums *s, double unit)
{
    r->after[j] = r->part * unit;
    look_up(&r->values, j, s->values, r->whole, r->after[j]);
    look_up(&r->filled, j, s->filled, r->whole, r->after[j]);
}

/* Puts `n` levels of clip / levels bins behind the last edge. */
static void place_levels(struct run *r, int n, const struct sums *s, int clip, int levels)
{
    const int whole = clip / levels, part = clip % levels;
    const double unit = 1.0 / levels;
    place_edge(r, 0, s, unit);
    for (int j = 1; j <= n; j++) {
        const int sum = r->part + part, over = sum >= levels;
        r->whole += whole + over;
        r->part = over ? sum - levels : sum;
        place_edge(r, j, s, unit);
    }
    if (r->whole == clip) { /* the last bin, where all above it is put, comes by itself */
        r->values.below[n] = s->values[clip - 1];
        r->filled.below[n] = s->filled[clip - 1];
    }
}

/* The levels' q, and the terms of p log q. */
Q8_SIMD_CLONES
static void quantise(struct run *r, int n, const struct sums *s)
{
    const struct at_edges *v = &r->values, *f = &r->filled;
    const double unit = s->unit, smooth = s->smooth;
    for (int j = 0; j < n; j++) {
        const double values = v->at[j + 1] - v->at[j], filled = f->at[j + 1] - f->at[j];
        r->q[j + 1] = values / (filled > 0 ? filled : 1) * unit;
    }
    for (int j = 0; j < n; j++) {
        r->weight[j] =
            (v->below[j + 1] - v->above[j]) * unit + (f->below[j + 1] - f->above[j]) * smooth;
        r->of[j] = r->q[j + 1] + smooth;
    }
    for (int j = 0; j < n; j++) {
        r->weight[RUN + j] =
            (v->above[j] - v->below[j]) * unit + (f->above[j] - f->below[j]) * smooth;
        r->of[RUN + j] = r->after[j] * r->q[j] + (1 - r->after[j]) * r->q[j + 1] + smooth;
    }
    for (int j = n; j < RUN; j++) {
        r->weight[j] = r->weight[RUN + j] = 0;
        r->of[j] = r->of[RUN + j] = 1;
    }
}

/* Sum of the terms, in an order that leaves room for vector code. */
Q8_SIMD_CLONES
static double sum_terms(const struct run *r)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    for (int i = 0; i < 2 * RUN; i += LANES)
        for (int k = 0; k < LANES; k++)
            sum[k] += r->weight[i + k] * q8_log(r->of[i + k]);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            sum[k] += sum[k + width];
    return sum[0];
}

/* The last bin, where all above it is put. */
struct last {
    double term;  /* what it adds to the divergence */
    double raise; /* its own values' probability rises by this in quantising */
};

static struct last quantise_last(const struct sums *s, int clip, int levels)
{
    const int bin = clip - 1, edge = (levels - 1) * clip;
    const double share = edge % levels * (1.0 / levels); /* of the bin where its level begins */
    struct at_edges values, filled;
    look_up(&values, 0, s->values, edge / levels, share);
    look_up(&filled, 0, s->filled, edge / levels, share);
    const double level_values = s->values[clip] - values.at[0];
    const double level_filled = s->filled[clip] - filled.at[0];
    const double own = is_filled(s, bin) ? level_values / level_filled * s->unit : 0;
    const double p = 1 - s->values[bin] * s->unit + s->smooth, q = own + s->smooth;
    return (struct last){p * (q8_log(p) - q8_log(q)), own - probability(s, bin)};
}

/* What the bins between an edge and the last one add at least: p - q of all (log-sum inequality,
 * and log x >= 1 - 1 / x). In quantising they only win from the bin that the edge cuts, and lose to
 * the last one. @param q_before of the level that ends at the edge */
static double least_between(const struct sums *s, const struct run *r, int levels, double q_before,
                            const struct last *last)
{
    const double before = (double)r->part / levels; /* of the bin that is cut */
    const double q = is_filled(s, r->whole) ? q_before : 0;
    return before * (probability(s, r->whole) - q) + last->raise;
}

/* KL(P || Q): P is the first `clip` bins with what lies above in the last of them, Q is P's own
 * bins after quantising. Empty bins are equal in both and contribute nothing. Where it is above
 * `most` anything above that may be returned. */
static double divergence(const struct sums *s, int clip, int levels, double most)
{
    const struct last last = quantise_last(s, clip, levels);
    struct run r;     /* of which little is read before it is written */
    double cross = 0; /* p log q */
    double least = last.term + last.raise;
    int n = 0;
    r.whole = r.part = 0;
    r.q[0] = 0;
    for (int j = 0; j < levels && least <= most + ROUNDING; j += RUN) {
        r.q[0] = r.q[n];
        n = levels - j < RUN ? levels - j : RUN;
        place_levels(&r, n, s, clip, levels);
        quantise(&r, n, s);
        cross += sum_terms(&r);
        if (j + n < levels)
            least =
                s->own[r.whole] - cross + last.term + least_between(s, &r, levels, r.q[n], &last);
    }
    if (least > most + ROUNDING)
        return least;
    return s->own[clip - 1] - cross + last.term;
}

/* The least divergence of some candidates, and so no less than that of all. */
static double least_of_some(const struct sums *s, int n, int levels)
{
    enum { STEP = 16 };
    double least = DBL_MAX;
    for (int clip = n; clip >= levels; clip -= STEP)
        least = fmin(least, divergence(s, clip, levels, least));
    return least;
}

double q8_clip_kl(const q8_span *span, int levels)
{
    struct sums s;
    const int n = span->n;
    add_up(&s, span->hist, n);
    int best = n;
    double least = DBL_MAX;
    const double most = least_of_some(&s, n, levels) + TIE;
    for (int clip = levels; clip <= n; clip++) {
        const double d = divergence(&s, clip, levels, most);
        if (d <= least + TIE)
            best = clip;
        if (d < least)
            least = d;
    }
    return best;
}
