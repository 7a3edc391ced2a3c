/** What the layers that find boxes share: order, dropping of overlaps, rows of output. */
#ifndef Q8_OPS_DETECTION_H
#define Q8_OPS_DETECTION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct q8_box {
    float left, top, right, bottom;
} q8_box;

typedef struct q8_detection {
    q8_box box;
    float score;
    int label;
    int origin; /**< where it comes from: tells equal scores of a label apart */
} q8_detection;

/** Numbers per row: label, score, left, top, right, bottom. */
enum { Q8_DETECTION_ROW = 6 };

/** Best score first; equal ones by label and origin, so that the order is a fixed one. */
void q8_sort_detections(q8_detection *found, size_t n);

/** Keeps of sorted detections those that no kept one before overlaps by more than `threshold` of
 * their union. @return their number */
size_t q8_drop_overlaps(q8_detection *found, size_t n, float threshold);

/** Writes `rows` rows; those past the last detection have the label -1 and zeros. */
void q8_write_detections(const q8_detection *found, size_t n, float *out, size_t rows);

#endif
