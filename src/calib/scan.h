/** One look at values that lie together: extents, sums, and the histogram's bins they fall into. */
#ifndef Q8_CALIB_SCAN_H
#define Q8_CALIB_SCAN_H

#include <stddef.h>
#include <stdint.h>

enum {
    /** One AVX-512 register of floats. */
    Q8_SCAN_LANES = 16,
    /** Values that are scanned at once, at most; small enough to stay in the nearest cache. */
    Q8_SCAN_RUN = 2048,
};

/** The smallest and the largest of some values, as integers that sort as the floats do: -NaN, -inf,
 *  …, -0, +0, …, +inf, +NaN. */
typedef struct q8_extent {
    int32_t lo, hi;
} q8_extent;

/** No value. */
extern const q8_extent q8_no_extent;

int32_t q8_extent_key(float x);
/** -0 becomes 0, whichever of them came first. */
float q8_extent_value(int32_t key);
/** Inline as lanes are put together with it. */
static inline void q8_extent_widen(q8_extent *e, q8_extent by)
{
    e->lo = by.lo < e->lo ? by.lo : e->lo;
    e->hi = by.hi > e->hi ? by.hi : e->hi;
}
/** The bits of the largest |x|. */
uint32_t q8_extent_abs_bits(q8_extent e);

/** Of the values i, i + ::Q8_SCAN_LANES, … for each lane i. */
typedef struct q8_scan {
    int32_t lo[Q8_SCAN_LANES], hi[Q8_SCAN_LANES]; /**< as in q8_extent */
    float sum[Q8_SCAN_LANES];                     /**< added up in order */
    size_t n_bins;
} q8_scan;

/**
 * @param n at most ::Q8_SCAN_RUN
 * @param scale a power of two; a value that is not 0 falls into bin |x| * scale, rounded down
 * @param bin room for ::Q8_SCAN_RUN + ::Q8_SCAN_LANES; the values' bins, without zeros. Numbers
 *   without a meaning where a value is not finite or too large for an int32_t
 */
void q8_scan_values(q8_scan *scan, const float *x, size_t n, float scale, int32_t *bin);
/**
 * The same of values in rows: lane i's are the i-th of each.
 * @param step floats from a row to the next
 * @param lanes values in a row, at most ::Q8_SCAN_LANES; in all at most ::Q8_SCAN_RUN
 */
void q8_scan_rows(q8_scan *scan, const float *x, size_t rows, size_t step, int lanes, float scale,
                  int32_t *bin);
/** The same two in plain C, to be compared with. */
void q8_scan_values_plain(q8_scan *scan, const float *x, size_t n, float scale, int32_t *bin);
void q8_scan_rows_plain(q8_scan *scan, const float *x, size_t rows, size_t step, int lanes,
                        float scale, int32_t *bin);

#endif
