/** Where activations lie in a run's one block of memory. */
#ifndef Q8_EXEC_SLAB_H
#define Q8_EXEC_SLAB_H

#include "base/err.h"

/** A cache line, and the widest vector. */
enum { Q8_SLAB_ALIGN = 64 };

/** Memory in use from step `first` to step `last`, both included. */
typedef struct q8_slab_part {
    size_t bytes;
    int first, last;
    bool on_gpu;   /**< for the caller, who places those apart */
    size_t offset; /**< set by q8_slab_place(); a multiple of ::Q8_SLAB_ALIGN */
} q8_slab_part;

/** Gives every part an offset such that no two that live at the same time overlap. */
q8_code q8_slab_place(q8_slab_part *part, int n, size_t *total, q8_err *err);

#endif
