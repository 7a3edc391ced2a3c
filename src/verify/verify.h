/** The int8 network against the float one, on samples. */
#ifndef Q8_VERIFY_VERIFY_H
#define Q8_VERIFY_VERIFY_H

#include "calib/samples.h"
#include "exec/exec.h"
#include "verify/labels.h"

/** What is to be compared, and on what. All borrowed. */
typedef struct q8_verify_of {
    const q8_graph *exact, *int8; /**< `int8` is a rewritten and quantised copy of `exact` */
    const q8_samples *samples;
    const q8_labels *labels; /**< NULL: none */
    bool layers;             /**< measure layer by layer too */
    bool strict;             /**< an unreadable sample is an error */
    q8_backend_kind backend;
    q8_gpu *gpu; /**< of ::Q8_BACKEND_GPU */
} q8_verify_of;

/** Fills all of `result` but `unseen` and `seconds`. */
q8_code q8_verify_run(q8_verify_result *result, const q8_verify_of *what, const q8_env *env,
                      q8_err *err);

#endif
