#include "caffe/wire.h"

#include <stdint.h>

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

/* Upper bounds of what protobuf-c allocates besides the data itself, rounding included: a list
 * entry while scanning, a record of a field it does not know, the slack of one allocation. */
enum { COST_FIELD = 96, COST_UNKNOWN = 64, COST_SLACK = 64 };

struct wire {
    const unsigned char *start; /* of the file */
    size_t cost;
    q8_wire_fault *fault;
};

/* A part of the file that is still to be read. */
struct span {
    const unsigned char *at, *end;
};

static bool broken(struct wire *w, const unsigned char *at, const char *what)
{
    *w->fault = (q8_wire_fault){(size_t)(at - w->start), what};
    return false;
}

static bool read_varint(struct span *s, int max_bytes, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < max_bytes && s->at < s->end; i++) {
        const unsigned char byte = *s->at++;
        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static size_t left(const struct span *s)
{
    return (size_t)(s->end - s->at);
}

/* The wire type of one value. */
static int wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return LENGTH;
    default:
        return VARINT;
    }
}

static bool check_message(struct wire *w, const ProtobufCMessageDescriptor *type, struct span s);

/* A packed array. */
static bool check_packed(struct wire *w, const ProtobufCFieldDescriptor *f, struct span body,
                         const unsigned char *at)
{
    const int wire_type = wire_type_of(f->type);
    size_t elements = 0;
    if (wire_type == VARINT) {
        uint64_t value;
        for (; body.at < body.end; elements++)
            if (!read_varint(&body, 10, &value))
                return broken(w, at, "an array ends inside a number");
    } else {
        const size_t size = wire_type == FIXED32 ? 4 : 8;
        if (left(&body) % size)
            return broken(w, at, "an array ends inside a number");
        elements = left(&body) / size;
    }
    w->cost += elements * (wire_type == FIXED32 ? 4 : 8);
    return true;
}

static bool check_known(struct wire *w, const ProtobufCFieldDescriptor *f, int wire_type,
                        struct span body, const unsigned char *at)
{
    w->cost += COST_SLACK + left(&body);
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && wire_type == LENGTH)
        return check_message(w, f->descriptor, body);
    const int expected = wire_type_of(f->type);
    if (wire_type == expected)
        return true;
    if (wire_type == LENGTH && expected != LENGTH && f->label == PROTOBUF_C_LABEL_REPEATED)
        return check_packed(w, f, body, at);
    return broken(w, at, "a field of the wrong type");
}

/* Cuts a field's content out of `s`. */
static bool take_body(struct wire *w, struct span *s, int wire_type, const unsigned char *at,
                      struct span *body)
{
    uint64_t size;
    *body = *s;
    switch (wire_type) {
    case VARINT:
        if (!read_varint(s, 10, &size))
            return broken(w, at, "a number without an end");
        body->end = s->at;
        return true;
    case FIXED64:
        size = 8;
        break;
    case FIXED32:
        size = 4;
        break;
    case LENGTH:
        if (!read_varint(s, 5, &size))
            return broken(w, at, "a length without an end");
        break;
    default:
        return broken(w, at, "a field of no known type");
    }
    if (size > left(s) || size > INT32_MAX)
        return broken(w, at, "a field is longer than what is left");
    body->at = s->at;
    s->at += size;
    body->end = s->at;
    return true;
}

static bool check_message(struct wire *w, const ProtobufCMessageDescriptor *type, struct span s)
{
    uint32_t seen = 0; /* which optional sub-messages, by position among the fields */
    w->cost += type->sizeof_message + COST_SLACK;
    while (s.at < s.end) {
        const unsigned char *at = s.at;
        uint64_t key;
        struct span body;
        if (!read_varint(&s, 5, &key) || key >> 3 == 0 || key > UINT32_MAX)
            return broken(w, at, "no field begins here");
        const int wire_type = (int)(key & 7);
        if (!take_body(w, &s, wire_type, at, &body))
            return false;
        w->cost += COST_FIELD;
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3));
        if (!f) {
            w->cost += COST_UNKNOWN + left(&body);
            continue;
        }
        if (f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED) {
            const uint32_t bit = (uint32_t)1 << (f - type->fields);
            if (seen & bit)
                return broken(w, at, "a part that may occur once occurs twice");
            seen |= bit;
        }
        if (!check_known(w, f, wire_type, body, at))
            return false;
    }
    return true;
}

bool q8_wire_check(const ProtobufCMessageDescriptor *type, const unsigned char *data, size_t size,
                   size_t *cost, q8_wire_fault *fault)
{
    struct wire w = {.start = data, .fault = fault};
    const bool good = check_message(&w, type, (struct span){data, data + size});
    *cost = w.cost;
    return good;
}

bool q8_wire_is_worth(size_t cost, size_t size)
{
    return cost / 4 <= size + (16u << 20);
}

static void *arena_alloc(void *arena, size_t size)
{
    return q8_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

ProtobufCAllocator q8_wire_allocator(q8_arena *arena)
{
    return (ProtobufCAllocator){arena_alloc, arena_free, arena};
}
