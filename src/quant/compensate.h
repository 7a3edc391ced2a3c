/** Rounds a layer's int8 weights anew so that their errors cancel on its calibration inputs. */
#ifndef Q8_QUANT_COMPENSATE_H
#define Q8_QUANT_COMPENSATE_H

#include "base/buffers.h"
#include "ops/op.h"

/** A layer's inputs on some pictures, NCHW, one after the other, in float units. */
typedef struct q8_layer_inputs {
    int n;
    const q8_node *layer; /**< in the float network: an int8 layer's padding is in codes */
    const float *exact;   /**< in the float network */
    const float *coded;   /**< in the int8 network, as its codes have them */
} q8_layer_inputs;

/**
 * Replaces node->quant->weight. Leaves it where the inputs say too little: fewer than a few output
 * positions per weight. The result does not depend on
 * threads, nor on the size of a team, whose members round some of the outputs of large layers each.
 * @param buffers where working memory comes from
 */
q8_code q8_compensate_rounding(q8_graph *graph, q8_node *node, const q8_layer_inputs *inputs,
                               q8_buffers *buffers, const q8_env *env, q8_err *err);

#endif
