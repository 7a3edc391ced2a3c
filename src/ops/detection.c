#include "ops/detection.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *first, const void *second)
{
    const q8_detection *a = first, *b = second;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->label != b->label)
        return a->label < b->label ? -1 : 1;
    return (a->origin > b->origin) - (a->origin < b->origin);
}

void q8_sort_detections(q8_detection *found, size_t n)
{
    qsort(found, n, sizeof(*found), compare);
}

static float area(const q8_box *b)
{
    return (b->right - b->left) * (b->bottom - b->top);
}

/* Boxes without area: 0 / 0 compares false here; ncnn's builds with -ffast-math drop one of them.
 */
static bool overlap(const q8_box *a, const q8_box *b, float threshold)
{
    const float w = fminf(a->right, b->right) - fmaxf(a->left, b->left);
    const float h = fminf(a->bottom, b->bottom) - fmaxf(a->top, b->top);
    const float common = w < 0 || h < 0 ? 0 : w * h;
    return common / (area(a) + area(b) - common) > threshold;
}

size_t q8_drop_overlaps(q8_detection *found, size_t n, float threshold)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool keep = true;
        for (size_t k = 0; k < kept && keep; k++)
            keep = !overlap(&found[i].box, &found[k].box, threshold);
        if (keep)
            found[kept++] = found[i];
    }
    return kept;
}

void q8_write_detections(const q8_detection *found, size_t n, float *out, size_t rows)
{
    for (size_t i = 0; i < rows; i++, out += Q8_DETECTION_ROW) {
        static const q8_detection none = {.label = -1};
        const q8_detection *d = i < n ? &found[i] : &none;
        out[0] = (float)d->label;
        out[1] = d->score;
        out[2] = d->box.left;
        out[3] = d->box.top;
        out[4] = d->box.right;
        out[5] = d->box.bottom;
    }
}
