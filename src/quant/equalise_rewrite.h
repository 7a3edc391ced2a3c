/** The rewrite that multiplies channels by factors. */
#ifndef Q8_QUANT_EQUALISE_REWRITE_H
#define Q8_QUANT_EQUALISE_REWRITE_H

#include "quant/channel_classes.h"

/**
 * Replaces weights, and sets the tensors' factors (NULL where all are 1).
 * @param factor by class; 1 for pinned ones
 */
q8_code q8_equalise_rewrite(q8_graph *graph, const q8_channel_classes *classes, const float *factor,
                            int threads, q8_err *err);

#endif
