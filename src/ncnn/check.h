/** Whether a pair of files holds what was to be written. */
#ifndef Q8_NCNN_CHECK_H
#define Q8_NCNN_CHECK_H

#include "ops/op.h"

/**
 * Compares a graph with what q8_ncnn_read() made of its files: structure, names as written,
 * parameters, weights and scales, all to the bit (with `fp16`, float weights as rounded).
 */
q8_code q8_ncnn_check(const q8_graph *graph, const q8_graph *back, bool fp16, q8_err *err);

#endif
