/** Large pages for large blocks of memory. */
#ifndef Q8_BASE_PAGES_H
#define Q8_BASE_PAGES_H

#include <stddef.h>

/**
 * Asks the system for large pages where a block of several MiB lies, before it is used: first
 * touches, which take a fifth of the time of a large network's quantising, become few. For blocks
 * that will be used as a whole. May be in vain, which changes nothing.
 * @return `block`, which may be NULL
 */
void *q8_large_pages(void *block, size_t size);

/** What a block of this size is to be aligned to: a cache line, or where it is large a large page.
 */
size_t q8_pages_align(size_t size);

/** Memory for free(), aligned so and in large pages. NULL: there is none. */
void *q8_pages_alloc(size_t size);

#endif
