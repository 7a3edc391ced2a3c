/** Pictures: finding the files, decoding them by content, making them the network's input. */
#ifndef Q8_CALIB_PICTURE_H
#define Q8_CALIB_PICTURE_H

#include "base/err.h"

/** No picture with more pixels than this is decoded. */
#define Q8_MAX_PIXELS ((size_t)1 << 28)

/** 8-bit RGB, rows without padding. */
typedef struct q8_picture {
    int width, height;
    unsigned char *rgb; /**< from malloc() */
} q8_picture;

/** Decodes JPEG, PNG, WebP, BMP or PPM/PGM/PBM (told apart by content, not by name). Alpha is
 *  dropped, grey becomes equal channels, 16 bits become 8. */
q8_code q8_picture_read(q8_picture *picture, const char *path, q8_err *err);
/** The same from memory; `name` is for messages. */
q8_code q8_picture_decode(q8_picture *picture, const char *name, const unsigned char *data,
                          size_t size, q8_err *err);
void q8_picture_free(q8_picture *picture);

/**
 * Resizes to width x height bilinearly (half-pixel centres, ncnn's from_pixels_resize arithmetic to
 * the bit), puts channels in order, subtracts the mean and multiplies by the norm.
 * @param out channels x height x width floats
 * @param channels 1 (grey), 3
 */
q8_code q8_picture_to_input(const q8_picture *picture, const q8_preprocess *pre, int channels,
                            int height, int width, float *out, q8_err *err);

/** Bilinear resize of interleaved 8-bit pixels, `channels` of 1, 3 or 4, as ncnn does it. */
q8_code q8_resize_bilinear(const unsigned char *src, int src_w, int src_h, unsigned char *dst,
                           int dst_w, int dst_h, int channels, q8_err *err);

/** Paths of calibration pictures. */
typedef struct q8_picture_list {
    char **path;
    size_t n;
} q8_picture_list;

/**
 * Folders are searched recursively (files whose content is a picture or whose name ends like one),
 * `.txt` files name a picture a line (relative to the list's folder; a second word is ignored),
 * anything else is a picture. Sorted by path within a source, duplicates removed; `limit` > 0 keeps
 * that many, evenly spaced. An empty result is an error that names what was searched.
 */
q8_code q8_picture_list_open(q8_picture_list *list, const char *const *sources, size_t n_sources,
                             size_t limit, q8_err *err);
void q8_picture_list_close(q8_picture_list *list);

#endif
