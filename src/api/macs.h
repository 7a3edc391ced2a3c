/** How much work a layer is. */
#ifndef Q8_API_MACS_H
#define Q8_API_MACS_H

#include "ops/op.h"

/** Multiply-adds of a layer with filters, for one picture; 0: none. */
uint64_t q8_node_macs(const q8_node *node, const q8_shape *in, const q8_shape *out);

#endif
