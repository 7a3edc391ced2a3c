/** How values get into a q8_hist, and how its range grows. */
#ifndef Q8_CALIB_HIST_H
#define Q8_CALIB_HIST_H

#include "calib/stats.h"

enum {
    /** The smallest exponent: the factor from |x| to its bin must be finite in fp32. */
    Q8_HIST_MIN_EXPONENT = -115,
    /** Values a binner takes at once, at most. */
    Q8_BIN_RUN = 2048,
    Q8_BIN_TABLES = 4,
    Q8_BIN_ZEROS = 32,
};

/** Raises the exponent to `exponent` if it is lower, merging bins. */
void q8_hist_raise(q8_hist *hist, int32_t exponent);
/** `into` becomes what it would be had it seen both. */
void q8_hist_merge(q8_hist *into, const q8_hist *from);

/**
 * Counts values into a histogram. Increments of one counter in quick succession wait for each
 * other, so neighbours go to separate tables; and zeros, half of all values after a ReLU, go to
 * counters of their own, in turn, which is far cheaper than a branch that cannot be predicted.
 */
typedef struct q8_binner {
    q8_hist *hist;
    uint32_t waiting; /**< values counted in the tables and not in `hist` yet */
    uint16_t table[Q8_BIN_TABLES][Q8_HIST_BINS + Q8_BIN_ZEROS];
} q8_binner;

void q8_binner_open(q8_binner *binner, q8_hist *hist);
/**
 * @param x finite values, at most ::Q8_BIN_RUN of them
 * @param absmax_bits the largest |x| among them, its bits as an integer
 */
void q8_binner_add(q8_binner *binner, const float *x, size_t n, uint32_t absmax_bits);
/** Puts what is waiting into the histogram. */
void q8_binner_flush(q8_binner *binner);

#endif
