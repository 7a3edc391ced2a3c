/** Layers for the generator of networks, as the layer table and the cases in tests/corpus have
 *  them: a layer type that is added there is generated without a change here. */
#ifndef Q8_TESTS_FUZZ_LAYERS_H
#define Q8_TESTS_FUZZ_LAYERS_H

#include "base/arena.h"
#include "caffe.pb-c.h"
#include "ops/op.h"

/** A random number, and the state that the next is made of. */
uint64_t fuzz_random(uint64_t *state);
/** 0 to n - 1. */
unsigned fuzz_below(uint64_t *state, size_t n);
/** True once in n times. */
bool fuzz_chance(uint64_t *state, unsigned once_in);

/**
 * A layer of a random type with random parameters: a case of tests/corpus perhaps changed, or what
 * the descriptors of its message allow. Bottoms and tops are as many as it may want, and unnamed
 * (NULL).
 */
Caffe__LayerParameter *fuzz_layer_new(uint64_t *state, q8_arena *arena);

/** Changes something about the parameters. */
void fuzz_layer_change(Caffe__LayerParameter *layer, uint64_t *state, q8_arena *arena);

/** Changes a random field of any message. */
void fuzz_message_change(ProtobufCMessage *message, uint64_t *state, q8_arena *arena);

#endif
