/** The four bytes in front of a .bin file's main weights, which say how those are stored. */
#ifndef Q8_NCNN_BIN_H
#define Q8_NCNN_BIN_H

/** All numbers are little-endian; fp16, int8 and palette indices are padded to 4 bytes. */
#define Q8_NCNN_TAG_FP32     0x00000000u
#define Q8_NCNN_TAG_FP16     0x01306b47u
#define Q8_NCNN_TAG_INT8     0x000d4b38u
#define Q8_NCNN_TAG_FP32_OLD 0x0002c056u

/** Any other tag: so many fp32 values, then a one-byte index per weight. */
enum { Q8_NCNN_PALETTE = 256 };

/** An int8_scale_term above this: the layer's output is int8 too and its scale follows. */
enum { Q8_NCNN_TERM_TOP = 100 };

#endif
