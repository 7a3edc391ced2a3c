/**
 * Which channels of a network's tensors must be multiplied by one and the same factor if its
 * function is to stay the same.
 */
#ifndef Q8_QUANT_CHANNEL_CLASSES_H
#define Q8_QUANT_CHANNEL_CLASSES_H

#include "ops/op.h"

/** How a node takes factors of its channels. */
typedef enum q8_channel_role {
    Q8_ROLE_FIXED,  /**< not at all: those of its inputs and outputs are 1 */
    Q8_ROLE_LINEAR, /**< its weights take them, on either side (the linear view) */
    Q8_ROLE_AFFINE, /**< the same; the node becomes a Scale */
    Q8_ROLE_MOVE,   /**< as ::Q8_CHANNELS_MOVE */
    Q8_ROLE_SAME,   /**< output channel c has the factor of channel c of all inputs */
} q8_channel_role;

/** A stretch of elements that a node moves, by the numbers of its channels. */
typedef struct q8_channel_move {
    int from, to;
    float share; /**< of the elements of channel `to` */
} q8_channel_move;

typedef struct q8_channel_node {
    q8_channel_role role;
    q8_linear view;        /**< of ::Q8_ROLE_LINEAR */
    q8_channel_move *move; /**< of ::Q8_ROLE_MOVE */
    int n_moves;
} q8_channel_node;

/** Channels are numbered tensor after tensor. */
typedef struct q8_channel_classes {
    int n;                 /**< channels of all tensors; 0 where they are too many to look at */
    const int *first;      /**< by tensor: number of its channel 0 */
    q8_channel_node *node; /**< by node */
    int *of;               /**< by channel: its class, which is the number of one of its channels */
    bool *pinned;          /**< by class: the factor must be 1 */
} q8_channel_classes;

/**
 * @param bounded by tensor: factors will raise no value above the largest of its tensor, so that
 *   clipping at an upper bound stays what it is. NULL: none
 * @param arena keeps the result
 */
q8_code q8_channel_classes_find(q8_channel_classes *classes, const q8_graph *graph,
                                const bool *bounded, q8_arena *arena, q8_err *err);

/** Union-find over numbers: the number that stands for i's set. `of` starts as of[i] = i. */
int q8_set_find(int *of, int i);
/** Joins two sets. The lower of the numbers that stand for them stands for both. */
void q8_set_join(int *of, int i, int k);

#endif
