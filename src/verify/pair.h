/**
 * One graph that holds the float network, the simulation of its int8 form, and per layer a Compare
 * of the two. A layer in int8 is also simulated once more on the float network's tensors, so that
 * its own error can be told from what it was handed.
 */
#ifndef Q8_VERIFY_PAIR_H
#define Q8_VERIFY_PAIR_H

#include "ops/op.h"

/** A layer with weights. Tensors are -1 where there is no such thing. */
typedef struct q8_pair_layer {
    const q8_node *node; /**< of the int8 graph */
    int compare;         /**< what Compare makes of its output */
    bool alone;          /**< that is of three inputs */
    int beyond;          /**< how many of its inputs were cut off */
    size_t n_inputs;     /**< of so many */
} q8_pair_layer;

typedef struct q8_pair {
    q8_graph *graph; /**< its outputs are the float network's, its inputs both's */
    int *simulated;  /**< by output: the int8 network's */
    q8_pair_layer *layer;
    int n_layers;
} q8_pair;

/**
 * @param exact the float network
 * @param int8 a rewritten and quantised copy of it, with the same tensor ids as far as both have
 * them
 * @param layers false: compare outputs only, which costs less
 * @param arena keeps all of the pair; both graphs must outlive it
 */
q8_code q8_pair_make(q8_pair *pair, const q8_graph *exact, const q8_graph *int8, bool layers,
                     q8_arena *arena, q8_err *err);

#endif
