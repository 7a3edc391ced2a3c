/**
 * BMP: 1, 4 and 8 bits with a palette, 16, 24 and 32 bits, RLE4, RLE8, bit fields, rows from the
 * bottom or the top, headers of OS/2 and Windows.
 */
#include <string.h>

#include "calib/decode.h"

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, OS2_HEADER = 64 };
enum { RAW = 0, RLE8 = 1, RLE4 = 2, BIT_FIELDS = 3, ALPHA_BIT_FIELDS = 6 };

/** One colour's bits within a pixel. */
struct field {
    uint32_t mask, max; /**< max: the largest value, mask shifted down */
    int shift;
};

struct bmp {
    const q8_encoded *in;
    uint32_t header; /**< size of the second header, which tells its kind */
    uint32_t bits, compression, colours;
    long long width, height;
    bool top_down;
    size_t pixels; /**< offset */
    unsigned char palette[256][3];
    struct field field[3]; /**< of R, G, B */
};

static uint32_t le16(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const unsigned char *p)
{
    return le16(p) | le16(p + 2) << 16;
}

static q8_code truncated(const struct bmp *b, q8_err *err)
{
    return q8_picture_fail(err, b->in, "truncated BMP: premature end of file");
}

static bool is_header_size(uint32_t size)
{
    static const uint32_t known[] = {CORE_HEADER, INFO_HEADER, 52, 56, OS2_HEADER, 108, 124};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (size == known[i])
            return true;
    }
    return false;
}

static q8_code check_kind(const struct bmp *b, q8_err *err)
{
    const uint32_t bits = b->bits;
    bool known = false;
    switch (b->compression) {
    case RAW:
        known = bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32;
        break;
    case RLE8:
        known = bits == 8;
        break;
    case RLE4:
        known = bits == 4;
        break;
    case BIT_FIELDS: /* OS/2 means something else by this number */
    case ALPHA_BIT_FIELDS:
        known = (bits == 16 || bits == 32) && b->header != OS2_HEADER;
        break;
    default:
        break;
    }
    if (!known)
        return q8_picture_fail(err, b->in, "unsupported BMP: %u bits, compression %u",
                               (unsigned)bits, (unsigned)b->compression);
    return Q8_OK;
}

static q8_code read_header(struct bmp *b, q8_err *err)
{
    const unsigned char *data = b->in->data;
    const size_t size = b->in->size;
    b->header = le32(data + FILE_HEADER);
    if (size < FILE_HEADER + (size_t)b->header)
        return truncated(b, err);
    b->pixels = le32(data + 10);
    if (b->header == CORE_HEADER) {
        b->width = le16(data + 18);
        b->height = le16(data + 20);
        b->bits = le16(data + 24);
    } else {
        b->width = (int32_t)le32(data + 18);
        b->height = (int32_t)le32(data + 22);
        b->bits = le16(data + 28);
        b->compression = le32(data + 30);
        b->colours = le32(data + 46);
    }
    b->top_down = b->height < 0;
    if (b->top_down)
        b->height = -b->height;
    if (b->pixels > size)
        return truncated(b, err);
    q8_code code = q8_picture_check_size(b->in, b->width, b->height, err);
    return code == Q8_OK ? check_kind(b, err) : code;
}

static q8_code read_palette(struct bmp *b, q8_err *err)
{
    const size_t start = FILE_HEADER + b->header;
    const size_t entry = b->header == CORE_HEADER ? 3 : 4;
    size_t count = b->colours ? b->colours : (size_t)1 << b->bits;
    if (count > 256)
        return q8_picture_fail(err, b->in, "damaged BMP: a palette of %zu colours", count);
    /* Some writers store fewer colours than they announce; indices beyond those are black. */
    const size_t room = b->pixels > start ? (b->pixels - start) / entry : 0;
    if (count > room)
        count = room;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *bgr = b->in->data + start + i * entry;
        for (int c = 0; c < 3; c++)
            b->palette[i][c] = bgr[2 - c];
    }
    return Q8_OK;
}

static bool set_field(struct field *f, uint32_t mask)
{
    if (mask == 0)
        return false;
    f->mask = mask;
    f->shift = __builtin_ctz(mask);
    f->max = mask >> f->shift;
    return (f->max & (f->max + 1)) == 0; /* no holes */
}

static q8_code read_fields(struct bmp *b, q8_err *err)
{
    static const uint32_t fields_16[] = {0x7c00, 0x03e0, 0x001f};
    static const uint32_t fields_32[] = {0xff0000, 0x00ff00, 0x0000ff};
    const size_t start = FILE_HEADER + INFO_HEADER; /* after or within the header: the same place */
    const bool stored = b->compression != RAW;
    if (stored && b->in->size < start + 12)
        return truncated(b, err);
    for (size_t c = 0; c < 3; c++) {
        const uint32_t usual = b->bits == 16 ? fields_16[c] : fields_32[c];
        if (!set_field(&b->field[c], stored ? le32(b->in->data + start + 4 * c) : usual))
            return q8_picture_fail(err, b->in, "damaged BMP: bit masks");
    }
    return Q8_OK;
}

/** To 8 bits as OpenCV does it: 16-bit pixels by a shift (31 is 248), others by proportion. */
static unsigned char field_value(const struct bmp *b, const struct field *f, uint32_t pixel)
{
    uint32_t value = (pixel & f->mask) >> f->shift;
    if (b->bits == 16 && f->max < 255) {
        for (uint32_t max = f->max; max < 255; max = max << 1 | 1)
            value <<= 1;
        return (unsigned char)value;
    }
    return (unsigned char)((uint64_t)value * 255 / f->max);
}

