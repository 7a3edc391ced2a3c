/** Stand-ins for the weights of a model whose caffemodel is not at hand: only sizes count. */
#ifndef Q8_API_NO_WEIGHTS_H
#define Q8_API_NO_WEIGHTS_H

#include "ops/caffe_import.h"

typedef struct q8_no_weights {
    q8_arena *arena;
    const float *zeros; /**< for every filter, as large as the largest so far */
    size_t n_zeros;
} q8_no_weights;

/**
 * Zeros for filters, which cost no memory as long as they are only looked at, and non-zero values
 * for what is a number per channel, so that folding finds the biases that real weights would give.
 * @param state with its arena set; must outlive the source
 */
q8_weight_source q8_no_weights_source(q8_no_weights *state);

#endif
