#include "base/pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Twice the usual large page: below it hardly one fits between the block's ends. */
#define LEAST ((size_t)4 << 20)

/* The usual large page, and a cache line. */
enum { LARGE_PAGE = 2 << 20, LINE = 64 };

void *q8_large_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
    const long page = sysconf(_SC_PAGESIZE);
    if (!block || size < LEAST || page <= 0)
        return block;
    const uintptr_t mask = (uintptr_t)page - 1;
    char *start = (char *)block + (-(uintptr_t)block & mask);
    const size_t whole = (size - (size_t)(start - (char *)block)) & ~(size_t)mask;
    madvise(start, whole, MADV_HUGEPAGE);
#else
    (void)size;
#endif
    return block;
}

size_t q8_pages_align(size_t size)
{
    return size < LEAST ? LINE : LARGE_PAGE;
}

void *q8_pages_alloc(size_t size)
{
    void *block;
    if (posix_memalign(&block, q8_pages_align(size), size ? size : 1))
        return NULL;
    return q8_large_pages(block, size);
}
