/**
 * Memory layouts of a batch: NCHW, or channels in blocks (nChw8c, nChw16c) with the last block
 * padded by zeros. A tensor that is not of rank 3 has block 1, whatever is asked for.
 */
#ifndef Q8_EXEC_LAYOUT_H
#define Q8_EXEC_LAYOUT_H

#include "exec/backend.h"

/** Block sizes that exist are those of the oneDNN formats nchw, nChw8c and nChw16c. */
enum { Q8_N_BLOCKS = 3 };
/** 0, 1, 2 for block 1, 8, 16; -1 for any other. */
int q8_block_index(int block);

/** The block a tensor of this shape really has when `block` is asked for. */
int q8_layout_block(const q8_shape *shape, int block);
/** True when both blocks put every element of a batch at the same place. */
bool q8_layout_same(const q8_shape *shape, int a, int b);
/** Floats of one picture, padding channels included; 0 when that does not fit in size_t bytes. */
size_t q8_layout_count(const q8_shape *shape, int block);

/** Copies pictures from one layout to the other; one of the two blocks is 1. */
void q8_layout_convert(const q8_shape *shape, int batch, const float *src, int src_block,
                       float *dst, int dst_block);

/** A kernel that does so. */
q8_code q8_layout_kernel(const q8_shape *shape, int batch, int src_block, int dst_block,
                         q8_kernel **kernel, q8_err *err);

#endif
