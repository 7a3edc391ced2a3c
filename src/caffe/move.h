/** Fields of one message moved to another, of another schema, along with their places. */
#ifndef Q8_CAFFE_MOVE_H
#define Q8_CAFFE_MOVE_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "caffe/places.h"

/**
 * Sets field `to_field` of `to` to the value that `from_field` of `from` has. Both are of one type;
 * a single value may become the only element of a list. Sub-messages are handed over, not copied.
 * @return false when out of memory
 */
bool q8_move_field(q8_places *places, q8_arena *arena, const ProtobufCMessage *from,
                   const ProtobufCFieldDescriptor *from_field, ProtobufCMessage *to,
                   const ProtobufCFieldDescriptor *to_field);

/** The places of a field (NULL: of the opening) hold for another message's field too. */
bool q8_move_places(q8_places *places, const void *from, const ProtobufCFieldDescriptor *from_field,
                    const void *to, const ProtobufCFieldDescriptor *to_field);

/**
 * The message of an optional field, made where there is none yet; a new one opens at `place`.
 * @return NULL when out of memory
 */
ProtobufCMessage *q8_move_target(q8_places *places, q8_arena *arena, ProtobufCMessage *message,
                                 const ProtobufCFieldDescriptor *field, q8_place place);

#endif
