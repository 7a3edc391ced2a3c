/** Equalising the channels of activations, which share one scale per tensor in ncnn. */
#ifndef Q8_QUANT_EQUALISE_H
#define Q8_QUANT_EQUALISE_H

#include "calib/calibrate.h"
#include "ops/op.h"
#include "quant/trial.h"

/** No factor is larger. */
#define Q8_MOST_FACTOR 64.0f

/**
 * Multiplies channels of activations by factors from 1 to ::Q8_MOST_FACTOR in what makes them and
 * divides by those in what reads them: the network's function stays the same up to fp32's
 * rounding. Factors bring the largest |x| of small channels nearer to that of the tensor's largest,
 * and are kept only where the estimated error of the int8 network falls. No value that was seen
 * comes to be larger than its tensor's largest; so an upper bound (ReLU6) stays where it is, and
 * what exceeds all that was seen in a channel may meet it sooner.
 *
 * Sets the factor of the tensors' channels. No other rewrite must have set one before.
 * @param cal statistics of `graph`; become those of the rewritten network
 * @param trials what errors are measured by; layers that it lacks, or all if it is NULL, are
 *   estimated from statistics
 */
q8_code q8_equalise_graph(q8_graph *graph, q8_calibration *cal, const q8_trials *trials,
                          const q8_quant_opts *opts, const q8_env *env, q8_err *err);

#endif
