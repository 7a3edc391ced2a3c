/** A fused activation in plain C. */
#ifndef Q8_OPS_ACTIVATION_H
#define Q8_OPS_ACTIVATION_H

#include "ops/op.h"

/** Fails, naming the node, when the type is unknown or its parameters are too few. */
q8_code q8_activation_check(const q8_activation *act, const q8_node *node, q8_err *err);

/** The activation of one value; `act` must have passed q8_activation_check(). */
float q8_activate(const q8_activation *act, float x);

/** q8_activate() of `count` values in place. */
void q8_activate_array(const q8_activation *act, float *x, size_t count);

#endif
