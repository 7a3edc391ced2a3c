/** A Caffe network becomes a graph: one call of an op's from_caffe() per layer, in file order. */
#ifndef Q8_IMPORT_IMPORT_H
#define Q8_IMPORT_IMPORT_H

#include "ops/caffe_import.h"

typedef struct q8_import_opts {
    int width, height;               /**< replace every input's size; 0: keep */
    const q8_weight_source *weights; /**< NULL: the net's own blobs */
} q8_import_opts;

/**
 * Layers of unknown type are all collected first and end in one error that lists each with its
 * line. In-place layers make new tensors of the same name; q8_pass_unique_names() tells those apart
 * that are left once layers have been folded and fused.
 */
q8_code q8_import_caffe(q8_graph **graph, const q8_caffe_net *net, const q8_import_opts *opts,
                        q8_arena *arena, const q8_env *env, q8_err *err);

#endif
