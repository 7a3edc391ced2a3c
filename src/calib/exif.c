#include "calib/exif.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    HEADER = 8, /* byte order, 42, where the first directory is */
    ENTRY = 12, /* tag, type, count, value */
    TAG_ORIENTATION = 0x0112,
    TYPE_SHORT = 3,
};

struct tiff {
    const unsigned char *data;
    size_t size;
    bool big_endian;
};

/** The number of `bytes` bytes at a place that is inside. */
static uint32_t number_at(const struct tiff *t, size_t at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)t->data[at + (size_t)i] << 8 * (t->big_endian ? bytes - 1 - i : i);
    return value;
}

static bool open_tiff(struct tiff *t, const unsigned char *data, size_t size)
{
    if (size >= 6 && memcmp(data, "Exif\0\0", 6) == 0) {
        data += 6;
        size -= 6;
    }
    if (size < HEADER || (memcmp(data, "II", 2) != 0 && memcmp(data, "MM", 2) != 0))
        return false;
    *t = (struct tiff){data, size, data[0] == 'M'};
    return number_at(t, 2, 2) == 42;
}

int q8_exif_orientation(const unsigned char *exif, size_t size)
{
    struct tiff t;
    if (!open_tiff(&t, exif, size))
        return 1;
    const size_t directory = number_at(&t, 4, 4);
    if (directory > t.size - 2)
        return 1;
    const size_t entries = number_at(&t, directory, 2);
    for (size_t i = 0, at = directory + 2; i < entries && t.size - at >= ENTRY; i++, at += ENTRY) {
        if (number_at(&t, at, 2) != TAG_ORIENTATION)
            continue;
        const uint32_t value = number_at(&t, at + 8, 2);
        const bool valid = number_at(&t, at + 2, 2) == TYPE_SHORT && value >= 1 && value <= 8;
        return valid ? (int)value : 1;
    }
    return 1;
}