/** Palette index `i` of a row or run. */
static unsigned index_at(const unsigned char *p, uint32_t bits, size_t i)
{
    const size_t bit = i * bits;
    return p[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1);
}

static void unpack_row(const struct bmp *b, const unsigned char *row, unsigned char *rgb)
{
    for (size_t x = 0; x < (size_t)b->width; x++, rgb += 3) {
        if (b->bits <= 8) {
            memcpy(rgb, b->palette[index_at(row, b->bits, x)], 3);
        } else if (b->bits == 24) {
            for (size_t c = 0; c < 3; c++)
                rgb[c] = row[x * 3 + 2 - c];
        } else {
            const uint32_t pixel = b->bits == 16 ? le16(row + x * 2) : le32(row + x * 4);
            for (int c = 0; c < 3; c++)
                rgb[c] = field_value(b, &b->field[c], pixel);
        }
    }
}

/** Pixels of row `y` as stored. */
static unsigned char *row_of(const struct bmp *b, const q8_picture *picture, long long y)
{
    const size_t row = (size_t)(b->top_down ? y : b->height - 1 - y);
    return picture->rgb + row * (size_t)b->width * 3;
}

static q8_code decode_raw(const struct bmp *b, q8_picture *picture, q8_err *err)
{
    const size_t stride = ((size_t)b->width * b->bits + 31) / 32 * 4;
    if ((b->in->size - b->pixels) / stride < (size_t)b->height)
        return truncated(b, err);
    q8_code code = q8_picture_alloc(picture, b->in, b->width, b->height, err);
    if (code != Q8_OK)
        return code;
    for (long long y = 0; y < b->height; y++)
        unpack_row(b, b->in->data + b->pixels + (size_t)y * stride, row_of(b, picture, y));
    return Q8_OK;
}

/** Where a run-length decoder stands. */
struct rle {
    const struct bmp *b;
    q8_picture *picture;
    const unsigned char *at, *end;
    long long x, y;
};

/** @return the next `count` bytes, NULL if there are not so many */
static const unsigned char *take(struct rle *r, size_t count)
{
    const unsigned char *bytes = r->at;
    if ((size_t)(r->end - r->at) < count)
        return NULL;
    r->at += count;
    return bytes;
}

/** Draws `count` pixels: indices in a row, or the indices of one byte again and again. */
static q8_code put(struct rle *r, const unsigned char *indices, unsigned count, bool repeat,
                   q8_err *err)
{
    const struct bmp *b = r->b;
    if (count > b->width - r->x)
        return q8_picture_fail(err, b->in, "damaged BMP: a run past the end of row %lld", r->y + 1);
    unsigned char *rgb = row_of(b, r->picture, r->y) + r->x * 3;
    for (unsigned i = 0; i < count; i++, rgb += 3) {
        const unsigned at = repeat ? i % (8 / b->bits) : i;
        memcpy(rgb, b->palette[index_at(indices, b->bits, at)], 3);
    }
    r->x += count;
    return Q8_OK;
}

/** A zero byte and `code`: end of row, end of picture, move, or `code` pixels one by one. */
static q8_code escape(struct rle *r, unsigned code, q8_err *err)
{
    const unsigned char *bytes;
    switch (code) {
    case 0:
        r->x = 0;
        r->y++;
        return Q8_OK;
    case 1:
        r->y = r->b->height;
        return Q8_OK;
    case 2:
        bytes = take(r, 2);
        if (!bytes)
            return truncated(r->b, err);
        r->x += bytes[0];
        r->y += bytes[1];
        return Q8_OK;
    default: /* padded to 16 bits */
        bytes = take(r, ((size_t)code * r->b->bits + 15) / 16 * 2);
        return bytes ? put(r, bytes, code, false, err) : truncated(r->b, err);
    }
}

static q8_code decode_rle(const struct bmp *b, q8_picture *picture, q8_err *err)
{
    struct rle r = {.b = b, .picture = picture};
    r.at = b->in->data + b->pixels;
    r.end = b->in->data + b->in->size;
    /* A pair of bytes holds at most 255 pixels; far fewer bytes than that is no picture, and memory
     * for it is not taken. */
    if ((size_t)b->width * (size_t)b->height / 256 > b->in->size)
        return truncated(b, err);
    q8_code code = q8_picture_alloc(picture, b->in, b->width, b->height, err);
    if (code != Q8_OK)
        return code;
    /* What the runs leave out is colour 0. */
    for (size_t i = 0; i < (size_t)b->width * (size_t)b->height; i++)
        memcpy(picture->rgb + 3 * i, b->palette[0], 3);
    while (code == Q8_OK && r.y < b->height) {
        const unsigned char *pair = take(&r, 2);
        if (!pair) /* the end marker may be missing once the last pixel is there */
            return r.y == b->height - 1 && r.x == b->width ? Q8_OK : truncated(b, err);
        code = pair[0] ? put(&r, pair + 1, pair[0], true, err) : escape(&r, pair[1], err);
    }
    return code;
}

static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    struct bmp b = {.in = in};
    q8_code code = read_header(&b, err);
    if (code == Q8_OK && b.bits <= 8)
        code = read_palette(&b, err);
    else if (code == Q8_OK && b.bits != 24)
        code = read_fields(&b, err);
    if (code != Q8_OK)
        return code;
    if (b.compression == RLE4 || b.compression == RLE8)
        return decode_rle(&b, picture, err);
    return decode_raw(&b, picture, err);
}

static bool probe(const unsigned char *data, size_t size)
{
    return size >= FILE_HEADER + 4 && data[0] == 'B' && data[1] == 'M' &&
           is_header_size(le32(data + FILE_HEADER));
}

static const char *const extensions[] = {"bmp", NULL};

const q8_decoder q8_decode_bmp = {"BMP", extensions, probe, decode, NULL};
