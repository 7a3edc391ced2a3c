#include "calib/threshold.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "calib/simd.h"

enum {
    LEVELS = 128,      /* of |x|, as int8 has them */
    FEW_VALUES = 1000, /* a histogram of fewer says too little about where to clip */
};

/* 127 / threshold, and its product with a weight scale, stay finite. */
#define MIN_THRESHOLD 1e-30f
/* Divergences closer than this count as equal. */
#define TIE 1e-9

/* Sums over the bins before bin i, so that any stretch of bins costs two look-ups. */
struct sums {
    double unit;                     /* probability of one value */
    double smooth;                   /* see q8_threshold_kl() */
    double values[Q8_HIST_BINS + 1]; /* exact: integers */
    double filled[Q8_HIST_BINS + 1]; /* bins that are not empty */
    double own[Q8_HIST_BINS + 1];    /* p log p of those, smoothed */
};

/*
 * Logarithm of a normal number above 0, to 1e-15: x = m * 2^e with m near 1, s = (m - 1) / (m + 1),
 * log m = 2 (s + s^3/3 + s^5/5 + …). The C library's differs in the last bit from one processor to
 * the next, and the choice between two thresholds must not; also, loops of this become vector code.
 */
static inline double log_of(double x)
{
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcd;
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    const uint64_t e = (((bits + ((uint64_t)1 << 62)) - sqrt_half) >> 52) - ((uint64_t)1 << 10);
    const uint64_t m_bits = bits - (e << 52);
    /* The exponent as a double: in the lowest bits of 1.5 * 2^52, which is then taken off. */
    const uint64_t e_bits = e + 0x4338000000000000;
    double m, exponent;
    memcpy(&m, &m_bits, sizeof(m));
    memcpy(&exponent, &e_bits, sizeof(exponent));
    exponent -= 6755399441055744.0;
    const double s = (m - 1) / (m + 1), z = s * s;
    const double high = 1.0 / 11 + z * (1.0 / 13 + z * (1.0 / 15 + z * (1.0 / 17)));
    const double sum = 1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9 + z * high))));
    return exponent * 0.6931471805599453 + 2 * s * sum;
}

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
    s->unit = 1 / s->values[n];
    s->smooth = 0.2048 / n;
    for (int i = 0; i < n; i++) {
        const double p = probability(s, i) + s->smooth;
        s->own[i + 1] = s->own[i] + (is_filled(s, i) ? p * log_of(p) : 0);
    }
}

/* A level's share of the bins: `first` to `end` whole, and a part of the one before. */
struct level {
    int first, end;
    double before;
    double q; /* probability of each of its bins that is not empty, once it has been quantised */
};

static struct level level_of(const struct sums *s, int clip, int j)
{
    const int start = j * clip, end = start + clip; /* in units of 1 / LEVELS of a bin */
    struct level l = {.first = (start + LEVELS - 1) / LEVELS, .end = end / LEVELS};
    const int before = l.first * LEVELS - start, after = end - l.end * LEVELS;
    double values = stretch(s->values, l.first, l.end);
    double filled = stretch(s->filled, l.first, l.end);
    l.before = (double)before / LEVELS;
    if (before > 0) {
        values += l.before * stretch(s->values, l.first - 1, l.first);
        filled += l.before * stretch(s->filled, l.first - 1, l.first);
    }
    if (after > 0) {
        values += (double)after / LEVELS * stretch(s->values, l.end, l.end + 1);
        filled += (double)after / LEVELS * stretch(s->filled, l.end, l.end + 1);
    }
    l.q = filled > 0 ? values / filled * s->unit : 0;
    return l;
}

/* Terms weight * log(of), gathered so that the logarithms are one loop. */
struct terms {
    int n;
    double weight[2 * LEVELS], of[2 * LEVELS];
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
        x[i] = log_of(x[i]);
}

static double sum_terms(struct terms *t)
{
    double sum = 0;
    take_logs(t->of, t->n);
    for (int i = 0; i < t->n; i++)
        sum += t->weight[i] * t->of[i];
    return sum;
}

/* KL(P || Q): P is the first `clip` bins with what lies above in the last of them, Q is P's own
 * bins after quantising. Empty bins are equal in both and contribute nothing. */
static double divergence(const struct sums *s, int clip)
{
    const int last = clip - 1;
    struct terms cross = {.n = 0}; /* p log q */
    double q_before = 0;
    for (int j = 0; j < LEVELS; j++) {
        const struct level l = level_of(s, clip, j);
        const int end = j < LEVELS - 1 ? l.end : last; /* the last bin comes below */
        const double p = stretch(s->values, l.first, end) * s->unit +
                         stretch(s->filled, l.first, end) * s->smooth;
        if (p > 0)
            add_term(&cross, p, l.q + s->smooth);
        if (l.before > 0 && is_filled(s, l.first - 1)) {
            const double q = (1 - l.before) * q_before + l.before * l.q;
            add_term(&cross, probability(s, l.first - 1) + s->smooth, q + s->smooth);
        }
        q_before = l.q;
    }
    const double p = 1 - s->values[last] * s->unit + s->smooth;
    const double q = (is_filled(s, last) ? q_before : 0) + s->smooth;
    return s->own[last] - sum_terms(&cross) + p * (log_of(p) - log_of(q));
}

/* The number of bins to keep, at most `n`. */
static int best_clip(const q8_hist *hist, int n)
{
    struct sums s;
    add_up(&s, hist, n);
    if (s.values[n] < FEW_VALUES)
        return n;
    int best = n;
    double least = DBL_MAX;
    for (int clip = LEVELS; clip <= n; clip++) {
        const double d = divergence(&s, clip);
        if (d <= least + TIE)
            best = clip;
        if (d < least)
            least = d;
    }
    return best;
}

float q8_threshold_kl(const q8_stats *stats)
{
    const q8_hist *hist = &stats->hist;
    int n = Q8_HIST_BINS;
    while (n > 0 && hist->bin[n - 1] == 0)
        n--;
    if (n == 0 || hist->exponent == Q8_HIST_EMPTY)
        return 1;
    const float absmax = -stats->min > stats->max ? -stats->min : stats->max;
    const double edge = ldexp(best_clip(hist, n), hist->exponent - 12);
    const float threshold = edge < absmax ? (float)edge : absmax;
    return threshold > MIN_THRESHOLD ? threshold : MIN_THRESHOLD;
}
