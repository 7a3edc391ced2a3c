/** The mean picture that is subtracted from every picture. */
#ifndef Q8_CALIB_MEAN_H
#define Q8_CALIB_MEAN_H

#include "base/arena.h"
#include "base/err.h"

/** Per channel when height and width are 1. */
typedef struct q8_mean {
    int channels, height, width;
    const float *data; /**< channels x height x width */
} q8_mean;

/** Reads a `.binaryproto` or `.npy` file, told apart by content, of (C), (H, W), (C, H, W) or
 *  (1, C, H, W). */
q8_code q8_mean_read(q8_mean *mean, const char *path, q8_arena *arena, q8_err *err);

#endif
