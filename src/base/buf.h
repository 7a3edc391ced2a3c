/** A growing byte buffer; an allocation failure is remembered, so one check at the end is enough.
 */
#ifndef Q8_BASE_BUF_H
#define Q8_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

typedef struct q8_buf {
    unsigned char *data; /**< from malloc(); always followed by a 0 byte once something was added */
    size_t size, capacity;
    bool failed;
} q8_buf;

void q8_buf_add(q8_buf *buf, const void *data, size_t size);
void q8_buf_printf(q8_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Adds zero bytes until the size is a multiple of `align`. */
void q8_buf_pad(q8_buf *buf, size_t align);
void q8_buf_free(q8_buf *buf);

#endif
