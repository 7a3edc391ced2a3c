#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "caffe/value.h"

size_t *fuzz_field_count(void *message, const ProtobufCFieldDescriptor *field)
{
    return (size_t *)((char *)message + field->quantifier_offset);
}

protobuf_c_boolean *fuzz_field_has(void *message, const ProtobufCFieldDescriptor *field)
{
    return (protobuf_c_boolean *)((char *)message + field->quantifier_offset);
}

void *fuzz_field_at(void *message, const ProtobufCFieldDescriptor *field)
{
    return (char *)message + field->offset;
}

size_t fuzz_field_size(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *) : q8_value_size(field->type);
}

/* As protoc's own printer does it. */
static void print_string(q8_buf *text, const char *string)
{
    q8_buf_add(text, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)string; *p; p++)
        if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
            q8_buf_printf(text, "\\%03o", *p);
        else
            q8_buf_add(text, p, 1);
    q8_buf_add(text, "\"", 1);
}

static void print_float(q8_buf *text, double x, int digits)
{
    if (isfinite(x))
        q8_buf_printf(text, "%.*g", digits, x);
    else
        q8_buf_printf(text, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
}

static void print_enum(q8_buf *text, const ProtobufCEnumDescriptor *type, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    if (value)
        q8_buf_printf(text, "%s", value->name);
    else
        q8_buf_printf(text, "%d", number);
}

static void print_value(q8_buf *text, const ProtobufCFieldDescriptor *field, const void *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        q8_buf_printf(text, "%" PRId32, *(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        q8_buf_printf(text, "%" PRIu32, *(const uint32_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT64:
        q8_buf_printf(text, "%" PRId64, *(const int64_t *)value);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        print_float(text, (double)*(const float *)value, 9);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        print_float(text, *(const double *)value, 17);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        q8_buf_printf(text, *(const protobuf_c_boolean *)value ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(text, field->descriptor, *(const int *)value);
        break;
    case PROTOBUF_C_TYPE_STRING:
        print_string(text, *(char *const *)value);
        break;
    default:
        abort(); /* a type that the schema did not have */
    }
}

static void print_field(q8_buf *text, const ProtobufCFieldDescriptor *field, const void *value)
{
    /* The schema's name, without the underscore that keeps it apart from a word of protoc-c. */
    int length = (int)strlen(field->name);
    while (length > 0 && field->name[length - 1] == '_')
        length--;
    q8_buf_printf(text, "%.*s", length, field->name);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        q8_buf_add(text, " { ", 3);
        fuzz_text_print(text, *(ProtobufCMessage *const *)value);
        q8_buf_add(text, "} ", 2);
    } else {
        q8_buf_add(text, ": ", 2);
        print_value(text, field, value);
        q8_buf_add(text, " ", 1);
    }
}

static bool is_set(void *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REQUIRED)
        return true;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING)
        return *fuzz_field_has(message, field);
    const void *pointer = *(void **)fuzz_field_at(message, field);
    return pointer && pointer != field->default_value;
}

void fuzz_text_print(q8_buf *text, const ProtobufCMessage *message)
{
    void *m = (void *)message;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            if (is_set(m, field))
                print_field(text, field, fuzz_field_at(m, field));
            continue;
        }
        const char *array = *(char **)fuzz_field_at(m, field);
        for (size_t k = 0; k < *fuzz_field_count(m, field); k++) {
            print_field(text, field, array + k * fuzz_field_size(field));
            if (field->type == PROTOBUF_C_TYPE_MESSAGE)
                q8_buf_add(text, "\n", 1);
        }
    }
}

static void *allocate(void *arena, size_t size)
{
    return q8_arena_alloc(arena, size);
}

static void keep(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer; /* goes with the arena */
}

void *fuzz_text_copy(const ProtobufCMessage *message, q8_arena *arena)
{
    ProtobufCAllocator allocator = {allocate, keep, arena};
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = q8_arena_alloc(arena, size);
    if (!bytes)
        abort();
    protobuf_c_message_pack(message, bytes);
    void *copy = protobuf_c_message_unpack(message->descriptor, &allocator, size, bytes);
    if (!copy)
        abort();
    return copy;
}
