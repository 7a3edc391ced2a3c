/* An open-addressing hash table. Its order is never seen, so hashing addresses is harmless. */
#include "caffe/places.h"

#include <stdint.h>

enum { FIRST_CAPACITY = 1024 };

struct entry {
    const void *message; /* NULL: free */
    const ProtobufCFieldDescriptor *field;
    unsigned index;
    q8_place place;
};

struct q8_places {
    q8_arena *arena;
    struct entry *entry;
    size_t count, capacity; /* capacity: a power of two, at least twice the count */
};

static uint64_t mix(uint64_t h, uint64_t value)
{
    h = (h ^ value) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

/* The entry that holds the key, or the free one where it belongs. */
static struct entry *slot(struct entry *entry, size_t capacity, const void *message,
                          const ProtobufCFieldDescriptor *field, unsigned index)
{
    const uint64_t hash = mix(mix(mix(0, (uintptr_t)message), (uintptr_t)field), index);
    for (size_t i = hash & (capacity - 1);; i = (i + 1) & (capacity - 1)) {
        struct entry *e = &entry[i];
        if (!e->message || (e->message == message && e->field == field && e->index == index))
            return e;
    }
}

q8_places *q8_places_new(q8_arena *arena)
{
    q8_places *places = q8_arena_alloc(arena, sizeof(*places));
    if (!places)
        return NULL;
    places->arena = arena;
    places->capacity = FIRST_CAPACITY;
    places->entry = q8_arena_array(arena, FIRST_CAPACITY, sizeof(struct entry));
    return places->entry ? places : NULL;
}

static bool grow(q8_places *places)
{
    const size_t capacity = places->capacity * 2;
    struct entry *bigger = q8_arena_array(places->arena, capacity, sizeof(*bigger));
    if (!bigger)
        return false;
    for (size_t i = 0; i < places->capacity; i++) {
        const struct entry *e = &places->entry[i];
        if (e->message)
            *slot(bigger, capacity, e->message, e->field, e->index) = *e;
    }
    places->entry = bigger;
    places->capacity = capacity;
    return true;
}

bool q8_places_add(q8_places *places, const void *message, const ProtobufCFieldDescriptor *field,
                   unsigned index, q8_place place)
{
    if (places->count * 2 >= places->capacity && !grow(places))
        return false;
    struct entry *e = slot(places->entry, places->capacity, message, field, index);
    if (!e->message)
        places->count++;
    *e = (struct entry){message, field, index, place};
    return true;
}

const q8_place *q8_places_find(const q8_places *places, const void *message,
                               const ProtobufCFieldDescriptor *field, unsigned index)
{
    const struct entry *e = slot(places->entry, places->capacity, message, field, index);
    return e->message ? &e->place : NULL;
}
