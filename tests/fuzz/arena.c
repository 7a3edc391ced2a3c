/*
 * The arena of src/base/arena.c again, for fuzz targets: every object is its own allocation of
 * exactly its size, so that AddressSanitizer sees each end. Found by the linker before libq8's.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct q8_arena {
    void **object;
    size_t count, capacity, bytes;
};

q8_arena *q8_arena_open(void)
{
    return calloc(1, sizeof(q8_arena));
}

void q8_arena_close(q8_arena **arena)
{
    if (!*arena)
        return;
    for (size_t i = 0; i < (*arena)->count; i++)
        free((*arena)->object[i]);
    free((*arena)->object);
    free(*arena);
    *arena = NULL;
}

size_t q8_arena_bytes(const q8_arena *arena)
{
    return arena ? arena->bytes : 0;
}

static int make_room(q8_arena *arena)
{
    if (arena->count < arena->capacity)
        return 1;
    const size_t capacity = arena->capacity ? arena->capacity * 2 : 256;
    void **bigger = realloc(arena->object, capacity * sizeof(*bigger));
    if (!bigger)
        return 0;
    arena->object = bigger;
    arena->capacity = capacity;
    return 1;
}

void *q8_arena_alloc(q8_arena *arena, size_t size)
{
    void *p = NULL;
    if (!make_room(arena) || posix_memalign(&p, size >= 64 ? 64 : 16, size ? size : 1) != 0)
        return NULL;
    arena->object[arena->count++] = p;
    arena->bytes += size;
    return memset(p, 0, size);
}

void *q8_arena_array(q8_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : q8_arena_alloc(arena, bytes);
}

char *q8_arena_strdup(q8_arena *arena, const char *text)
{
    return q8_arena_printf(arena, "%s", text);
}

char *q8_arena_printf(q8_arena *arena, const char *fmt, ...)
{
    va_list args;
    char *made = NULL;
    va_start(args, fmt);
    const int length = vasprintf(&made, fmt, args);
    va_end(args);
    char *text = length < 0 ? NULL : q8_arena_alloc(arena, (size_t)length + 1);
    if (text)
        memcpy(text, made, (size_t)length + 1);
    free(length < 0 ? NULL : made);
    return text;
}

void *q8_arena_grow(q8_arena *arena, void *array, size_t count, size_t size)
{
    if (count && (count & (count - 1)))
        return array;
    void *bigger = q8_arena_array(arena, count ? count * 2 : 1, size);
    if (bigger && count)
        memcpy(bigger, array, count * size);
    return bigger;
}
