#include "base/pack.h"

#include <string.h>

enum { LENGTH_SIZE = 4 };

void q8_pack_uint(q8_buf *to, uint64_t x, int size)
{
    unsigned char bytes[8];
    for (int i = 0; i < size; i++)
        bytes[i] = (unsigned char)(x >> (8 * i));
    q8_buf_add(to, bytes, (size_t)size);
}

void q8_pack_float(q8_buf *to, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    q8_pack_uint(to, bits, sizeof(bits));
}

void q8_pack_text(q8_buf *to, const char *text)
{
    const size_t length = strlen(text);
    if (length > UINT32_MAX)
        to->failed = true;
    q8_pack_uint(to, length, LENGTH_SIZE);
    q8_buf_add(to, text, length + 1);
}

const void *q8_unpack_bytes(q8_unpacker *from, size_t size)
{
    from->failed = from->failed || size > from->left;
    if (from->failed)
        return NULL;
    const unsigned char *bytes = from->at;
    from->at += size;
    from->left -= size;
    return bytes;
}

uint64_t q8_unpack_uint(q8_unpacker *from, int size)
{
    const unsigned char *bytes = q8_unpack_bytes(from, (size_t)size);
    uint64_t x = 0;
    for (int i = 0; bytes && i < size; i++)
        x |= (uint64_t)bytes[i] << (8 * i);
    return x;
}

float q8_unpack_float(q8_unpacker *from)
{
    const uint32_t bits = (uint32_t)q8_unpack_uint(from, sizeof(bits));
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

const char *q8_unpack_text(q8_unpacker *from)
{
    const size_t length = (size_t)q8_unpack_uint(from, LENGTH_SIZE);
    const char *text = q8_unpack_bytes(from, length + 1);
    if (!text || strnlen(text, length + 1) != length) {
        from->failed = true;
        return "";
    }
    return text;
}
