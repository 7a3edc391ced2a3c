/** From statistics to the value at which int8 saturates. */
#ifndef Q8_CALIB_THRESHOLD_H
#define Q8_CALIB_THRESHOLD_H

#include "calib/stats.h"

/**
 * The KL-divergence threshold of TensorRT (S. Migacz, "8-bit Inference with TensorRT", GTC 2017):
 * over candidate thresholds T, clip |x| to T (what lies above falls into the last bin), quantise to
 * 128 levels, and take the T whose distribution differs least from the clipped one. Candidates are
 * the bin edges from the 128th up; of equal ones the largest wins.
 *
 * As in ncnn2table, neighbouring levels share a bin that the edge between them cuts, and every
 * bin's probability is raised a little (by as much as there in total: 0.0001 in each of 2048 bins),
 * so that rare values weigh little. Unlike there, a level's probability is spread over its
 * non-empty bins only, which is exact for data that take few values, such as pixels.
 *
 * Always finite, above 0, and not above the largest |x| (1e-30 if that is less): with no value but
 * 0 it is 1, with fewer than 1000 others it is the largest |x|.
 */
float q8_threshold_kl(const q8_stats *stats);

#endif
