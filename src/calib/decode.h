/** What the picture decoders share: the row each adds to the table in picture.c, and helpers. */
#ifndef Q8_CALIB_DECODE_H
#define Q8_CALIB_DECODE_H

#include "calib/picture.h"

/** Bytes of a file's beginning that are enough for every probe. */
enum { Q8_PROBE_BYTES = 32 };

/** An encoded picture; `name` is for messages. */
typedef struct q8_encoded {
    const char *name;
    const unsigned char *data;
    size_t size;
    size_t max_pixels;
} q8_encoded;

/** One file format. */
typedef struct q8_decoder {
    const char *format;            /**< as messages call it */
    const char *const *extensions; /**< lower case, NULL-ended */
    /** Do these first bytes begin a file of this format? */
    bool (*probe)(const unsigned char *data, size_t size);
    /** On failure the caller frees what `picture` holds. */
    q8_code (*decode)(q8_picture *picture, const q8_encoded *in, q8_err *err);
    /** The EXIF data in a file, NULL when it has none. NULL itself where the format has no place
     * for it. */
    const unsigned char *(*find_exif)(const unsigned char *data, size_t size, size_t *exif_size);
} q8_decoder;

extern const q8_decoder q8_decode_jpeg, q8_decode_png, q8_decode_webp, q8_decode_bmp, q8_decode_pnm;

/** The format that some first bytes announce, NULL if none. */
const q8_decoder *q8_decoder_by_content(const unsigned char *data, size_t size);
/** The format that a file name's extension announces, NULL if none. */
const q8_decoder *q8_decoder_by_name(const char *path);

/** Fails if the size that a header tells is absurd: to be asked before it is used. */
q8_code q8_picture_check_size(const q8_encoded *in, long long width, long long height, q8_err *err);
/** Checks the size and allocates the pixels. */
q8_code q8_picture_alloc(q8_picture *picture, const q8_encoded *in, long long width,
                         long long height, q8_err *err);

/** q8_fail() with ::Q8_EFORMAT and the picture's name. */
q8_code q8_picture_fail(q8_err *err, const q8_encoded *in, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
