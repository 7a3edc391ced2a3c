/** Reshape's attributes, for the passes and layers that make one. */
#ifndef Q8_OPS_RESHAPE_H
#define Q8_OPS_RESHAPE_H

#include "ops/op.h"

/** A dim is a number, -1 (what remains), 0 (as the input's) or ::Q8_RESHAPE_NONE. */
enum { Q8_RESHAPE_NONE = -233 };

typedef struct q8_reshape_attr {
    int w, h, d, c;
    int permute;             /**< old files' key 3; must be 0 */
    int batch_in, batch_out; /**< must be 233, their default */
} q8_reshape_attr;

/** Attributes of a Reshape to these dims, outermost first; `rank` is 1 to 3. */
q8_reshape_attr q8_reshape_dims(int rank, const int *dim);

/** Attributes of a Reshape to exactly this shape of rank 1 to 3. */
q8_reshape_attr q8_reshape_to(const q8_shape *shape);

#endif
