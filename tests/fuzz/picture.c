/*
 * A picture through its decoder, by content, and then to an input of 6 x 5, in every way. There is
 * a target for each format: decoders are not of one speed, and their libraries carry no counters
 * for libFuzzer, so together the formats that our own code decodes would get most of the time.
 */
#include <stdlib.h>
#include <string.h>

#include "calib/preprocess.h"
#include "fuzz.h"

static void make_inputs(const q8_picture *picture, q8_err *err)
{
    const q8_shape shape = {3, {3, 6, 5}};
    q8_picture resized = {0}; /* taken again, as calibration does */
    for (int resize = Q8_RESIZE_STRETCH; resize <= Q8_RESIZE_LETTERBOX; resize++) {
        const q8_preprocess pre = {.resize = resize};
        float input[3 * 6 * 5];
        q8_prep prep;
        fuzz_must(q8_prep_open(&prep, &pre, NULL, &shape, NULL, NULL, err), err, "preprocessing");
        fuzz_must(q8_prep_picture(&prep, picture, &resized, input, err), err, "resize");
    }
    q8_picture_free(&resized);
}

/* Calibration decodes each picture where the one before was: nothing of that may stay. */
static void must_not_show_memory(const q8_picture *first, const uint8_t *data, size_t size,
                                 q8_err *err)
{
    const size_t bytes = (size_t)first->width * (size_t)first->height * 3;
    q8_picture again = {.rgb = malloc(bytes), .room = bytes};
    if (!again.rgb)
        abort();
    memset(again.rgb, 0x5a, bytes);
    fuzz_must(q8_picture_decode(&again, "picture", data, size, err), err, "decoding again");
    if (again.width != first->width || again.height != first->height ||
        memcmp(again.rgb, first->rgb, bytes) != 0)
        abort();
    q8_picture_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static q8_err err;
    q8_picture picture = {0};
    memset(&err, 0, sizeof(err));
    const q8_code code = q8_picture_decode(&picture, "picture", data, size, &err);
    fuzz_check(code, &err);
    if (!code) {
        must_not_show_memory(&picture, data, size, &err);
        make_inputs(&picture, &err);
    } else if (picture.rgb)
        abort();
    q8_picture_free(&picture);
    return 0;
}

#ifdef Q8_FUZZER
static uint32_t crc_of(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0 - (crc & 1)));
    }
    return ~crc;
}

/* A PNG's chunks carry checksums, which no mutation hits: put them right. */
static void fix_png(uint8_t *data, size_t size)
{
    for (size_t at = 8; size >= 12 && at <= size - 12;) {
        const uint8_t *p = data + at;
        const size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > size - at - 12)
            return;
        const uint32_t crc = crc_of(p + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

/* Run lengths let a short BMP be of any size, which only takes longer: at most 511 pixels a side.
 */
static void shrink_bmp(uint8_t *data, size_t size)
{
    enum { WIDTH = 18, HEIGHT = 22 };
    if (size < HEIGHT + 4)
        return;
    const bool top_down = data[HEIGHT + 3] & 0x80;
    for (int i = 1; i < 4; i++) {
        data[WIDTH + i] &= i == 1;
        data[HEIGHT + i] = (uint8_t)(top_down ? 0xff : data[HEIGHT + i] & (i == 1));
    }
}

/* Most mutants are to be pictures of the target's format. */
static void fix_magic(uint8_t *data, size_t size)
{
    static const struct {
        const char *target, *magic;
        size_t at, size;
    } formats[] = {
        {"picture_jpeg", "\xff\xd8\xff", 0, 3},
        {"picture_png", "\x89PNG\r\n\x1a\n", 0, 8},
        {"picture_webp", "RIFF", 0, 4},
        {"picture_webp", "WEBP", 8, 4},
        {"picture_bmp", "BM", 0, 2},
        {"picture_pnm", "P", 0, 1},
    };
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].target, Q8_FUZZ_TARGET) == 0 &&
            size >= formats[i].at + formats[i].size)
            memcpy(data + formats[i].at, formats[i].magic, formats[i].size);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 16)
        fix_magic(data, size);
    if (seed % 64 && size > 2 && memcmp(data, "BM", 2) == 0)
        shrink_bmp(data, size);
    if (seed % 16 && size > 8 && memcmp(data, "\x89PNG", 4) == 0)
        fix_png(data, size);
    return size;
}
#endif
