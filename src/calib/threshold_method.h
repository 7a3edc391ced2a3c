/** One way to choose a threshold, and what the ways share. */
#ifndef Q8_CALIB_THRESHOLD_METHOD_H
#define Q8_CALIB_THRESHOLD_METHOD_H

#include "calib/threshold.h"

/** The filled part of a histogram. Lengths are in bins, so that no method sees a unit. */
typedef struct q8_span {
    const q8_hist *hist;
    int n;         /**< bins up to the last that is not empty, at least 1 */
    double absmax; /**< above 0; in the last bin */
    double values; /**< that are not 0 */
} q8_span;

/**
 * @param levels as q8_threshold()
 * @return where to clip, in bins: above 0; what is above absmax counts as absmax
 */
typedef double q8_threshold_method(const q8_span *span, int levels);

q8_threshold_method q8_clip_kl, q8_clip_minmax, q8_clip_percentile, q8_clip_mse, q8_clip_aciq,
    q8_clip_eq;

/** The same from channels' bins, not in bins but as a value. */
double q8_clip_auto(const q8_stats *stats, double absmax, const double *cost, int levels);

/** Thresholds to try are this far apart, 2^(-1/32): errors are flat around their least. */
#define Q8_CLIP_FINER 0.9785720620877001

#endif
