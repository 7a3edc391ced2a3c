/** WebP through libwebp, where the build has it. */
#include <string.h>

#include "calib/decode.h"

#ifdef Q8_HAVE_WEBP
#include <webp/decode.h>

static q8_code fail_status(q8_err *err, const q8_encoded *in, VP8StatusCode status)
{
    static const char *const words[] = {
        [VP8_STATUS_INVALID_PARAM] = "invalid size",
        [VP8_STATUS_BITSTREAM_ERROR] = "broken bit stream",
        [VP8_STATUS_UNSUPPORTED_FEATURE] = "unsupported feature",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "premature end of file",
    };
    /* Nobody aborts here: it means that there was no memory. */
    if (status == VP8_STATUS_OUT_OF_MEMORY || status == VP8_STATUS_USER_ABORT)
        return q8_fail_nomem(err);
    const char *word = (size_t)status < sizeof(words) / sizeof(words[0]) ? words[status] : NULL;
    return q8_picture_fail(err, in, "damaged WebP: %s", word ? word : "cannot be decoded");
}

static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return q8_fail(err, Q8_EINTERNAL, NULL, NULL, "libwebp is of another version");
    VP8StatusCode status = WebPGetFeatures(in->data, in->size, &config.input);
    if (status != VP8_STATUS_OK)
        return fail_status(err, in, status);
    if (config.input.has_animation)
        return q8_picture_fail(err, in, "an animated WebP, not a picture");
    q8_code code = q8_picture_alloc(picture, in, config.input.width, config.input.height, err);
    if (code != Q8_OK)
        return code;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = picture->rgb;
    config.output.u.RGBA.stride = picture->width * 3;
    config.output.u.RGBA.size = (size_t)picture->width * (size_t)picture->height * 3;
    status = WebPDecode(in->data, in->size, &config);
    WebPFreeDecBuffer(&config.output);
    return status == VP8_STATUS_OK ? Q8_OK : fail_status(err, in, status);
}
#else
static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    const q8_loc loc = {.file = in->name};
    (void)picture;
    return q8_fail(err, Q8_EUNSUPPORTED, &loc, NULL, "a WebP, which this build cannot read");
}
#endif

static bool probe(const unsigned char *data, size_t size)
{
    return size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0;
}

/** Chunks come one after the other: a kind, a size, the data, a byte where that makes it even. */
static const unsigned char *find_exif(const unsigned char *data, size_t size, size_t *exif_size)
{
    enum { HEAD = 8 };
    for (size_t at = 12; size - at >= HEAD;) {
        const unsigned char *p = data + at;
        const size_t length = (size_t)p[7] << 24 | (size_t)p[6] << 16 | (size_t)p[5] << 8 | p[4];
        if (length > size - at - HEAD)
            return NULL;
        if (memcmp(p, "EXIF", 4) == 0) {
            *exif_size = length;
            return p + HEAD;
        }
        at += HEAD + length;
        at += length % 2 && at < size;
    }
    return NULL;
}

static const char *const extensions[] = {"webp", NULL};

const q8_decoder q8_decode_webp = {"WebP", extensions, probe, decode, find_exif};
