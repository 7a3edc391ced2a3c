/** Reading the layers of Caffe and its forks that normalise with stored statistics. */
#ifndef Q8_OPS_BATCHNORM_CAFFE_H
#define Q8_OPS_BATCHNORM_CAFFE_H

#include "ops/caffe_import.h"

/** The weights of ncnn's BatchNorm, in order. */
enum { Q8_BN_SLOPE, Q8_BN_MEAN, Q8_BN_VARIANCE, Q8_BN_BIAS, Q8_BN_N_WEIGHTS };

/** For op->from_caffe of BatchNorm: Caffe's BatchNorm and the forks' BN. */
q8_code q8_batchnorm_from_caffe(q8_caffe_import *im);

#endif
