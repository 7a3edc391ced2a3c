#include "quant/channel_curve.h"

#include <math.h>
#include <string.h>

void q8_channel_curve_make(q8_channel_curve *curve, const q8_channel_bins *bins)
{
    curve->top = bins->top;
    curve->values = (double)q8_channel_bins_count(bins);
    for (int i = 0; i < Q8_CHANNEL_BINS; i++) {
        const double low = q8_channel_bins_edge(bins, i), high = q8_channel_bins_edge(bins, i + 1);
        const double n = bins->bin[i];
        curve->count[i + 1] = curve->count[i] + n;
        curve->sum[i + 1] = curve->sum[i] + n * (low + high) / 2;
        curve->square[i + 1] = curve->square[i] + n * (low * low + low * high + high * high) / 3;
    }
}

/* Where |x| = `at` is among the bins: a whole part and a fraction. */
static double position(const q8_channel_curve *curve, double at)
{
    const float x = at < 3e38 ? (float)at : 3e38f;
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    const double step = (double)bits / (1 << 19);
    const double p = step - (curve->top - Q8_CHANNEL_OCTAVES + 1) * Q8_CHANNEL_STEPS;
    return p < 0 ? 0 : p > Q8_CHANNEL_BINS ? Q8_CHANNEL_BINS : p;
}

static double up_to(const double *sums, double position)
{
    const int i = position < Q8_CHANNEL_BINS ? (int)position : Q8_CHANNEL_BINS - 1;
    return sums[i] + (position - i) * (sums[i + 1] - sums[i]);
}

q8_curve_errors q8_channel_curve_errors(const q8_channel_curve *curve, double threshold, int steps)
{
    if (curve->values == 0)
        return (q8_curve_errors){0, 0};
    const double step = threshold / steps;
    const double clip = position(curve, threshold), zero = position(curve, step / 2);
    const double n_below = up_to(curve->count, clip);
    const double n = curve->count[Q8_CHANNEL_BINS] - n_below;
    const double sum = curve->sum[Q8_CHANNEL_BINS] - up_to(curve->sum, clip);
    const double square = curve->square[Q8_CHANNEL_BINS] - up_to(curve->square, clip);
    const double clipped = square - 2 * threshold * sum + threshold * threshold * n;
    const double rounded = (n_below - up_to(curve->count, zero)) * step * step / 12;
    return (q8_curve_errors){(rounded + up_to(curve->square, zero)) / curve->values,
                             clipped > 0 ? clipped / curve->values : 0};
}
