/** Statistics of tensors that are on the GPU: counted there, and merged with the others' here. */
#ifndef Q8_CALIB_STATS_GPU_H
#define Q8_CALIB_STATS_GPU_H

#include "calib/stats.h"

/** One tensor's counts on the GPU that are not merged yet. Zero-initialised: none. */
typedef struct q8_stats_waiting {
    struct q8_gpu_stats *counts;
    uint64_t values;
} q8_stats_waiting;

/**
 * As q8_stats_add(), for a view whose tensor is on the GPU; what is added shows in `stats` after
 * q8_stats_collect(). Same values give the same bits, but that channels' sums are of floats that
 * are rounded elsewhere (not if all of them are integers below 2^20), and that values which are not
 * finite are left out of them one by one. Without `has_bins`, alike for all views of a tensor, the
 * channels' bins stay empty.
 */
q8_code q8_stats_add_on_gpu(q8_stats *stats, q8_stats_waiting *waiting, bool has_bins,
                            const q8_view *view, q8_err *err);
/** Merges what waits. The runs that the views were of have finished. */
q8_code q8_stats_collect(q8_stats *stats, q8_stats_waiting *waiting, q8_err *err);
/** Forgets what waits. */
void q8_stats_waiting_close(q8_stats_waiting *waiting);

#endif
