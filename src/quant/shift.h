/**
 * The rewrite that makes use of the sign bit. A tensor that is never negative (behind a ReLU) uses
 * half of int8's codes. With c half its threshold, x - c uses all of them; so does c - x, whose
 * padding is +127 where that of x - c would be -127, which ncnn on x86 gets wrong.
 *
 * What makes the tensor takes the shift into its bias and the bounds of its activation, what reads
 * it takes it out of its bias again: the float network's function stays the same, and nothing is
 * added to it.
 */
#ifndef Q8_QUANT_SHIFT_H
#define Q8_QUANT_SHIFT_H

#include "calib/calibrate.h"
#include "ops/op.h"
#include "quant/trial.h"

/** A tensor's change: sign * x - sign * c. */
typedef struct q8_shift_of {
    int sign;  /**< 1 or -1; 0: it stays as it is */
    int group; /**< tensors of one group have the same sign and c */
} q8_shift_of;

/** A sum's inputs may have shifts that do not add up to its output's: one input takes the rest. */
enum { Q8_SHIFT_NO_INPUT = -1 };

typedef struct q8_shift_plan {
    q8_shift_of *tensor; /**< by tensor id */
    int *balance;        /**< by node: the input of a sum that takes the rest */
} q8_shift_plan;

/**
 * Chooses the tensors to shift: those that int8 layers read, that were never seen negative, that
 * all layers around can be rewritten for, and whose readers' error is less with it.
 * @param trials what the readers' errors are measured by; NULL: those of clipping and rounding the
 *   tensors are estimated from statistics, as they are where trials lack a reader
 * @param levels by tensor id; set to ::Q8_LEVELS_SHIFTED for shifted tensors that int8 layers
 *   read, others are left
 */
q8_code q8_shift_choose(q8_shift_plan *plan, const q8_graph *graph,
                        const q8_calibration *calibration, const q8_trials *trials, int threads,
                        int *levels, q8_err *err);

/**
 * Rewrites the graph: the same function up to fp32's rounding. Sets each changed tensor's factor
 * and shift. Convolutions that pad get the pad_value that stands for 0, in float units.
 * @param threshold by tensor id; those of shifted tensors become c, |x - c| that maps to 127
 */
q8_code q8_shift_graph(q8_graph *graph, const q8_shift_plan *plan, float *threshold, int threads,
                       q8_err *err);

/** The sign of what was done to the tensor. */
int q8_shift_sign(const q8_tensor *tensor);

#endif
