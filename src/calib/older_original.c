/*
 * The original tool's threshold. Candidates are 2 i + 1 bins around 0, for i from 127 to all.
 *
 *   p: the bins, with what lies below in the first and what lies above in the last.
 *   q: 255 levels of (2 i + 1) / 255 bins, rounded down; what is left over belongs to the last
 *      level but adds nothing to it, nor do p's first bin and what lies outside. A level's sum is
 *      spread evenly over its bins in which values were counted.
 *
 * Bins that are 0 in p or in q are then given 0.0001, of a count. The divergence is that of p and q
 * each made to add up to 1.
 */
#include <float.h>

#include "calib/log.h"
#include "calib/older_tools.h"

enum { BINS = Q8_ORIGINAL_BINS, MIDDLE = BINS / 2, LEVELS = 255 };

#define EPSILON 0.0001

/* Sums over the bins before bin i. */
struct sums {
    double values[BINS + 1], filled[BINS + 1];
    double own[BINS + 1]; /* n log n */
};

static double times_log(double x)
{
    return x > 0 ? x * q8_log(x) : 0;
}

static void add_up(struct sums *s, const uint64_t *bin)
{
    s->values[0] = s->filled[0] = s->own[0] = 0;
    for (int i = 0; i < BINS; i++) {
        s->values[i + 1] = s->values[i] + (double)bin[i];
        s->filled[i + 1] = s->filled[i] + (bin[i] > 0);
        s->own[i + 1] = s->own[i] + times_log((double)bin[i]);
    }
}

static double stretch(const double *sums, int first, int end)
{
    return end > first ? sums[end] - sums[first] : 0;
}

/* What the divergence is made of: sums of p, q and p log(p / q). */
struct parts {
    double p, q, cross;
};

/* One bin of p, which values may or may not have been counted in. */
static void add_bin(struct parts *parts, double p, double q)
{
    p = p > 0 ? p : EPSILON;
    q = q > 0 ? q : EPSILON;
    parts->p += p;
    parts->q += q;
    parts->cross += p * (q8_log(p) - q8_log(q));
}

/* Bins `first` to `end`, none of them p's first or last; `q` is what the level gives a filled one.
 */
static void add_bins(struct parts *parts, const struct sums *s, int first, int end, double q)
{
    const double values = stretch(s->values, first, end), filled = stretch(s->filled, first, end);
    const double empty = end > first ? end - first - filled : 0;
    const double each = q > 0 ? q : EPSILON;
    parts->p += values + empty * EPSILON;
    parts->q += filled * each + empty * EPSILON;
    parts->cross += stretch(s->own, first, end) - values * q8_log(each);
}

static double divergence(const struct sums *s, int half)
{
    const int start = MIDDLE - half, stop = MIDDLE + half + 1, last = stop - 1;
    const int merged = (stop - start) / LEVELS;
    const double below = s->values[start + 1], above = stretch(s->values, last, BINS);
    struct parts parts = {0, 0, 0};
    for (int j = 0; j < LEVELS; j++) {
        const int first = start + j * merged, whole = first + merged;
        const int end = j < LEVELS - 1 ? whole : stop;
        const int counted = first > start ? first : start + 1; /* p's first bin does not count */
        const double sum = stretch(s->values, counted, whole);
        const double filled = stretch(s->filled, counted, end);
        const double q = filled > 0 ? sum / filled : 0;
        if (j == 0)
            add_bin(&parts, below, below > 0 ? q : 0);
        add_bins(&parts, s, counted, end < stop ? end : last, q);
        if (end == stop)
            add_bin(&parts, above, above > 0 ? q : 0);
    }
    return parts.cross / parts.p - q8_log(parts.p / parts.q);
}

float q8_threshold_original(const uint64_t *bin, float absmax)
{
    struct sums s;
    double least = DBL_MAX;
    int best = MIDDLE;
    add_up(&s, bin);
    for (int half = LEVELS / 2; half <= MIDDLE; half++) {
        const double d = divergence(&s, half);
        if (d < least) {
            least = d;
            best = half;
        }
    }
    return (float)((double)absmax * (2 * best + 1) / BINS);
}
