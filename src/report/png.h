/** Pixels to a PNG file in memory. */
#ifndef Q8_REPORT_PNG_H
#define Q8_REPORT_PNG_H

#include "base/buf.h"
#include "base/err.h"

/** @param pixels rows of RGB, or of gray values */
q8_code q8_png_write(q8_buf *buf, const unsigned char *pixels, int width, int height, bool gray,
                     q8_err *err);

#endif
