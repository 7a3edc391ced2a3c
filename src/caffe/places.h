/** Where each field of a parsed message was written: a table beside the messages. */
#ifndef Q8_CAFFE_PLACES_H
#define Q8_CAFFE_PLACES_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

typedef struct q8_place {
    int line, column; /**< 1-based */
} q8_place;

typedef struct q8_places q8_places;

/** @return NULL when out of memory */
q8_places *q8_places_new(q8_arena *arena);

/**
 * Notes where element `index` (0 unless repeated) of a message's field was written; `field` NULL
 * stands for the message's own opening. A later place replaces an earlier one.
 * @return false when out of memory
 */
bool q8_places_add(q8_places *places, const void *message, const ProtobufCFieldDescriptor *field,
                   unsigned index, q8_place place);

/** @return NULL when it was never written */
const q8_place *q8_places_find(const q8_places *places, const void *message,
                               const ProtobufCFieldDescriptor *field, unsigned index);

#endif
