/** What equalising is judged by: an estimate of the int8 network's error. */
#ifndef Q8_QUANT_EQUALISE_ERROR_H
#define Q8_QUANT_EQUALISE_ERROR_H

#include "calib/calibrate.h"
#include "quant/channel_classes.h"
#include "quant/channel_curve.h"
#include "quant/weight_parts.h"

/** What an observed channel's values are like. */
typedef struct q8_channel_values {
    q8_channel_curve curve;
    double absmax, power; /**< power: mean square */
    double variance;      /**< power without the mean, which the bias takes up; power if it won't */
} q8_channel_values;

/** By channel number of q8_channel_classes. Errors are powers, taken as independent. For one
 * thread.
 */
typedef struct q8_error_model {
    const q8_graph *graph;
    const q8_channel_classes *classes;
    bool per_layer; /**< one weight scale per layer */
    int threads;
    int *steps;                 /**< by tensor: from 0 to its threshold */
    q8_channel_values **values; /**< NULL where a channel's tensor is not observed */
    double *power;              /**< mean square, estimated where it was not observed */
    double *effect;             /**< of an error in every element, on the network's outputs */
    /** Effects of what rounding and clipping inputs of int8 layers do. */
    double *rounding, *clipping;
    q8_weight_parts *parts; /**< by node */
} q8_error_model;

/** From `arena`. */
q8_code q8_error_model_make(q8_error_model *model, const q8_graph *graph,
                            const q8_channel_classes *classes, const q8_calibration *cal,
                            const q8_quant_opts *opts, int threads, q8_arena *arena, q8_err *err);

/**
 * The least error that clipping and rounding a tensor's values can make if its channels are
 * multiplied by factors, over all thresholds.
 * @param factor by class
 * @param threshold set to the one it is least at; 0: all values are 0
 */
double q8_error_of_tensor(const q8_error_model *model, int tensor, const float *factor,
                          double *threshold);

/** Adds the error that rounding an int8 layer's weights makes to `*error`. */
q8_code q8_error_of_weights(const q8_error_model *model, int node, const float *factor,
                            double *error, q8_err *err);

#endif
