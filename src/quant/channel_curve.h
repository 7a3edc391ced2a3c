/** What clipping and rounding at any threshold does to a channel, in a few look-ups. */
#ifndef Q8_QUANT_CHANNEL_CURVE_H
#define Q8_QUANT_CHANNEL_CURVE_H

#include "calib/channel_bins.h"

/** Sums over the values up to each edge of the bins. */
typedef struct q8_channel_curve {
    double count[Q8_CHANNEL_BINS + 1], sum[Q8_CHANNEL_BINS + 1], square[Q8_CHANNEL_BINS + 1];
    int top;       /**< as in q8_channel_bins */
    double values; /**< all, with those that are 0 */
} q8_channel_curve;

/** Mean squares. */
typedef struct q8_curve_errors {
    double rounding, clipping;
} q8_curve_errors;

/** @param bins of factor 1 */
void q8_channel_curve_make(q8_channel_curve *curve, const q8_channel_bins *bins);

/** Of clipping |x| at a threshold, and of rounding what is below to that many steps. */
q8_curve_errors q8_channel_curve_errors(const q8_channel_curve *curve, double threshold, int steps);

#endif
