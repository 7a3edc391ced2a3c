/** A bump allocator: many small objects, one free. */
#ifndef Q8_BASE_ARENA_H
#define Q8_BASE_ARENA_H

#include <stddef.h>

typedef struct q8_arena q8_arena;

/** @return NULL when out of memory */
q8_arena *q8_arena_open(void);
void q8_arena_close(q8_arena **arena);
/** Bytes that it has taken from the system; NULL is an arena without any. */
size_t q8_arena_bytes(const q8_arena *arena);

/** Zeroed memory, aligned to 64 bytes where `size` >= 64, to 16 otherwise. NULL when out of memory.
 */
void *q8_arena_alloc(q8_arena *arena, size_t size);

/** q8_arena_alloc() of `count * size` bytes, NULL on overflow too. */
void *q8_arena_array(q8_arena *arena, size_t count, size_t size);

char *q8_arena_strdup(q8_arena *arena, const char *text);
char *q8_arena_printf(q8_arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * Makes room for one more element at the end of an array in the arena whose capacity is the next
 * power of two of its count. Outgrown arrays stay in the arena until it closes.
 * @return the array (perhaps moved), or NULL when out of memory
 */
void *q8_arena_grow(q8_arena *arena, void *array, size_t count, size_t size);

#endif
