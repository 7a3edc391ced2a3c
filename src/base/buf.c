#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

/* Makes room for `more` bytes and the 0 byte behind them. */
static bool reserve(q8_buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    size_t need;
    if (__builtin_add_overflow(buf->size, more, &need) || need == SIZE_MAX) {
        buf->failed = true;
        return false;
    }
    need++;
    if (need <= buf->capacity)
        return true;
    size_t capacity = buf->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : buf->capacity;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    unsigned char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void q8_buf_add(q8_buf *buf, const void *data, size_t size)
{
    if (!reserve(buf, size))
        return;
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = 0;
}

void q8_buf_printf(q8_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)length)) {
        vsnprintf((char *)buf->data + buf->size, (size_t)length + 1, fmt, again);
        buf->size += (size_t)length;
    }
    va_end(again);
}

void q8_buf_pad(q8_buf *buf, size_t align)
{
    const size_t over = align ? buf->size % align : 0;
    if (!over || !reserve(buf, align - over))
        return;
    memset(buf->data + buf->size, 0, align - over + 1);
    buf->size += align - over;
}

void q8_buf_free(q8_buf *buf)
{
    free(buf->data);
    *buf = (q8_buf){0};
}
