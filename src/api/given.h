/** Quantising with scales that are not chosen here: from a table, or as an older tool has them. */
#ifndef Q8_API_GIVEN_H
#define Q8_API_GIVEN_H

#include "caffe/net.h"
#include "calib/calibrate.h"
#include "quant/quant.h"

typedef struct q8_given_of {
    const q8_quant_opts *opts;         /**< with `table` or `compat` */
    const q8_graph *exact;             /**< the float network */
    const q8_calibration *calibration; /**< of it; not looked at with `table` */
    const q8_caffe_transform *transform;
    q8_gpu *gpu; /**< runs pictures; NULL: the CPU does */
} q8_given_of;

/**
 * @param graph a copy of the float network, quantised here
 * @param threshold by tensor id, set for the inputs of int8 layers
 */
q8_code q8_quantize_as_given(q8_graph *graph, float *threshold, const q8_given_of *what,
                             const q8_env *env, q8_err *err);

#endif
