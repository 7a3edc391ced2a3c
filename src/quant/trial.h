/**
 * Trials of int8 layers: ncnn's arithmetic on sampled windows of a layer's input (calib/windows.h),
 * for any threshold, factors and shift, against what the float layer makes of the same windows.
 */
#ifndef Q8_QUANT_TRIAL_H
#define Q8_QUANT_TRIAL_H

#include "calib/windows.h"

/** All layers that have windows. */
typedef struct q8_trials q8_trials;

/**
 * @param exact the float network that the windows are of; both are borrowed
 * @param opts per_layer, weight_bits and no_bias_correction count
 */
q8_code q8_trials_open(q8_trials **trials, const q8_graph *exact, const q8_windows *windows,
                       const q8_quant_opts *opts, const q8_env *env, q8_err *err);
void q8_trials_close(q8_trials **trials);

/** Whether the layer can be tried. @param trials may be NULL: none can */
bool q8_trials_have(const q8_trials *trials, int node);
/** Whether layers read the tensor that can run in int8, and all these can be tried. */
bool q8_trials_have_readers(const q8_trials *trials, const q8_graph *graph, int tensor);

/** A layer's weights in int8 and its input rewritten. */
typedef struct q8_trial {
    const q8_trials *trials;
    int node;
    const float *in_factor, *out_factor; /**< by channel of the input and output; NULL: 1 */
    q8_quant quant;
    float *scale;        /**< by unit looked at */
    signed char *weight; /**< of the units looked at */
} q8_trial;

/** Quantises the weights, with the factors (borrowed) multiplied in. */
q8_code q8_trial_open(q8_trial *trial, const q8_trials *trials, int node, const float *in_factor,
                      const float *out_factor, q8_err *err);
void q8_trial_close(q8_trial *trial);

/**
 * Sets error[i] for each of `n` thresholds: the mean square of the error at the layer's outputs,
 * behind the activation, in the float network's units. The mean error of each output channel is
 * left out, as bias correction takes it away, unless that is off.
 * @param threshold what maps to the largest code, before a shift by half of it
 * @param levels ::Q8_LEVELS_SHIFTED: the input is shifted by half the threshold
 * @param effect by channel of the output tensor, what its error counts; NULL: relative to
 *   the outputs' variance
 */
q8_code q8_trial_errors(const q8_trial *trial, const float *threshold, int n, int levels,
                        const double *effect, double *error, q8_err *err);

/** Trials of all int8 layers that read a tensor. */
typedef struct q8_readers {
    q8_trial *trial;
    const double **effect; /**< by trial */
    int n;
} q8_readers;

/**
 * @param factor by tensor of `graph`, then by channel; NULL: 1
 * @param effect by tensor, what errors of its channels count; NULL: relative to its power
 */
q8_code q8_readers_open(q8_readers *readers, const q8_trials *trials, const q8_graph *graph,
                        int tensor, const float *const *factor, const double *const *effect,
                        q8_err *err);
void q8_readers_close(q8_readers *readers);

/** The sums over all readers of q8_trial_errors(). */
q8_code q8_readers_errors(const q8_readers *readers, const float *threshold, int n, int levels,
                          double *error, q8_err *err);

#endif
