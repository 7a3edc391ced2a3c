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

enum { MAX_LEVELS = 255 };

/* Divergences closer than this count as equal. */
#define TIE 1e-9

/* More than a divergence's own rounding errors. */
#define ROUNDING 1e-11

/* Sums over the bins before bin i, so that any stretch of bins costs two look-ups. */
struct sums {
    double unit;                     /* probability of one value */
    double smooth;                   /* raises each probability */
    double values[Q8_HIST_BINS + 1]; /* exact: integers */
    double filled[Q8_HIST_BINS + 1]; /* bins that are not empty */
    double own[Q8_HIST_BINS + 1];    /* p log p of those, smoothed */
    double share[MAX_LEVELS + 1];    /* share[i] = i / levels */
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

static void add_up(struct sums *s, const q8_hist *hist, int n, int levels)
{
    for (int i = 0; i <= levels; i++)
        s->share[i] = (double)i / levels;
    s->values[0] = s->filled[0] = s->own[0] = 0;
    for (int i = 0; i < n; i++) {
        s->values[i + 1] = s->values[i] + (double)hist->bin[i];
        s->filled[i + 1] = s->filled[i] + (hist->bin[i] > 0);
    }
    s->unit = 1 / s->values[n];
    s->smooth = 0.2048 / n;
    for (int i = 0; i < n; i++) {
        const double p = probability(s, i) + s->smooth;
        s->own[i + 1] = s->own[i] + (is_filled(s, i) ? p * q8_log(p) : 0);
    }
}

/* Where levels meet: in bin `whole`, at part / levels of it. */
struct edge {
    int whole, part;
};

static struct edge next_edge(struct edge e, int whole, int part, int levels)
{
    e.whole += whole;
    e.part += part;
    if (e.part >= levels) {
        e.whole++;
        e.part -= levels;
    }
    return e;
}

/* A level's share of the bins: `first` to `end` whole, and a part of the one before. */
struct level {
    int first, end;
    double before;
    double q; /* probability of each of its bins that is not empty, once it has been quantised */
};

static struct level level_between(const struct sums *s, struct edge from, struct edge to,
                                  int levels)
{
    struct level l = {.first = from.whole + (from.part > 0), .end = to.whole};
    double values = stretch(s->values, l.first, l.end);
    double filled = stretch(s->filled, l.first, l.end);
    if (from.part > 0) {
        l.before = s->share[levels - from.part];
        values += l.before * stretch(s->values, l.first - 1, l.first);
        filled += l.before * stretch(s->filled, l.first - 1, l.first);
    }
    if (to.part > 0) {
        const double after = s->share[to.part];
        values += after * stretch(s->values, l.end, l.end + 1);
        filled += after * stretch(s->filled, l.end, l.end + 1);
    }
    l.q = filled > 0 ? values / filled * s->unit : 0;
    return l;
}

/* Levels between two looks at whether a candidate can still win. */
enum { LOOK = 16 };

/* Terms weight * log(of), gathered so that the logarithms are one loop. */
struct terms {
    int n;
    double weight[2 * LOOK], of[2 * LOOK];
    double sum; /* of those that were gathered before */
};

static void add_term(struct terms *t, double weight, double of)
{
    t->weight[t->n] = weight;
    t->of[t->n] = of;
    t->n++;
}

Q8_SIMD_CLONES
static void take_logs(double *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = q8_log(x[i]);
}

static void sum_terms(struct terms *t)
{
    take_logs(t->of, t->n);
    for (int i = 0; i < t->n; i++)
        t->sum += t->weight[i] * t->of[i];
    t->n = 0;
}

/* What bins from edge `from` on add at least to the divergence: as much as if all were one bin
 * (log-sum inequality). @param q_before of the level that ends at the edge */
static double least_rest(const struct sums *s, int clip, struct edge from, double q_before)
{
    const int first = from.whole, last = clip - 1;
    const double before = from.part > 0 ? s->share[from.part] : 0; /* of the bin that is shared */
    const double bins = stretch(s->filled, first, clip) + !is_filled(s, last);
    const double values =
        stretch(s->values, first, clip) - before * stretch(s->values, first, first + 1);
    const double p = 1 - s->values[first] * s->unit + bins * s->smooth;
    const double q =
        values * s->unit + (is_filled(s, first) ? before * q_before : 0) + bins * s->smooth;
    return p > 0 && q > 0 ? p * (q8_log(p) - q8_log(q)) : 0;
}

/* KL(P || Q): P is the first `clip` bins with what lies above in the last of them, Q is P's own
 * bins after quantising. Empty bins are equal in both and contribute nothing. Where it is above
 * `most` anything above that may be returned. */
static double divergence(const struct sums *s, int clip, int levels, double most)
{
    const int last = clip - 1;
    struct terms cross = {.n = 0}; /* p log q */
    struct edge from = {0, 0};
    double q_before = 0;
    for (int j = 0; j < levels; j++) {
        const struct edge to = next_edge(from, clip / levels, clip % levels, levels);
        const struct level l = level_between(s, from, to, levels);
        const int end = j < levels - 1 ? l.end : last; /* the last bin comes below */
        const double p = stretch(s->values, l.first, end) * s->unit +
                         stretch(s->filled, l.first, end) * s->smooth;
        if (p > 0)
            add_term(&cross, p, l.q + s->smooth);
        if (l.before > 0 && is_filled(s, l.first - 1)) {
            const double q = (1 - l.before) * q_before + l.before * l.q;
            add_term(&cross, probability(s, l.first - 1) + s->smooth, q + s->smooth);
        }
        q_before = l.q;
        from = to;
        if (j % LOOK < LOOK - 1 || j >= levels - 2)
            continue;
        sum_terms(&cross);
        const double least = s->own[from.whole] - cross.sum + least_rest(s, clip, from, q_before);
        if (least > most + ROUNDING)
            return least;
    }
    sum_terms(&cross);
    const double p = 1 - s->values[last] * s->unit + s->smooth;
    const double q = (is_filled(s, last) ? q_before : 0) + s->smooth;
    return s->own[last] - cross.sum + p * (q8_log(p) - q8_log(q));
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
    add_up(&s, span->hist, n, levels);
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
