#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"

enum { BLOCK_SIZE = 256 * 1024, SMALL_ALIGN = 16, LARGE_ALIGN = 64 };

/* A block's header, followed by its memory. */
struct block {
    struct block *next;
    size_t size, used;
};

struct q8_arena {
    struct block *head;
};

q8_arena *q8_arena_open(void)
{
    return calloc(1, sizeof(q8_arena));
}

void q8_arena_close(q8_arena **arena)
{
    if (!*arena)
        return;
    for (struct block *b = (*arena)->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(*arena);
    *arena = NULL;
}

size_t q8_arena_bytes(const q8_arena *arena)
{
    size_t bytes = 0;
    for (const struct block *b = arena ? arena->head : NULL; b; b = b->next)
        bytes += sizeof(*b) + b->size;
    return bytes;
}

static void *take(struct block *b, size_t size)
{
    const size_t align = size >= LARGE_ALIGN ? LARGE_ALIGN : SMALL_ALIGN;
    const uintptr_t base = (uintptr_t)(b + 1);
    const size_t start = ((base + b->used + align - 1) & ~(uintptr_t)(align - 1)) - base;
    if (start > b->size || size > b->size - start)
        return NULL;
    b->used = start + size;
    return (char *)base + start;
}

static struct block *add_block(q8_arena *arena, size_t size)
{
    /* calloc: fresh pages come zeroed, and large weights are never touched twice. */
    struct block *b = q8_large_pages(calloc(1, sizeof(*b) + size), sizeof(*b) + size);
    if (!b)
        return NULL;
    b->size = size;
    if (arena->head && size > BLOCK_SIZE) {
        /* Large and soon full: behind the head, so that the head's free space stays in use. */
        b->next = arena->head->next;
        arena->head->next = b;
    } else {
        b->next = arena->head;
        arena->head = b;
    }
    return b;
}

void *q8_arena_alloc(q8_arena *arena, size_t size)
{
    if (size == 0)
        size = 1;
    if (size > SIZE_MAX / 2)
        return NULL;
    void *p = arena->head ? take(arena->head, size) : NULL;
    if (p)
        return p;
    struct block *b = add_block(arena, size < BLOCK_SIZE / 2 ? BLOCK_SIZE : size + LARGE_ALIGN);
    return b ? take(b, size) : NULL;
}

void *q8_arena_array(q8_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return q8_arena_alloc(arena, bytes);
}

char *q8_arena_strdup(q8_arena *arena, const char *text)
{
    const size_t size = strlen(text) + 1;
    char *copy = q8_arena_alloc(arena, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *q8_arena_printf(q8_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = length < 0 ? NULL : q8_arena_alloc(arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    return text;
}

void *q8_arena_grow(q8_arena *arena, void *array, size_t count, size_t size)
{
    if (count && (count & (count - 1)))
        return array; /* not a power of two: room is left */
    void *bigger = q8_arena_array(arena, count ? count * 2 : 1, size);
    if (bigger && count)
        memcpy(bigger, array, count * size);
    return bigger;
}
