#include "base/buffers.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/pages.h"

/* What is never touched of a chunk costs addresses only. */
enum { ALIGN = 64, CHUNK = 256 << 20 };

/* Stands before a block's memory; blocks follow each other without gaps. */
struct block {
    size_t bytes;
    struct block *next; /* NULL: the chunk ends */
    bool taken;
    char fill[ALIGN - sizeof(size_t) - sizeof(struct block *) - sizeof(bool)];
};

/* Stands before its first block. */
struct q8_chunk {
    q8_chunk *next;
    char fill[ALIGN - sizeof(q8_chunk *)];
};

static struct block *first_block(q8_chunk *chunk)
{
    return (struct block *)(chunk + 1);
}

/* The first that is free and large enough, so that little memory is touched. */
static struct block *find(const q8_buffers *buffers, size_t bytes)
{
    for (q8_chunk *c = buffers->first; c; c = c->next)
        for (struct block *b = first_block(c); b; b = b->next)
            if (!b->taken && b->bytes >= bytes)
                return b;
    return NULL;
}

/* Adds a chunk behind the others, all one free block. */
static struct block *grow(q8_buffers *buffers, size_t bytes)
{
    const size_t heads = sizeof(q8_chunk) + sizeof(struct block);
    const size_t whole = bytes < CHUNK - heads ? CHUNK : bytes + heads;
    q8_chunk *chunk = q8_pages_alloc(whole), **end = &buffers->first;
    if (!chunk)
        return NULL;
    while (*end)
        end = &(*end)->next;
    *end = chunk;
    chunk->next = NULL;
    struct block *block = first_block(chunk);
    *block = (struct block){.bytes = whole - heads};
    return block;
}

/* Makes a free block of what a block has more than it needs. */
static void split(struct block *block, size_t bytes)
{
    if (block->bytes - bytes <= sizeof(*block))
        return;
    struct block *rest = (struct block *)((char *)(block + 1) + bytes);
    *rest = (struct block){.bytes = block->bytes - bytes - sizeof(*rest), .next = block->next};
    block->bytes = bytes;
    block->next = rest;
}

void *q8_buffers_take(q8_buffers *buffers, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct block *block = find(buffers, bytes);
    if (!block && !(block = grow(buffers, bytes)))
        return NULL;
    split(block, bytes);
    block->taken = true;
    return block + 1;
}

/* Joins free blocks that follow each other. */
static void join(q8_chunk *chunk)
{
    for (struct block *b = first_block(chunk); b; b = b->next)
        while (!b->taken && b->next && !b->next->taken) {
            b->bytes += sizeof(*b) + b->next->bytes;
            b->next = b->next->next;
        }
}

void q8_buffers_give(q8_buffers *buffers, void *memory)
{
    if (!memory)
        return;
    ((struct block *)memory - 1)->taken = false;
    for (q8_chunk *c = buffers->first; c; c = c->next)
        join(c);
}

void q8_buffers_close(q8_buffers *buffers)
{
    while (buffers->first) {
        q8_chunk *chunk = buffers->first;
        buffers->first = chunk->next;
        free(chunk);
    }
}
