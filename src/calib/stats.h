/**
 * Statistics of one tensor, gathered in one pass and mergeable: adding values in any order, on any
 * number of threads, and merging in any order gives the same bits.
 *
 * Histogram of |x|: ::Q8_HIST_BINS bins over [0, 2^exponent), where the exponent is the smallest
 * that holds the largest |x| (but at least -115, so that all factors stay finite). When a value
 * does not fit, the exponent grows and bins merge in pairs, so an edge is exact in fp32 whatever
 * came before. Exact zeros, of either sign, are counted apart and are in no bin.
 */
#ifndef Q8_CALIB_STATS_H
#define Q8_CALIB_STATS_H

#include <stdint.h>

#include "calib/channel_bins.h"

enum { Q8_HIST_BINS = 4096 };

/** The exponent of a histogram that has seen no value but 0. */
#define Q8_HIST_EMPTY INT32_MIN

typedef struct q8_hist {
    int32_t exponent; /**< range is [0, 2^exponent); ::Q8_HIST_EMPTY at first */
    uint64_t
        bin[Q8_HIST_BINS]; /**< bin i holds |x| in [i, i+1) * 2^exponent / Q8_HIST_BINS, x != 0 */
    uint64_t zeros;
    uint64_t
        not_finite; /**< NaN and infinities: counted, in no bin, and in none of the extrema below */
} q8_hist;

/** A sum in units of 2^-40, so that adding is exact and its order does not matter. */
__extension__ typedef __int128 q8_fixed_sum;

typedef struct q8_stats {
    q8_hist hist;
    float min, max; /**< +inf, -inf before the first value; finite values only */
    uint64_t count; /**< values seen, pictures * elements, also those not finite */
    int channels;   /**< dim[0] */
    float *channel_min, *channel_max; /**< by channel, as min and max */
    float *channel_absmax;            /**< by channel */
    q8_channel_bins *channel_bins;    /**< by channel: |x| at some of the pixels */
    q8_fixed_sum *channel_sum; /**< by channel, of the values; stretches with a NaN are left out */
} q8_stats;

/** After a failure q8_stats_free() is still to be called. */
q8_code q8_stats_init(q8_stats *stats, int channels, q8_err *err);
void q8_stats_free(q8_stats *stats);
/** Bytes that statistics of a tensor with so many channels take. */
size_t q8_stats_size(int channels);
/** A new one like `from`, as q8_stats_init(). */
q8_code q8_stats_copy(q8_stats *stats, const q8_stats *from, q8_err *err);
/** Adds what a view holds (its `batch` pictures; blocks' padding channels left out). */
void q8_stats_add(q8_stats *stats, const q8_view *view);
/** The same, faster for views of few pictures; some of it may wait until the queue is flushed.
 * @param queue NULL: the channels' bins are left as they are */
q8_code q8_stats_queue(q8_stats *stats, q8_channel_queue *queue, const q8_view *view, q8_err *err);
/** Mean of a channel's values; 0 before the first. */
float q8_stats_channel_mean(const q8_stats *stats, int channel);
/** `into` becomes what it would be had it seen both. Same channels. */
void q8_stats_merge(q8_stats *into, const q8_stats *from);
/**
 * `stats` become those of channels multiplied by factors above 0: exactly but for rounding, except
 * that the histogram is made anew from the channels' bins.
 */
void q8_stats_scale(q8_stats *stats, const float *factor);

#endif
