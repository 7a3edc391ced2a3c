/** Calibration in bf16: whether it can be, and what it changes. */
#ifndef Q8_API_FAST_H
#define Q8_API_FAST_H

#include "api/model.h"

/** Sets the backend to bf16 if `opts` ask for it and all members of the team are faster that way; a
 * note says if not. An exchange where they ask for it. */
q8_code q8_fast_begin(q8_calibration_of *what, const q8_env *env, q8_err *err);
/** Runs some of the pictures both ways, for the model's `fast`; `what` is how the others were. */
q8_code q8_fast_calibrate(q8_model *model, const q8_calibration_of *what, const q8_env *env,
                          q8_err *err);
/** Compares the thresholds that both give for `graph`, which has been rewritten. */
q8_code q8_fast_compare(q8_model *model, const q8_graph *graph, q8_method method, const q8_env *env,
                        q8_err *err);
void q8_fast_forget(q8_fast *fast);

#endif
