#include "base/buffers.h"

#include <stdint.h>
#include <stdlib.h>

enum { ALIGN = 64 };

/* Stands before a block's memory. */
struct q8_buffer {
    size_t bytes;
    q8_buffer *next;
    char fill[ALIGN - sizeof(size_t) - sizeof(q8_buffer *)];
};

/* Where the smallest block hangs that is large enough. */
static q8_buffer **find(q8_buffers *buffers, size_t bytes)
{
    q8_buffer **best = NULL;
    for (q8_buffer **b = &buffers->first; *b; b = &(*b)->next)
        if ((*b)->bytes >= bytes && (!best || (*b)->bytes < (*best)->bytes))
            best = b;
    return best;
}

void *q8_buffers_take(q8_buffers *buffers, size_t bytes)
{
    q8_buffer **at = find(buffers, bytes), *block;
    if (at) {
        block = *at;
        *at = block->next;
        return block + 1;
    }
    q8_buffers_close(buffers); /* all too small: their memory goes into the larger one */
    if (bytes > SIZE_MAX - 2 * ALIGN)
        return NULL;
    const size_t whole = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    block = aligned_alloc(ALIGN, sizeof(*block) + whole);
    if (!block)
        return NULL;
    block->bytes = whole;
    return block + 1;
}

void q8_buffers_give(q8_buffers *buffers, void *memory)
{
    if (!memory)
        return;
    q8_buffer *block = (q8_buffer *)memory - 1;
    block->next = buffers->first;
    buffers->first = block;
}

void q8_buffers_close(q8_buffers *buffers)
{
    while (buffers->first) {
        q8_buffer *block = buffers->first;
        buffers->first = block->next;
        free(block);
    }
}
