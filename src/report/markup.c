#include "report/markup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void q8_markup_add(q8_buf *buf, const char *html)
{
    q8_buf_add(buf, html, strlen(html));
}

/* --- text ------------------------------------------------------------------------------------- */

/* Of a well-formed sequence. */
static unsigned code_point(const char *s, size_t length)
{
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned code = (unsigned char)s[0] & first_bits[length];
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)s[i] & 0x3f);
    return code;
}

/* Controls, separators of lines, marks that have no width or turn the direction of writing. */
static bool is_unseen(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c ||
           code == 0x180e || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
           code == 0xfeff || (code & 0xfffe) == 0xfffe || code >= 0xe0000;
}

static void add_unseen(q8_buf *buf, unsigned code)
{
    if (code == '\n' || code == '\t' || code == '\r')
        q8_buf_printf(buf, "\\%c", code == '\n' ? 'n' : code == '\t' ? 't' : 'r');
    else
        q8_buf_printf(buf, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void q8_markup_text(q8_buf *buf, const char *text)
{
    for (const char *s = text; *s;) {
        const size_t length = q8_utf8_length(s);
        const unsigned code = length ? code_point(s, length) : (unsigned char)*s;
        if (length == 0 || is_unseen(code))
            add_unseen(buf, code);
        else if (entity(*s))
            q8_markup_add(buf, entity(*s));
        else
            q8_buf_add(buf, s, length);
        s += length ? length : 1;
    }
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void add_number(q8_buf *buf, double x, const char *fmt, int digits)
{
    char text[400];
    if (!isfinite(x)) {
        q8_markup_add(buf, isnan(x) ? "–" : x > 0 ? "∞" : "−∞");
        return;
    }
    if (x < 0)
        q8_markup_add(buf, "−");
    snprintf(text, sizeof(text), fmt, digits, fabs(x));
    char *comma = strchr(text, ','); /* the decimal point of some locales */
    if (comma)
        *comma = '.';
    q8_markup_add(buf, text);
}

void q8_markup_number(q8_buf *buf, double x, int digits)
{
    add_number(buf, x, "%.*f", digits);
}

void q8_markup_short(q8_buf *buf, double x, int digits)
{
    add_number(buf, x, "%.*g", digits);
}

void q8_markup_count(q8_buf *buf, unsigned long long n)
{
    char text[32];
    const int length = snprintf(text, sizeof(text), "%llu", n);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            q8_markup_add(buf, "&#8239;");
        q8_buf_add(buf, &text[i], 1);
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

void q8_markup_base64(q8_buf *buf, const unsigned char *data, size_t size)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t n = size - i < 3 ? size - i : 3;
        const unsigned bits = (unsigned)data[i] << 16 | (n > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                              (n > 2 ? (unsigned)data[i + 2] : 0);
        const char out[4] = {digit[bits >> 18], digit[bits >> 12 & 63],
                             n > 1 ? digit[bits >> 6 & 63] : '=', n > 2 ? digit[bits & 63] : '='};
        q8_buf_add(buf, out, sizeof(out));
    }
}
