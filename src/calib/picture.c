/** Pictures from files: which decoder, and what decoders share. */
#include "calib/picture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/limits.h"
#include "calib/decode.h"
#include "calib/exif.h"

/** A new format is a row here. */
static const q8_decoder *const decoders[] = {
    &q8_decode_jpeg, &q8_decode_png, &q8_decode_webp, &q8_decode_bmp, &q8_decode_pnm,
};

enum { N_DECODERS = sizeof(decoders) / sizeof(decoders[0]) };

const q8_decoder *q8_decoder_by_content(const unsigned char *data, size_t size)
{
    for (int i = 0; i < N_DECODERS; i++) {
        if (decoders[i]->probe(data, size))
            return decoders[i];
    }
    return NULL;
}

const q8_decoder *q8_decoder_by_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    if (!dot)
        return NULL;
    for (int i = 0; i < N_DECODERS; i++) {
        for (const char *const *extension = decoders[i]->extensions; *extension; extension++) {
            if (strcasecmp(dot + 1, *extension) == 0)
                return decoders[i];
        }
    }
    return NULL;
}

q8_code q8_picture_make(q8_picture *picture, int width, int height, q8_err *err)
{
    const size_t size = (size_t)width * (size_t)height * 3;
    if (size > picture->room) {
        q8_picture_free(picture);
        picture->rgb = malloc(size);
        if (!picture->rgb)
            return q8_fail_nomem(err);
        picture->room = size;
    }
    picture->width = width;
    picture->height = height;
    return Q8_OK;
}

q8_code q8_picture_fail(q8_err *err, const q8_encoded *in, const char *fmt, ...)
{
    const q8_loc loc = {.file = in->name};
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return q8_fail(err, Q8_EFORMAT, &loc, NULL, "%s", text);
}

q8_code q8_picture_check_size(const q8_encoded *in, long long width, long long height, q8_err *err)
{
    const bool lowered = in->max_pixels < Q8_MAX_PIXELS;
    const long long limit = (long long)(lowered ? in->max_pixels : Q8_MAX_PIXELS);
    if (width <= 0 || height <= 0)
        return q8_picture_fail(err, in, "a picture of %lld x %lld pixels", width, height);
    if (width > limit / height)
        return q8_picture_fail(
            err, in, "a picture of %lld x %lld pixels, the limit is %lld (%s)", width, height,
            limit, lowered ? "a 64th of --max_memory" : "Q8_MAX_PIXELS in src/base/limits.h");
    return Q8_OK;
}

q8_code q8_picture_alloc(q8_picture *picture, const q8_encoded *in, long long width,
                         long long height, q8_err *err)
{
    q8_code code = q8_picture_check_size(in, width, height, err);
    if (code != Q8_OK)
        return code;
    return q8_picture_make(picture, (int)width, (int)height, err);
}

static q8_code fail_unknown(q8_err *err, const q8_encoded *in)
{
    char formats[128] = "";
    size_t length = 0;
    for (int i = 0; i < N_DECODERS; i++) {
        const char *separator = i == 0 ? "" : i + 1 < N_DECODERS ? ", " : " or ";
        length += (size_t)snprintf(formats + length, sizeof(formats) - length, "%s%s", separator,
                                   decoders[i]->format);
    }
    return q8_picture_fail(err, in, "not a %s picture", formats);
}

static q8_code turn_upright(q8_picture *picture, const q8_decoder *decoder, const q8_encoded *in,
                            q8_err *err)
{
    size_t size = 0;
    const unsigned char *exif =
        decoder->find_exif ? decoder->find_exif(in->data, in->size, &size) : NULL;
    return exif ? q8_picture_orient(picture, q8_exif_orientation(exif, size), err) : Q8_OK;
}

static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    if (in->size == 0)
        return q8_picture_fail(err, in, "the file is empty");
    const q8_decoder *decoder = q8_decoder_by_content(in->data, in->size);
    if (!decoder)
        return fail_unknown(err, in);
    const q8_code code = decoder->decode(picture, in, err);
    return code ? code : turn_upright(picture, decoder, in, err);
}

q8_code q8_picture_decode(q8_picture *picture, const char *name, const unsigned char *data,
                          size_t size, q8_err *err)
{
    const q8_code code = decode(picture, &(q8_encoded){name, data, size, Q8_MAX_PIXELS}, err);
    if (code)
        q8_picture_free(picture);
    return code;
}

q8_code q8_picture_read(q8_picture *picture, const char *path, q8_err *err)
{
    *picture = (q8_picture){0};
    return q8_picture_read_within(picture, path, Q8_MAX_PIXELS, err);
}

q8_code q8_picture_read_within(q8_picture *picture, const char *path, size_t max_pixels,
                               q8_err *err)
{
    q8_bytes bytes = {0};
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_PICTURE_FILE, err);
    if (code == Q8_OK)
        code = decode(picture, &(q8_encoded){path, bytes.data, bytes.size, max_pixels}, err);
    q8_bytes_free(&bytes);
    if (code)
        q8_picture_free(picture);
    return code;
}

void q8_picture_free(q8_picture *picture)
{
    if (!picture)
        return;
    free(picture->rgb);
    *picture = (q8_picture){0};
}
