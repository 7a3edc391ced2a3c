/** The thresholds of a graph's tensors. */
#ifndef Q8_QUANT_CHOOSE_H
#define Q8_QUANT_CHOOSE_H

#include "calib/stats.h"
#include "quant/trial.h"

/** What thresholds are chosen for, and from. All borrowed. */
typedef struct q8_choice_of {
    const q8_graph *graph;
    const q8_stats *const *stats; /**< by tensor id; NULL: not observed */
    const int *levels;            /**< by tensor id, see q8_threshold(); NULL: ::Q8_LEVELS_SIGNED */
    q8_method method;
    /** For ::Q8_METHOD_AUTO, with the factors that the graph's tensors have by now; NULL: it
     *  estimates from statistics. */
    const q8_trials *trials;
} q8_choice_of;

/** Sets threshold[t] of every tensor t that has statistics; each tensor's depends on it alone. */
q8_code q8_choose_thresholds(float *threshold, const q8_choice_of *what, const q8_env *env,
                             q8_err *err);

#endif
