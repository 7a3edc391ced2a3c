/**
 * Rewrites of a graph that leave its function unchanged. Each is a free function graph -> graph, in
 * place, and keeps shapes and network outputs (names too) as they were.
 */
#ifndef Q8_PASSES_PASSES_H
#define Q8_PASSES_PASSES_H

#include "ops/op.h"

/** Drops Dropout, one-way Concat, Split and other nodes that pass their input through. */
q8_code q8_pass_drop_identities(q8_graph *graph, q8_err *err);

/** Drops nodes that no output of the network depends on. */
q8_code q8_pass_drop_dead(q8_graph *graph, q8_err *err);

/** Folds BatchNorm, Scale, Bias and linear Power into the Convolution, depthwise, Deconvolution or
 *  InnerProduct before them, or, where that is exact, after them. */
q8_code q8_pass_fold_affine(q8_graph *graph, q8_err *err);

/** Moves an activation into the layer before it that has an activation slot. */
q8_code q8_pass_fuse_activation(q8_graph *graph, q8_err *err);

/** ncnn's global pooling yields {c}: puts a Reshape to {c,1,1} where a reader needs rank 3. */
q8_code q8_pass_restore_rank(q8_graph *graph, q8_err *err);

/** Inserts Split nodes so that every tensor is read once, as ncnn wants it. Last before writing. */
q8_code q8_pass_insert_splits(q8_graph *graph, q8_err *err);

/** Names become unique. Of several tensors with one name, as in-place layers leave them, the last
 * keeps it, for that is the value Caffe shows under it; but an input of the network always does,
 * for users feed it by name. The others become "<name>_<node that made it>". */
q8_code q8_pass_unique_names(q8_graph *graph, q8_err *err);

/** ConvolutionDepthWise whose int8 form ncnn miscomputes on x86 (groups of 8, 16, ... outputs)
 * becomes a Slice, a Convolution per group and a Concat, unless groups compute too little to be
 * layers. Only worth it for int8, and before calibration: each group's input gets a threshold of
 * its own. */
q8_code q8_pass_split_groups(q8_graph *graph, q8_err *err);

/** What every imported model goes through, of the ones above. */
q8_code q8_passes_optimise(q8_graph *graph, q8_err *err);

/** A copy that passes may change without touching the original; weights are shared. */
q8_graph *q8_graph_copy(const q8_graph *graph, q8_arena *arena);

#endif
