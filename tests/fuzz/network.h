/** Networks for fuzz targets: Caffe text with random weights, imported within bounds. */
#ifndef Q8_TESTS_FUZZ_NETWORK_H
#define Q8_TESTS_FUZZ_NETWORK_H

#include "../tools/random_weights.h"
#include "fuzz.h"

/** What was read, all in the arena. */
typedef struct fuzz_network {
    q8_caffe_net *caffe;
    random_weights *weights;
    q8_graph *graph;
} fuzz_network;

/**
 * Parses and imports a prototxt.
 * @param max_weights elements of all layers together, so that a run stays quick
 */
q8_code fuzz_network_read(fuzz_network *network, const void *text, size_t size, size_t max_weights,
                          q8_arena *arena, q8_err *err);

#endif
