/** Small networks that mostly are valid, made and changed at random. */
#ifndef Q8_TESTS_FUZZ_GENERATE_H
#define Q8_TESTS_FUZZ_GENERATE_H

#include <stdbool.h>

#include "base/arena.h"
#include "caffe.pb-c.h"

/** Whether a network is one that the rest of the test will take. */
typedef bool (*fuzz_is_valid)(const Caffe__NetParameter *net);

/** A new network of some layers; each is tried a few times until the network is valid with it. */
Caffe__NetParameter *fuzz_net_new(uint64_t *state, fuzz_is_valid is_valid, q8_arena *arena);

/** Changes a parameter, takes a layer out, puts one in, and so on; nearly always so that the
 * network is still valid. @return the network, changed, or a copy */
Caffe__NetParameter *fuzz_net_change(const Caffe__NetParameter *net, uint64_t *state,
                                     fuzz_is_valid is_valid, q8_arena *arena);

#endif
