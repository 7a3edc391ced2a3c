/** Caffe's ArgMax, for which ncnn, as it is built by default, has no layer. */
#ifndef Q8_OPS_ARGMAX_H
#define Q8_OPS_ARGMAX_H

#include "ops/caffe_import.h"

/** For op->from_caffe: the place of the largest element, by Reduction, BinaryOp and Threshold. */
q8_code q8_argmax_from_caffe(q8_caffe_import *im);

#endif
