/** Pictures: finding the files, decoding them by content, resizing. */
#ifndef Q8_CALIB_PICTURE_H
#define Q8_CALIB_PICTURE_H

#include "base/err.h"
#include "base/limits.h"

/** 8-bit RGB, rows without padding. Zero-initialised is none. */
typedef struct q8_picture {
    int width, height;
    unsigned char *rgb; /**< from malloc() */
    size_t room;        /**< bytes there, perhaps more than this picture takes */
} q8_picture;

/** Makes it one of this size, above 0, in the memory that it has if that is enough; its pixels are
 * anything. */
q8_code q8_picture_make(q8_picture *picture, int width, int height, q8_err *err);

/** Decodes JPEG, PNG, WebP, BMP or PPM/PGM/PBM (told apart by content, not by name). Alpha is
 *  dropped, grey becomes equal channels, 16 bits become 8, and what EXIF calls up is up. */
q8_code q8_picture_read(q8_picture *picture, const char *path, q8_err *err);
/** The same for pictures of at most `max_pixels`, and never more than ::Q8_MAX_PIXELS, in the
 * memory of the picture that `picture` holds, if it is enough: new memory costs page faults. */
q8_code q8_picture_read_within(q8_picture *picture, const char *path, size_t max_pixels,
                               q8_err *err);
/** As q8_picture_read_within() from memory, up to ::Q8_MAX_PIXELS; `name` is for messages. */
q8_code q8_picture_decode(q8_picture *picture, const char *name, const unsigned char *data,
                          size_t size, q8_err *err);
void q8_picture_free(q8_picture *picture);

/** Turns and mirrors a picture as EXIF's orientation (1 to 8) says. */
q8_code q8_picture_orient(q8_picture *picture, int orientation, q8_err *err);

/** A window of a picture that has been scaled. */
typedef struct q8_window {
    long long full_width, full_height; /**< what the whole picture is scaled to */
    long long x, y;                    /**< of the window's corner in that */
    int width, height;
} q8_window;

/** Bilinear resize of interleaved 8-bit pixels, `channels` of 1, 3 or 4, with half-pixel centres:
 * to the bit what ncnn's from_pixels_resize() gives, and a window of that. */
q8_code q8_resize_bilinear(const unsigned char *src, int src_w, int src_h, unsigned char *dst,
                           const q8_window *window, int channels, q8_err *err);

/** A path of a list, in two parts that begin in its text: neighbours share their folder. */
typedef struct q8_listed_file {
    uint32_t folder, name;
} q8_listed_file;

/** Paths of calibration pictures and tensors, in some 20 bytes each: there may be millions. */
typedef struct q8_picture_list {
    q8_listed_file *file;
    char *text;
    size_t n;
} q8_picture_list;

/** Room for any path that can be opened, and its end. */
#define Q8_MAX_PATH 4096

/** In which order, and whether twice. */
typedef enum q8_list_order {
    Q8_LIST_SORTED, /**< by path within a source, duplicates removed */
    Q8_LIST_PAIRED, /**< folders sorted, list files as written, duplicates kept */
} q8_list_order;

/**
 * Folders are searched recursively (files whose content is a picture or an .npy tensor, or whose
 * name ends like one), `.txt` files name a file a line (relative to the list's folder; a second
 * word is ignored), anything else is a file itself. An empty result is an error that names what was
 * searched.
 */
q8_code q8_picture_list_open(q8_picture_list *list, const char *const *sources, size_t n_sources,
                             q8_list_order order, q8_err *err);
/** Writes the path of file `i`; cut off where it is too long to be opened. Returns `path`. */
const char *q8_picture_list_path(const q8_picture_list *list, size_t i, char path[Q8_MAX_PATH]);
/** Does the file hold a tensor rather than a picture? Its name tells, or else its first bytes. */
bool q8_picture_list_is_tensor(const char *path);
void q8_picture_list_close(q8_picture_list *list);

#endif
