#include "calib/origin.h"

#include <stdlib.h>
#include <string.h>

q8_code q8_origin_of_samples(q8_origin *origin, const q8_samples *samples, q8_err *err)
{
    const int n = q8_samples_inputs(samples);
    origin->input = calloc((size_t)n, sizeof(*origin->input));
    if (!origin->input)
        return q8_fail_nomem(err);
    origin->n_inputs = n;
    for (int i = 0; i < n; i++)
        origin->input[i] = q8_samples_prep_id(samples, i);
    return Q8_OK;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

q8_code q8_origin_merge(q8_origin *into, const q8_origin *from, q8_err *err)
{
    const size_t n = into->n_parts + from->n_parts;
    uint64_t *part = realloc(into->part, (n + 1) * sizeof(*part));
    if (!part)
        return q8_fail_nomem(err);
    into->part = part;
    for (size_t i = 0; i < from->n_parts; i++)
        part[into->n_parts + i] = from->part[i];
    into->n_parts = n;
    qsort(part, n, sizeof(*part), ascending);
    if (!into->input && from->n_inputs > 0) {
        into->input = calloc((size_t)from->n_inputs, sizeof(*into->input));
        if (!into->input)
            return q8_fail_nomem(err);
        into->n_inputs = from->n_inputs;
    }
    for (int i = 0; i < into->n_inputs; i++)
        if (!into->input[i].pictures)
            into->input[i] = from->input[i];
    return Q8_OK;
}

bool q8_origin_share(const q8_origin *a, const q8_origin *b)
{
    for (size_t i = 0; i < a->n_parts; i++)
        if (b->n_parts && bsearch(&a->part[i], b->part, b->n_parts, sizeof(*b->part), ascending))
            return true;
    return false;
}

int q8_origin_differs(const q8_origin *a, const q8_origin *b)
{
    for (int i = 0; i < a->n_inputs && i < b->n_inputs; i++)
        if (!q8_prep_id_agree(&a->input[i], &b->input[i]))
            return i;
    return -1;
}

void q8_origin_free(q8_origin *origin)
{
    free(origin->input);
    free(origin->part);
    memset(origin, 0, sizeof(*origin));
}
