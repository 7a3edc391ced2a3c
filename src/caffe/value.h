/** Scalar values of text-format protobuf: numbers, strings, bools, enums. */
#ifndef Q8_CAFFE_VALUE_H
#define Q8_CAFFE_VALUE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "caffe/lex.h"

/** Bytes that a value of the type takes in a message. */
size_t q8_value_size(ProtobufCType type);

/** True when a word or number without quotes stands where a string belongs; it is read as one. */
bool q8_value_is_bare(const q8_lexer *lexer, const ProtobufCFieldDescriptor *field);

/** Reads the value at the current token into `dest` and moves past it. */
q8_code q8_value_read(q8_lexer *lexer, const ProtobufCFieldDescriptor *field, void *dest,
                      q8_arena *arena);

#endif
