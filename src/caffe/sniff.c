#include "caffe/sniff.h"

#include <string.h>
#include <strings.h>

static const struct signature {
    const char *bytes;
    const char *what;
} signatures[] = {
    {"version https://git-lfs", "a git-lfs pointer (`git lfs pull` gets the file itself)"},
    {"\x89HDF\r\n\x1a\n", "an HDF5 file"},
    {"PK\x03\x04", "a zip archive"},
    {"\x1f\x8b", "a gzip archive"},
    {"7767517\n", "an ncnn .param file"},
};

static bool starts_with_word(const unsigned char *data, size_t size, const char *word)
{
    const size_t length = strlen(word);
    return size >= length && strncasecmp((const char *)data, word, length) == 0;
}

const char *q8_sniff(const unsigned char *data, size_t size)
{
    if (size == 0)
        return "an empty file";
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        const size_t length = strlen(signatures[i].bytes);
        if (size >= length && memcmp(data, signatures[i].bytes, length) == 0)
            return signatures[i].what;
    }
    while (size && strchr(" \t\r\n", *data) && *data) {
        data++;
        size--;
    }
    if (starts_with_word(data, size, "<!doctype html") || starts_with_word(data, size, "<html"))
        return "an HTML page (a download that failed?)";
    return NULL;
}

bool q8_sniff_is_text(const unsigned char *data, size_t size)
{
    const size_t looked_at = size < 512 ? size : 512;
    /* Comments may be in any encoding, but a file does not begin amid one. */
    if (size == 0 || data[0] >= 0x80)
        return false;
    for (size_t i = 0; i < looked_at; i++)
        if (data[i] < ' ' && (data[i] == 0 || !strchr("\t\r\n\v\f", data[i])))
            return false;
    return true;
}
