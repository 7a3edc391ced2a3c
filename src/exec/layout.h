/**
 * Memory layouts of a batch: NCHW, channels in blocks (nChw8c, nChw16c) with the last block padded
 * by zeros, or all channels of a pixel together (NHWC), which is a block of all of them. A tensor
 * that is not of rank 3 has block 1, whatever is asked for.
 */
#ifndef Q8_EXEC_LAYOUT_H
#define Q8_EXEC_LAYOUT_H

#include <limits.h>

#include "exec/backend.h"

/** Asks for NHWC, whatever the number of channels. */
#define Q8_CHANNELS_LAST INT_MAX

/** Where the plan keeps a tensor that lies in the GPU's memory, NCHW; no layout of the host's. */
#define Q8_ON_GPU (-1)

/** What can be asked for: the oneDNN formats nchw, nChw8c, nChw16c and nhwc. */
enum { Q8_N_BLOCKS = 4 };
/** 0, 1, 2, 3 for 1, 8, 16, ::Q8_CHANNELS_LAST; -1 for any other. */
int q8_block_index(int block);

/** `block`, or 1 for a tensor that is not of rank 3. */
int q8_layout_asked(const q8_shape *shape, int block);
/** The block a tensor of this shape really has when `block` is asked for: a number of channels. */
int q8_layout_block(const q8_shape *shape, int block);
/** True when both blocks put every element of a batch at the same place. */
bool q8_layout_same(const q8_shape *shape, int a, int b);
/** Floats of one picture, padding channels included; 0 when that does not fit in size_t bytes. */
size_t q8_layout_count(const q8_shape *shape, int block);

/** Copies pictures from one layout to the other. Blocks here and below may be what is asked for or
 *  what a tensor really has. */
void q8_layout_convert(const q8_shape *shape, int batch, const float *src, int src_block,
                       float *dst, int dst_block);

/** A kernel that does so. */
q8_code q8_layout_kernel(const q8_shape *shape, int batch, int src_block, int dst_block,
                         q8_kernel **kernel, q8_err *err);

#endif
