/** Text-format protobuf into protobuf-c messages, keeping where each field stood. */
#ifndef Q8_CAFFE_TEXT_H
#define Q8_CAFFE_TEXT_H

#include "base/err.h"
#include "caffe/places.h"

/**
 * Parses a whole file as one message of the given type. Unknown fields are warned about once per
 * message type and skipped.
 * @param file for messages, borrowed by them
 * @param message from the arena, and so is all it points to
 */
q8_code q8_text_parse(ProtobufCMessage **message, const ProtobufCMessageDescriptor *type,
                      const char *file, const char *text, size_t size, q8_places *places,
                      q8_arena *arena, const q8_env *env, q8_err *err);

/** The field of that name in the schema, NULL when it has none. `name` need not be terminated. */
const ProtobufCFieldDescriptor *q8_text_field(const ProtobufCMessageDescriptor *type,
                                              const char *name, size_t size);

#endif
