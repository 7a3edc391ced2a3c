/** Slice's attributes, for passes that make one. */
#ifndef Q8_OPS_SLICE_H
#define Q8_OPS_SLICE_H

#include "ops/op.h"

/** A size of Q8_SLICE_REST is an equal share of what is left. */
enum { Q8_SLICE_REST = -233 };

typedef struct q8_slice_attr {
    q8_ints sizes; /**< one per output */
    int axis;
    q8_ints indices; /**< ncnn's other way to say where to cut: refused */
} q8_slice_attr;

#endif
