/** Weights for a prototxt that has none: random, the same on every machine. */
#ifndef Q8_TESTS_RANDOM_WEIGHTS_H
#define Q8_TESTS_RANDOM_WEIGHTS_H

#include "ops/caffe_import.h"

/** Blobs made so far, by layer. */
typedef struct random_weights random_weights;

/** For the layers of `net`. @return NULL when out of memory */
random_weights *random_weights_open(const q8_caffe_net *net, q8_arena *arena);

/** A source that makes each blob it is asked for and remembers it. */
q8_weight_source random_weights_source(random_weights *weights);

/** All that was made, as the bytes of a caffemodel in the arena; NULL when out of memory. */
unsigned char *random_weights_pack(const random_weights *weights, size_t *size);

#endif
