/** How values get into a q8_hist, and how its range grows. */
#ifndef Q8_CALIB_HIST_H
#define Q8_CALIB_HIST_H

#include "calib/stats.h"

enum {
    /** The smallest exponent: the factor from |x| to its bin must be finite in fp32. */
    Q8_HIST_MIN_EXPONENT = -115,
    Q8_BIN_TABLES = 4,
};

/** Raises the exponent to `exponent` if it is lower, merging bins. */
void q8_hist_raise(q8_hist *hist, int32_t exponent);
/** Bins per unit of |x|; 1 as long as there is no range. */
float q8_hist_scale(const q8_hist *hist);
/** `into` becomes what it would be had it seen both. */
void q8_hist_merge(q8_hist *into, const q8_hist *from);

/**
 * Counts values into a histogram. Increments of one counter in quick succession wait for each
 * other, so neighbours go to separate tables.
 */
typedef struct q8_binner {
    q8_hist *hist;
    uint32_t waiting; /**< values counted in the tables and not in `hist` yet */
    uint16_t table[Q8_BIN_TABLES][Q8_HIST_BINS];
} q8_binner;

void q8_binner_open(q8_binner *binner, q8_hist *hist);
/** Raises the range until it holds a value of these bits. @return whether bins have changed */
bool q8_binner_fit(q8_binner *binner, uint32_t absmax_bits);
/** @param bin of each value, all within the range; at most ::Q8_SCAN_RUN of them */
void q8_binner_add(q8_binner *binner, const int32_t *bin, size_t n);
/** Puts what is waiting into the histogram. */
void q8_binner_flush(q8_binner *binner);

#endif
