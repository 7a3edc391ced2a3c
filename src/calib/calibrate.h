/** One pass over the samples: read, run, gather statistics, on every core. */
#ifndef Q8_CALIB_CALIBRATE_H
#define Q8_CALIB_CALIBRATE_H

#include "caffe/net.h"
#include "calib/origin.h"
#include "calib/stats.h"

/** Statistics of a graph's observed tensors. */
typedef struct q8_calibration {
    int n_tensors;
    q8_stats **stats; /**< by tensor id; NULL where the tensor was not observed */
    size_t used, skipped;
} q8_calibration;

struct q8_checkpoint;

/** What is to be observed, and on what. All borrowed. */
typedef struct q8_calibration_of {
    const q8_graph *graph;
    const bool *wanted; /**< by tensor id */
    const q8_calib_opts *opts;
    const q8_caffe_transform
        *transform; /**< what the prototxt says of preprocessing; may be NULL */
    q8_backend_kind backend;
    q8_gpu *gpu; /**< of ::Q8_BACKEND_GPU */
    /** Where the plan is kept for another run of the same, by the caller's q8_exec_close(); taken
     * from there if it holds one. NULL: it is not kept. */
    q8_exec **plan;
    /** Holding what q8_checkpoint_open() wants: written now and then, and gone on from if it is
     * there. NULL: none. */
    struct q8_checkpoint *checkpoint;
    q8_origin *origin; /**< holds nothing; to be filled unless nothing is wanted. NULL: not */
} q8_calibration_of;

/** Bytes that statistics of the wanted tensors take. */
size_t q8_calibration_size(const q8_graph *graph, const bool *wanted);

/**
 * Each thread reads a sample, runs it and adds to statistics of its own; these are merged at the
 * end. Unreadable samples are warned about by file, in list order, and counted; with `strict` the
 * first of them is an error. None usable is an error, unless nothing is wanted: then no file is
 * looked at. Values that are not finite are warned about, tensor by tensor.
 *
 * The result, warnings and errors do not depend on the number of threads.
 */
q8_code q8_calibration_run(q8_calibration *cal, const q8_calibration_of *what, const q8_env *env,
                           q8_err *err);
/** `*to`, which holds nothing yet, becomes like `from`. On failure it holds nothing. */
q8_code q8_calibration_copy(q8_calibration *to, const q8_calibration *from, q8_err *err);
void q8_calibration_free(q8_calibration *cal);
/** Warns, tensor by tensor, of values that are not finite. */
void q8_calibration_warn(const q8_calibration *cal, const q8_graph *graph, const q8_env *env);

#endif
