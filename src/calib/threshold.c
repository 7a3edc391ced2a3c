/* The table of methods, and what holds whichever is used. */
#include "calib/threshold.h"

#include <math.h>

#include "calib/threshold_method.h"

enum { FEW_VALUES = 1000 }; /* of which a histogram says too little about where to clip */

/* 127 / threshold, and its product with a weight scale, stay finite. */
#define MIN_THRESHOLD 1e-30f

static q8_threshold_method *const methods[] = {
    [Q8_METHOD_MSE] = q8_clip_mse,
    [Q8_METHOD_AUTO] = q8_clip_mse,
    [Q8_METHOD_KL] = q8_clip_kl,
    [Q8_METHOD_MINMAX] = q8_clip_minmax,
    [Q8_METHOD_PERCENTILE] = q8_clip_percentile,
    [Q8_METHOD_ACIQ] = q8_clip_aciq,
    [Q8_METHOD_EQ] = q8_clip_eq,
};

static float absmax_of(const q8_stats *stats)
{
    return -stats->min > stats->max ? -stats->min : stats->max;
}

/* False when every value is 0. */
static bool span_of(const q8_stats *stats, q8_span *span)
{
    const q8_hist *hist = &stats->hist;
    int n = Q8_HIST_BINS;
    while (n > 0 && hist->bin[n - 1] == 0)
        n--;
    if (n == 0 || hist->exponent == Q8_HIST_EMPTY)
        return false;
    *span = (q8_span){
        .hist = hist, .n = n, .absmax = ldexp((double)absmax_of(stats), 12 - hist->exponent)};
    for (int i = 0; i < n; i++)
        span->values += (double)hist->bin[i];
    return true;
}

/* A clip value, or the largest |x| where statistics say too little, as a threshold. */
static float checked(const q8_stats *stats, const q8_span *span, double clip)
{
    const float absmax = absmax_of(stats);
    const bool usable = span->values >= FEW_VALUES && clip < (double)absmax;
    const float threshold = usable ? (float)clip : absmax;
    return threshold > MIN_THRESHOLD ? threshold : MIN_THRESHOLD;
}

float q8_threshold(q8_method method, const q8_stats *stats, int levels)
{
    q8_span span;
    if (!span_of(stats, &span))
        return 1;
    const double bins = methods[method](&span, levels);
    return checked(stats, &span, ldexp(bins, stats->hist.exponent - 12));
}

float q8_threshold_auto(const q8_stats *stats, const double *cost, int levels)
{
    q8_span span;
    if (!span_of(stats, &span))
        return 1;
    return checked(stats, &span, q8_clip_auto(stats, (double)absmax_of(stats), cost, levels));
}
