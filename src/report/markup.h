/** What HTML is made of: text of any bytes, numbers, pictures. */
#ifndef Q8_REPORT_MARKUP_H
#define Q8_REPORT_MARKUP_H

#include "base/buf.h"

/** As it is. */
void q8_markup_add(q8_buf *buf, const char *html);
/**
 * Text of any bytes, to stand in an element or a quoted attribute. What is invisible or turns the
 * direction of writing is shown as an escape: \n, \x1b, \u202e; what is no UTF-8 as \xff.
 */
void q8_markup_text(q8_buf *buf, const char *text);
/** printf's %.*f with a point whatever the locale; a dash where the number does not exist, and the
 * sign for infinity. */
void q8_markup_number(q8_buf *buf, double x, int digits);
/** So many significant digits, for numbers of any size. */
void q8_markup_short(q8_buf *buf, double x, int digits);
/** "1,234,567" with thin spaces for commas. */
void q8_markup_count(q8_buf *buf, unsigned long long n);

void q8_markup_base64(q8_buf *buf, const unsigned char *data, size_t size);

#endif
