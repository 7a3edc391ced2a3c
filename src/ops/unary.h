/**
 * The layers that are one function of each element. AbsVal, BNLL, Sigmoid, Swish, TanH and Split
 * have no attributes.
 */
#ifndef Q8_OPS_UNARY_H
#define Q8_OPS_UNARY_H

#include "ops/op.h"

typedef struct q8_relu_attr {
    float slope; /**< of negative values */
} q8_relu_attr;

typedef struct q8_clip_attr {
    float min, max;
} q8_clip_attr;

/** Weight 0: the slopes. */
typedef struct q8_prelu_attr {
    int num_slope; /**< 1: shared by all channels */
} q8_prelu_attr;

/** (shift + scale * x) ^ power */
typedef struct q8_power_attr {
    float power, scale, shift;
} q8_power_attr;

/** alpha * (exp(x) - 1) of negative values */
typedef struct q8_elu_attr {
    float alpha;
} q8_elu_attr;

/** Of Exp, base ^ (shift + scale * x), and Log, log(shift + scale * x) to that base; -1: e */
typedef struct q8_log_attr {
    float base, scale, shift;
} q8_log_attr;

typedef struct q8_threshold_attr {
    float threshold;
} q8_threshold_attr;

typedef struct q8_dropout_attr {
    float scale; /**< 1 in every model converted from Caffe */
} q8_dropout_attr;

/** The function of one element. */
typedef float (*q8_unary_fn)(const q8_node *node, float x);

/** For op->forward: applies the function to every element. */
void q8_unary_forward(const q8_forward *f, q8_unary_fn fn);

/** op->infer: every output is like the input. */
q8_code q8_unary_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err);

/** An activation of this type with `n` parameters from the arena. False when out of memory. */
bool q8_make_activation(q8_arena *arena, q8_activation *act, q8_act_type type, const float *params,
                        int n);

#endif
