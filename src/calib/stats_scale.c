/* What a rewrite that multiplies channels by factors does to their statistics. */
#include <math.h>

#include "calib/hist.h"

/* Values of the new histogram's bins, before they are made whole numbers. */
struct filling {
    double bin[Q8_HIST_BINS];
    double per_unit; /* bins per unit of |x| */
};

/* Spreads values evenly over |x| in [low, high). */
static void spread(struct filling *f, double low, double high, double values)
{
    const double from = low * f->per_unit, to = high * f->per_unit;
    const int first = (int)from, last = to < Q8_HIST_BINS ? (int)to : Q8_HIST_BINS - 1;
    if (first >= last) {
        f->bin[last] += values;
        return;
    }
    for (int i = first; i <= last; i++) {
        const double start = i > from ? i : from, end = i + 1 < to ? i + 1 : to;
        f->bin[i] += values * (end - start) / (to - from);
    }
}

/* The channel's values, as if those in its bins were all of them. @return what is too small */
static double fill_channel(struct filling *f, const q8_stats *stats, int channel)
{
    const q8_channel_bins *bins = &stats->channel_bins[channel];
    const double counted = (double)q8_channel_bins_count(bins);
    const double absmax = (double)stats->channel_absmax[channel];
    const double each = (double)stats->count / stats->channels / (counted > 0 ? counted : 1);
    for (int i = 0; i < Q8_CHANNEL_BINS; i++) {
        if (!bins->bin[i])
            continue;
        const double low = q8_channel_bins_edge(bins, i), high = q8_channel_bins_edge(bins, i + 1);
        spread(f, low < absmax ? low : absmax, high < absmax ? high : absmax, each * bins->bin[i]);
    }
    if (absmax > 0)
        spread(f, absmax, absmax, 1);
    return each * bins->small;
}

static int32_t exponent_of(double absmax)
{
    int exponent;
    frexp(absmax, &exponent);
    return exponent > Q8_HIST_MIN_EXPONENT ? exponent : Q8_HIST_MIN_EXPONENT;
}

/* Made anew from the channels' bins; zeros stay zeros. */
static void rebuild_hist(q8_stats *stats)
{
    q8_hist *hist = &stats->hist;
    const double absmax = fmax(-(double)stats->min, (double)stats->max);
    if (!(absmax > 0))
        return;
    hist->exponent = exponent_of(absmax);
    struct filling f = {.per_unit = ldexp(Q8_HIST_BINS, -hist->exponent)};
    double small = -(double)hist->zeros;
    for (int c = 0; c < stats->channels; c++)
        small += fill_channel(&f, stats, c);
    f.bin[0] += small > 0 ? small : 0;
    const double slack = 1e-3; /* so that a sum that is a whole number but for rounding is one */
    double sum = slack;
    uint64_t given = 0;
    for (int i = 0; i < Q8_HIST_BINS; i++) {
        sum += f.bin[i];
        hist->bin[i] = (uint64_t)sum - given;
        given += hist->bin[i];
    }
    const int top = (int)(absmax * f.per_unit);
    if (hist->bin[top] == 0)
        hist->bin[top] = 1;
}

void q8_stats_scale(q8_stats *stats, const float *factor)
{
    stats->min = INFINITY;
    stats->max = -INFINITY;
    for (int c = 0; c < stats->channels; c++) {
        stats->channel_min[c] *= factor[c];
        stats->channel_max[c] *= factor[c];
        stats->channel_absmax[c] *= factor[c];
        stats->channel_bins[c].factor *= factor[c];
        stats->channel_sum[c] = (q8_fixed_sum)((double)stats->channel_sum[c] * (double)factor[c]);
        stats->min = fminf(stats->min, stats->channel_min[c]);
        stats->max = fmaxf(stats->max, stats->channel_max[c]);
    }
    rebuild_hist(stats);
}
