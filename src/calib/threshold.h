/** From statistics to the value at which int8 saturates. */
#ifndef Q8_CALIB_THRESHOLD_H
#define Q8_CALIB_THRESHOLD_H

#include "calib/stats.h"

/** Codes for |x|: 0 to 127 of either sign, or all of -127 to 127 where no value is negative and a
 *  shift puts 0 at -127. A threshold's step is threshold / (levels - 1). */
enum { Q8_LEVELS_SIGNED = 128, Q8_LEVELS_SHIFTED = 255 };

/**
 * The threshold by a method of q8.h: docs/accuracy.md says what each does.
 *
 * Always finite, above 0, and not above the largest |x| (1e-30 if that is less): with no value but
 * 0 it is 1, with fewer than 1000 others it is the largest |x|. Statistics of the same bits give
 * the same bits on every processor.
 * @param levels ::Q8_LEVELS_SIGNED or ::Q8_LEVELS_SHIFTED
 */
float q8_threshold(q8_method method, const q8_stats *stats, int levels);

/**
 * The threshold of ::Q8_METHOD_AUTO, with q8_threshold()'s promises; that one, which knows nothing
 * of the channels' costs, gives ::Q8_METHOD_MSE's instead.
 * @param cost by channel: what the squares of its errors are multiplied by
 */
float q8_threshold_auto(const q8_stats *stats, const double *cost, int levels);

#endif
