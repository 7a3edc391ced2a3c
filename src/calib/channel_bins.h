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
    /** Pictures that are counted together, at most. */
    Q8_CHANNEL_QUEUE = 8,
    /** The largest block of a layout. */
    Q8_CHANNEL_LANES = 16,
};

typedef struct q8_channel_bins {
    int32_t top;  /**< exponent of the highest octave, biased as in a float; 0: all values were 0 */
    float factor; /**< what was counted was divided by this; 1 except after a rewrite */
    uint32_t small;                /**< zeros and what is below the lowest bin */
    uint32_t bin[Q8_CHANNEL_BINS]; /**< upwards; see q8_channel_bins_edge() */
} q8_channel_bins;

/** Which pixels of a tensor's pictures are looked at: `n`, from `first` on, each `step` further. */
void q8_channel_pixels(const q8_shape *shape, size_t *first, size_t *step, size_t *n);

/** No values, a factor of 1. */
void q8_channel_bins_init(q8_channel_bins *bins);
/** Adds some pixels of each picture of a view to its channels' bins. */
void q8_channel_bins_add(q8_channel_bins *bins, const q8_view *view);
/** `into` becomes what it would be had it seen both. Same factor. */
void q8_channel_bins_merge(q8_channel_bins *into, const q8_channel_bins *from);

/**
 * Samples of one tensor's pictures on their way into its channels' bins. Those of thousands of
 * channels fit no cache, so they are visited once for several pictures. Zero-initialised is empty.
 */
typedef struct q8_channel_queue {
    uint16_t *step; /**< ::Q8_CHANNEL_QUEUE pictures' */
    int pictures;   /**< that wait */
    size_t channels, pixels, block;
} q8_channel_queue;

/** As q8_channel_bins_add(), for views all of one shape and layout; some may wait in the queue. */
q8_code q8_channel_queue_add(q8_channel_queue *queue, q8_channel_bins *bins, const q8_view *view,
                             q8_err *err);
/** Adds what waits. */
void q8_channel_queue_flush(q8_channel_queue *queue, q8_channel_bins *bins);
/** Forgets what waits. */
void q8_channel_queue_close(q8_channel_queue *queue);

/** Values counted, those that are 0 included. */
uint64_t q8_channel_bins_count(const q8_channel_bins *bins);
/** The lower edge of bin i, the upper one of bin i - 1; finite for i < ::Q8_CHANNEL_BINS. */
double q8_channel_bins_edge(const q8_channel_bins *bins, int i);

#endif
