#include "report/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void add(q8_json *json, const char *text)
{
    q8_buf_add(json->buf, text, strlen(text));
}

static bool on_one_line(const q8_json *json)
{
    return json->line_depth > 0 && json->depth >= json->line_depth;
}

static void new_line(q8_json *json)
{
    q8_buf_printf(json->buf, "\n%*s", 2 * json->depth, "");
}

/* --- strings ---------------------------------------------------------------------------------- */

/* Length of the well-formed UTF-8 sequence at `s`, 0 when there is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (s[0] < forms[i].first_low || s[0] > forms[i].first_high)
            continue;
        if (forms[i].length == 1)
            return 1;
        if (s[1] < forms[i].second_low || s[1] > forms[i].second_high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static void add_string(q8_json *json, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    add(json, "\"");
    while (*s) {
        const size_t length = utf8_length(s);
        if (length == 0)
            add(json, "\\ufffd");
        else if (*s == '"' || *s == '\\')
            q8_buf_printf(json->buf, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            q8_buf_printf(json->buf, "\\u%04x", *s);
        else
            q8_buf_add(json->buf, s, length);
        s += length ? length : 1;
    }
    add(json, "\"");
}

/* --- values ----------------------------------------------------------------------------------- */

/* All that comes before a value. */
static void begin(q8_json *json, const char *key)
{
    if (json->follows)
        add(json, ",");
    if (on_one_line(json))
        add(json, json->follows ? " " : "");
    else if (json->depth > 0)
        new_line(json);
    if (key) {
        add_string(json, key);
        add(json, ": ");
    }
    json->follows = true;
}

void q8_json_open(q8_json *json, const char *key, char bracket)
{
    begin(json, key);
    q8_buf_printf(json->buf, "%c", bracket);
    json->depth++;
    json->follows = false;
}

void q8_json_open_line(q8_json *json, const char *key, char bracket)
{
    q8_json_open(json, key, bracket);
    if (!on_one_line(json))
        json->line_depth = json->depth;
}

void q8_json_close(q8_json *json, char bracket)
{
    const bool line = on_one_line(json);
    if (json->line_depth == json->depth)
        json->line_depth = 0;
    json->depth--;
    if (!line && json->follows)
        new_line(json);
    q8_buf_printf(json->buf, "%c", bracket);
    json->follows = true;
    if (json->depth == 0)
        add(json, "\n");
}

void q8_json_text(q8_json *json, const char *key, const char *text)
{
    begin(json, key);
    add_string(json, text);
}

void q8_json_integer(q8_json *json, const char *key, uint64_t value)
{
    begin(json, key);
    q8_buf_printf(json->buf, "%" PRIu64, value);
}

void q8_json_float(q8_json *json, const char *key, float value)
{
    char text[32];
    begin(json, key);
    if (!isfinite(value)) {
        add(json, "null");
        return;
    }
    snprintf(text, sizeof(text), "%.9g", (double)value);
    char *comma = strchr(text, ','); /* the decimal point of some locales */
    if (comma)
        *comma = '.';
    add(json, text);
}

void q8_json_bool(q8_json *json, const char *key, bool value)
{
    begin(json, key);
    add(json, value ? "true" : "false");
}
