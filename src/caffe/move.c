#include "caffe/move.h"

#include <string.h>

#include "caffe/value.h"

typedef const ProtobufCFieldDescriptor field;

static void *member(const ProtobufCMessage *message, field *f)
{
    return (char *)message + f->offset;
}

static void *quantifier(const ProtobufCMessage *message, field *f)
{
    return (char *)message + f->quantifier_offset;
}

bool q8_move_places(q8_places *places, const void *from, field *from_field, const void *to,
                    field *to_field)
{
    const q8_place *place;
    for (unsigned i = 0; (place = q8_places_find(places, from, from_field, i)); i++)
        if (!q8_places_add(places, to, to_field, i, *place))
            return false;
    return true;
}

/* A list of one. */
static bool set_only(q8_arena *arena, const void *value, ProtobufCMessage *to, field *f)
{
    const size_t size = q8_value_size(f->type);
    void *array = q8_arena_array(arena, 1, size);
    if (!array)
        return false;
    memcpy(array, value, size);
    *(void **)member(to, f) = array;
    *(size_t *)quantifier(to, f) = 1;
    return true;
}

bool q8_move_field(q8_places *places, q8_arena *arena, const ProtobufCMessage *from,
                   field *from_field, ProtobufCMessage *to, field *to_field)
{
    const void *value = member(from, from_field);
    if (from_field->label == PROTOBUF_C_LABEL_REPEATED) {
        *(void **)member(to, to_field) = *(void *const *)value;
        *(size_t *)quantifier(to, to_field) = *(size_t *)quantifier(from, from_field);
    } else if (to_field->label == PROTOBUF_C_LABEL_REPEATED) {
        if (!set_only(arena, value, to, to_field))
            return false;
    } else {
        memcpy(member(to, to_field), value, q8_value_size(to_field->type));
        if (to_field->type != PROTOBUF_C_TYPE_STRING && to_field->type != PROTOBUF_C_TYPE_MESSAGE)
            *(protobuf_c_boolean *)quantifier(to, to_field) = 1;
    }
    return q8_move_places(places, from, from_field, to, to_field);
}

ProtobufCMessage *q8_move_target(q8_places *places, q8_arena *arena, ProtobufCMessage *message,
                                 field *f, q8_place place)
{
    const ProtobufCMessageDescriptor *type = f->descriptor;
    ProtobufCMessage **slot = member(message, f);
    if (*slot)
        return *slot;
    ProtobufCMessage *made = q8_arena_alloc(arena, type->sizeof_message);
    if (!made)
        return NULL;
    type->message_init(made);
    if (!q8_places_add(places, made, NULL, 0, place) ||
        !q8_places_add(places, message, f, 0, place))
        return NULL;
    *slot = made;
    return made;
}
