/** A check of binary protobuf before protobuf-c unpacks it, which says only that something broke.
 */
#ifndef Q8_CAFFE_WIRE_H
#define Q8_CAFFE_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

/** What is wrong, and at which byte of the file the broken field begins. */
typedef struct q8_wire_fault {
    size_t offset;
    const char *what;
} q8_wire_fault;

/**
 * Walks the message as its schema says; what the schema does not know is stepped over. Stricter
 * than the format: an optional message must not occur twice, since protobuf-c's merging of many
 * takes quadratic memory. The schema's messages must have at most 32 fields each.
 * @param cost receives an upper bound of the memory that unpacking takes
 */
bool q8_wire_check(const ProtobufCMessageDescriptor *type, const unsigned char *data, size_t size,
                   size_t *cost, q8_wire_fault *fault);

/** Whether that memory is in proportion to the file: honest ones are mostly numbers. */
bool q8_wire_is_worth(size_t cost, size_t size);

/** For unpacking into an arena, of which nothing is freed one by one. */
ProtobufCAllocator q8_wire_allocator(q8_arena *arena);

#endif
