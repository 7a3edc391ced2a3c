/** Large blocks of memory that are used again: the system hands out fresh ones page by page. */
#ifndef Q8_BASE_BUFFERS_H
#define Q8_BASE_BUFFERS_H

#include <stddef.h>

typedef struct q8_chunk q8_chunk;

/** Memory of which blocks are taken and given back. Zero-initialised is empty. For one thread at a
 * time. */
typedef struct q8_buffers {
    q8_chunk *first;
} q8_buffers;

/** At least `bytes`, aligned to 64, contents undefined; where memory was used before, if there is
 * enough of that in one piece. NULL when out of memory. */
void *q8_buffers_take(q8_buffers *buffers, size_t bytes);
/** `block` came from q8_buffers_take(); NULL is nothing. */
void q8_buffers_give(q8_buffers *buffers, void *block);
/** Frees all, what was not given back too. */
void q8_buffers_close(q8_buffers *buffers);

#endif
