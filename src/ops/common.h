/** Small things that several ops share. */
#ifndef Q8_OPS_COMMON_H
#define Q8_OPS_COMMON_H

#include "ops/op.h"

/** An attribute axis (negative: from the end) as an index into `shape`, or an error. */
q8_code q8_node_axis(const q8_node *node, const q8_shape *shape, int axis, int *index, q8_err *err);

/** An error unless input `index` of this shape has so many dimensions. */
q8_code q8_node_rank(const q8_node *node, int index, const q8_shape *shape, int rank, q8_err *err);

/** An error unless a padding is one, and small enough; `side` names it: "left". */
q8_code q8_node_pad(const q8_node *node, const char *side, int pad, q8_err *err);

/** Elements of one step of `axis` (the dims after it), and how many times the axis occurs. */
void q8_axis_split(const q8_shape *shape, int axis, size_t *outer, size_t *inner);

/** The same function for the trait is_identity of layers that only move elements. */
bool q8_same_shape(const q8_node *node, const q8_shape *in, const q8_shape *out);

/** For the trait `channels`: ::Q8_CHANNELS_MOVE. */
q8_channel_rule q8_channels_move(const q8_node *node, const q8_shape *in);
/** ::Q8_CHANNELS_EACH */
q8_channel_rule q8_channels_each(const q8_node *node, const q8_shape *in);

/** Copies input 0 to output 0. */
q8_code q8_copy_forward(const q8_forward *f, q8_err *err);

#endif
