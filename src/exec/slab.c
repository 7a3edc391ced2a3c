/* Largest first, each at the smallest gap that holds it: within a few percent of the lower bound on
 * real networks, and independent of anything but the sizes and live ranges. */
#include "exec/slab.h"

#include <stdint.h>
#include <stdlib.h>

/* Sizes with the index as tie-break, so that the order is the same with every qsort(). */
struct entry {
    size_t bytes;
    int index;
};

static int larger_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->index - y->index;
}

static size_t align_up(size_t bytes)
{
    return (bytes + Q8_SLAB_ALIGN - 1) & ~(size_t)(Q8_SLAB_ALIGN - 1);
}

static bool live_together(const q8_slab_part *a, const q8_slab_part *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The offset for `p`, given those `placed` before, by ascending offset. */
static size_t best_gap(const q8_slab_part *part, const int *placed, int n, const q8_slab_part *p)
{
    size_t best = SIZE_MAX, best_gap_bytes = SIZE_MAX, end = 0;
    for (int i = 0; i < n; i++) {
        const q8_slab_part *other = &part[placed[i]];
        if (!live_together(other, p))
            continue;
        if (other->offset > end && other->offset - end >= p->bytes &&
            other->offset - end < best_gap_bytes) {
            best = end;
            best_gap_bytes = other->offset - end;
        }
        const size_t other_end = other->offset + align_up(other->bytes);
        if (other_end > end)
            end = other_end;
    }
    return best != SIZE_MAX ? best : end;
}

static void insert_by_offset(const q8_slab_part *part, int *placed, int n, int index)
{
    int at = n;
    for (; at > 0 && part[placed[at - 1]].offset > part[index].offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = index;
}

/* Wholes stand behind their pieces, so one pass also does pieces of pieces. */
static void extend_wholes(q8_slab_part *part, int n)
{
    for (int i = 0; i < n; i++) {
        if (!part[i].whole)
            continue;
        q8_slab_part *whole = &part[part[i].whole - 1];
        if (part[i].first < whole->first)
            whole->first = part[i].first;
        if (part[i].last > whole->last)
            whole->last = part[i].last;
    }
}

static void place_pieces(q8_slab_part *part, int n)
{
    for (int i = n - 1; i >= 0; i--)
        if (part[i].whole)
            part[i].offset = part[part[i].whole - 1].offset + part[i].at;
}

q8_code q8_slab_place(q8_slab_part *part, int n, bool on_gpu, size_t *total, q8_err *err)
{
    *total = 0;
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        if (part[i].bytes > SIZE_MAX / 2 ||
            __builtin_add_overflow(sum, align_up(part[i].bytes), &sum) || sum > SIZE_MAX / 2)
            return q8_fail(err, Q8_ENOMEM, NULL, NULL, "activations exceed the address space");

    q8_code code = Q8_OK;
    struct entry *order = malloc(((size_t)n + 1) * sizeof(*order));
    int *placed = malloc(((size_t)n + 1) * sizeof(*placed));
    if (!order || !placed) {
        code = q8_fail_nomem(err);
        goto fail;
    }
    extend_wholes(part, n);
    int own = 0;
    for (int i = 0; i < n; i++)
        if (!part[i].whole && part[i].on_gpu == on_gpu)
            order[own++] = (struct entry){part[i].bytes, i};
    qsort(order, (size_t)own, sizeof(*order), larger_first);
    for (int i = 0; i < own; i++) {
        q8_slab_part *p = &part[order[i].index];
        p->offset = best_gap(part, placed, i, p);
        insert_by_offset(part, placed, i, order[i].index);
        if (p->offset + align_up(p->bytes) > *total)
            *total = p->offset + align_up(p->bytes);
    }
    place_pieces(part, n);
fail:
    free(order);
    free(placed);
    return code;
}
