/** Thresholds as two older tools compute them, from histograms like theirs. */
#ifndef Q8_CALIB_OLDER_TOOLS_H
#define Q8_CALIB_OLDER_TOOLS_H

#include "calib/samples.h"
#include "calib/stats.h"

enum {
    Q8_NCNN_BINS = 2048,     /**< of |x| over [0, absmax], without values that are 0 */
    Q8_ORIGINAL_BINS = 8001, /**< of x over [-absmax, absmax] */
};

/** ncnn2table's "kl": 128 levels, neighbours share the bin between them, 0.0001 added to the
 *  probability of each bin, single precision. @param bin ::Q8_NCNN_BINS, one of them not 0 */
float q8_threshold_ncnn(const uint64_t *bin, float absmax);

/** The original caffe-int8-to-ncnn's, in the main MXNet's: 255 levels of whole bins, empty bins
 *  count as 0.0001. @param bin ::Q8_ORIGINAL_BINS */
float q8_threshold_original(const uint64_t *bin, float absmax);

/** What thresholds are computed on. All borrowed. */
typedef struct q8_older_tool_of {
    q8_compat compat; /**< not ::Q8_COMPAT_NONE */
    const q8_graph *graph;
    const q8_stats *const *stats; /**< by tensor id, of the same samples; NULL: not wanted */
    const q8_samples *samples;
    bool strict; /**< a sample that cannot be read is an error */
    q8_backend_kind backend;
    q8_gpu *gpu; /**< of ::Q8_BACKEND_GPU */
} q8_older_tool_of;

/** Runs the samples a second time, as these tools do, since only now the ranges are known. Sets
 *  threshold[t] of every tensor with statistics; 1 where every value was 0. */
q8_code q8_older_tool_thresholds(float *threshold, const q8_older_tool_of *what, const q8_env *env,
                                 q8_err *err);

#endif
