/** The most that a GPU can do, measured. */
#ifndef Q8_BENCH_DEVICE_PEAK_H
#define Q8_BENCH_DEVICE_PEAK_H

#include "q8/q8.h"

/** Multiply-adds of fp32 in registers, each counted as two. @return GFLOP/s; 0: not measured */
double device_peak(q8_gpu *gpu);

#endif
