/** A mean picture as Caffe's compute_image_mean writes it: one BlobProto in a file. */
#ifndef Q8_CAFFE_MEAN_H
#define Q8_CAFFE_MEAN_H

#include "caffe/net.h"

/** Reads a `.binaryproto`: `dim` as stored (1, channels, height, width when it is Caffe's own). */
q8_code q8_caffe_mean_read(q8_caffe_blob *mean, const char *path, q8_arena *arena, q8_err *err);

#endif
