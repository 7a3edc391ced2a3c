/**
 * A coarse histogram of |x| for each channel, from a few pixels of each picture. It tells what
 * clipping and rounding at any threshold would do to a channel alone.
 *
 * Bins are steps of a float's exponent and its highest mantissa bits, so 16 to the octave, over the
 * 10 octaves up to the largest value seen; what is smaller is counted with the zeros. As with
 * q8_hist nothing depends on the order in which values come.
 */
#ifndef Q8_CALIB_CHANNEL_BINS_H
#define Q8_CALIB_CHANNEL_BINS_H

#include "exec/exec.h"

enum {
    Q8_CHANNEL_STEPS = 16,
    Q8_CHANNEL_OCTAVES = 10,
    Q8_CHANNEL_BINS = Q8_CHANNEL_STEPS * Q8_CHANNEL_OCTAVES,
    /** Pixels looked at per picture, if it has as many. */
    Q8_CHANNEL_PIXELS = 32,
};

typedef struct q8_channel_bins {
    int32_t top;  /**< exponent of the highest octave, biased as in a float; 0: all values were 0 */
    float factor; /**< what was counted was divided by this; 1 except after a rewrite */
    uint32_t small;                /**< zeros and what is below the lowest bin */
    uint32_t bin[Q8_CHANNEL_BINS]; /**< upwards; see q8_channel_bins_edge() */
} q8_channel_bins;

/** No values, a factor of 1. */
void q8_channel_bins_init(q8_channel_bins *bins);
/** Adds some pixels of one picture of a view to its channels' bins. */
void q8_channel_bins_add(q8_channel_bins *bins, const q8_view *view, int picture);
/** `into` becomes what it would be had it seen both. Same factor. */
void q8_channel_bins_merge(q8_channel_bins *into, const q8_channel_bins *from);

/** Values counted, those that are 0 included. */
uint64_t q8_channel_bins_count(const q8_channel_bins *bins);
/** The lower edge of bin i, the upper one of bin i - 1; finite for i < ::Q8_CHANNEL_BINS. */
double q8_channel_bins_edge(const q8_channel_bins *bins, int i);

#endif
