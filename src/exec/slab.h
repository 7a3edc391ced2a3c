/** Where activations lie in a run's one block of memory. */
#ifndef Q8_EXEC_SLAB_H
#define Q8_EXEC_SLAB_H

#include "base/err.h"

/** A cache line, and the widest vector. */
enum { Q8_SLAB_ALIGN = 64 };

/** Memory in use from step `first` to step `last`, both included. */
typedef struct q8_slab_part {
    size_t bytes;
    size_t stride; /**< from one picture of a batch to the next; 0: it holds one at a time */
    int first, last;
    bool on_gpu;   /**< in which of the two memories; a piece is where its whole is */
    int whole;     /**< 1 + index of the later part that this one is a piece of; 0: none */
    size_t at;     /**< where in it the piece begins; a multiple of ::Q8_SLAB_ALIGN */
    size_t offset; /**< set by q8_slab_place(); a multiple of ::Q8_SLAB_ALIGN */
} q8_slab_part;

/** Gives every part in one memory an offset such that no two that live at the same time overlap,
 * pieces of one part aside. A part lives as long as any of its pieces. */
q8_code q8_slab_place(q8_slab_part *part, int n, bool on_gpu, size_t *total, q8_err *err);

#endif
