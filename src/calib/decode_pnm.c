/** PBM, PGM and PPM, as text (P1 to P3) and binary (P4 to P6). */
#include "calib/decode.h"

/** What remains to be read. */
struct reader {
    const unsigned char *at, *end;
};

struct header {
    bool text;
    bool bits;    /**< PBM: 1 is black */
    int channels; /**< 1 or 3 */
    int width, height, maxval;
};

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/** Skips white space and comments, which reach to the end of their line. */
static void skip_space(struct reader *r)
{
    while (r->at < r->end && (is_space(*r->at) || *r->at == '#')) {
        if (*r->at++ != '#')
            continue;
        while (r->at < r->end && *r->at != '\n' && *r->at != '\r')
            r->at++;
    }
}

/** @return -1 if there is no number of at most `limit` */
static int read_number(struct reader *r, int limit)
{
    skip_space(r);
    if (r->at == r->end || !is_digit(*r->at))
        return -1;
    long long value = 0;
    for (; r->at < r->end && is_digit(*r->at); r->at++) {
        value = value * 10 + (*r->at - '0');
        if (value > limit)
            return -1;
    }
    return (int)value;
}

/** A text bitmap needs no white space between its digits. */
static int read_bit(struct reader *r)
{
    skip_space(r);
    if (r->at == r->end || (*r->at != '0' && *r->at != '1'))
        return -1;
    return *r->at++ - '0';
}

static q8_code read_header(struct header *h, struct reader *r, const q8_encoded *in, q8_err *err)
{
    const int kind = r->at[1] - '1';
    r->at += 2;
    h->text = kind < 3;
    h->bits = kind % 3 == 0;
    h->channels = kind % 3 == 2 ? 3 : 1;
    h->width = read_number(r, INT32_MAX);
    h->height = read_number(r, INT32_MAX);
    h->maxval = h->bits ? 1 : read_number(r, 65535);
    if (h->width < 0 || h->height < 0 || h->maxval < 0)
        return q8_picture_fail(err, in, "damaged PNM: a number is missing or too large");
    if (h->maxval == 0)
        return q8_picture_fail(err, in, "damaged PNM: the largest value is 0");
    if (!h->text && (r->at == r->end || !is_space(*r->at++)))
        return q8_picture_fail(err, in, "truncated PNM: premature end of file");
    return q8_picture_check_size(in, h->width, h->height, err);
}

/** Bytes that the pixels take at least: a text sample is a digit and, but for bits, a space. */
static size_t raster_size(const struct header *h)
{
    const size_t row = (size_t)h->width * (size_t)h->channels;
    const size_t rows = (size_t)h->height;
    if (h->text)
        return h->bits ? row * rows : row * rows * 2 - 1;
    if (h->bits)
        return (row + 7) / 8 * rows;
    return row * rows * (h->maxval > 255 ? 2 : 1);
}

/** To 8 bits. Full 16 bits give their high byte, as a PNG's do; else maxval becomes 255. */
static unsigned char to_8_bits(int value, int maxval)
{
    if (maxval == 65535)
        return (unsigned char)(value >> 8);
    return (unsigned char)((value < maxval ? value : maxval) * 255 / maxval);
}

/** The next sample; bits are handed on as grey. -1: it is missing. `x` counts within the row. */
static int read_sample(const struct header *h, struct reader *r, int x)
{
    if (h->text && h->bits) {
        const int bit = read_bit(r);
        return bit < 0 ? -1 : 1 - bit;
    }
    if (h->text)
        return read_number(r, 65535);
    if (h->bits) {
        const int bit = *r->at >> (7 - x % 8) & 1;
        if (x % 8 == 7 || x == h->width - 1)
            r->at++;
        return 1 - bit;
    }
    int value = *r->at++;
    if (h->maxval > 255)
        value = value << 8 | *r->at++;
    return value;
}

static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    struct reader r = {in->data, in->data + in->size};
    struct header h;
    q8_code code = read_header(&h, &r, in, err);
    if (code != Q8_OK)
        return code;
    if (raster_size(&h) > (size_t)(r.end - r.at))
        return q8_picture_fail(err, in, "truncated PNM: premature end of file");
    code = q8_picture_alloc(picture, in, h.width, h.height, err);
    if (code != Q8_OK)
        return code;
    unsigned char *rgb = picture->rgb;
    for (int y = 0; y < h.height; y++) {
        for (int x = 0; x < h.width; x++, rgb += 3) {
            for (int c = 0; c < h.channels; c++) {
                const int value = read_sample(&h, &r, x);
                if (value < 0)
                    return q8_picture_fail(err, in, "damaged PNM: pixel %d of row %d", x + 1,
                                           y + 1);
                rgb[c] = to_8_bits(value, h.maxval);
            }
            if (h.channels == 1)
                rgb[1] = rgb[2] = rgb[0];
        }
    }
    return Q8_OK;
}

static bool probe(const unsigned char *data, size_t size)
{
    return size >= 3 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' &&
           (is_space(data[2]) || data[2] == '#');
}

static const char *const extensions[] = {"ppm", "pgm", "pbm", "pnm", NULL};

const q8_decoder q8_decode_pnm = {"PNM", extensions, probe, decode, NULL};
