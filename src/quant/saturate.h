/** Activations that int8 does in any case. */
#ifndef Q8_QUANT_SATURATE_H
#define Q8_QUANT_SATURATE_H

#include "ops/op.h"

/**
 * Drops the clip that a layer does last where all that becomes of its output is codes that saturate
 * within the clip's bounds: the codes stay the same, and ncnn is spared a pass over the output.
 * Behind the shift rewrite that is most of the network's former ReLUs. The tensor in between
 * changes, so this is for the graph that is written, not for one that is looked into.
 */
q8_code q8_drop_saturated_clips(q8_graph *graph, q8_err *err);

#endif
