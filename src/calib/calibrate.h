/** One pass over the pictures: decode, run, gather statistics, on every core. */
#ifndef Q8_CALIB_CALIBRATE_H
#define Q8_CALIB_CALIBRATE_H

#include "calib/picture.h"
#include "calib/stats.h"

/** Statistics of a graph's observed tensors. */
typedef struct q8_calibration {
    int n_tensors;
    q8_stats **stats; /**< by tensor id; NULL where the tensor was not observed */
    size_t used, skipped;
} q8_calibration;

/**
 * Each thread decodes a picture, runs it and adds to statistics of its own; these are merged at the
 * end. Unreadable pictures are warned about by name, in list order, and counted; with `strict` the
 * first of them is an error. None usable is an error, unless nothing is wanted: then no picture is
 * looked at. Values that are not finite are warned about, tensor by tensor.
 *
 * The result, warnings and errors do not depend on the number of threads.
 * @param wanted by tensor id
 */
q8_code q8_calibration_run(q8_calibration *cal, const q8_graph *graph, const bool *wanted,
                           const q8_calib_opts *opts, q8_backend_kind backend, const q8_env *env,
                           q8_err *err);
void q8_calibration_free(q8_calibration *cal);

#endif
