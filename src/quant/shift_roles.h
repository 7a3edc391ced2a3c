/** Inside the shift rewrite: what a node does with shifts of the tensors around it. */
#ifndef Q8_QUANT_SHIFT_ROLES_H
#define Q8_QUANT_SHIFT_ROLES_H

#include "quant/shift.h"

typedef enum q8_shift_role {
    Q8_SHIFT_BLOCKS,    /**< nothing around it can be shifted */
    Q8_SHIFT_STARTS,    /**< its outputs cannot; what values its inputs have does not matter */
    Q8_SHIFT_LINKS,     /**< outputs are shifted as inputs are; a clip's bounds move along */
    Q8_SHIFT_LINKS_MAX, /**< the same, but not with a change of sign */
    Q8_SHIFT_SUMS,      /**< its coefficients take the signs, its inputs' shifts have to add up */
    Q8_SHIFT_AFFINE,    /**< a Scale: as linear */
    Q8_SHIFT_LINEAR,    /**< its weights and bias take any shift of its input and its output */
} q8_shift_role;

/** False when out of memory. */
bool q8_shift_role_of(const q8_graph *graph, q8_node *node, q8_shift_role *role);

#endif
