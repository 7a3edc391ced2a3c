/** The rows of the layer table, for files that name one directly. */
#ifndef Q8_OPS_ROWS_H
#define Q8_OPS_ROWS_H

#include "ops/op.h"

#define Q8_OP(name) extern const q8_op q8_op_##name;
#include "ops/ops.def"
#undef Q8_OP

#endif
