/** protobuf-c messages as text, the other way round from src/caffe/text.h. */
#ifndef Q8_TESTS_FUZZ_TEXT_H
#define Q8_TESTS_FUZZ_TEXT_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"

/** Appends the fields that are set, at most one message to a line. */
void fuzz_text_print(q8_buf *text, const ProtobufCMessage *message);

/** A copy, all of it in the arena. */
void *fuzz_text_copy(const ProtobufCMessage *message, q8_arena *arena);

/** How many elements a repeated field has. */
size_t *fuzz_field_count(void *message, const ProtobufCFieldDescriptor *field);
/** Whether an optional number is set. */
protobuf_c_boolean *fuzz_field_has(void *message, const ProtobufCFieldDescriptor *field);
/** Where its value, pointer or array is. */
void *fuzz_field_at(void *message, const ProtobufCFieldDescriptor *field);
/** Bytes of one value. */
size_t fuzz_field_size(const ProtobufCFieldDescriptor *field);

#endif
