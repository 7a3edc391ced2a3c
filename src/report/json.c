#include "report/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

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

static void add_string(q8_json *json, const char *text)
{
    const char *s = text;
    add(json, "\"");
    while (*s) {
        const size_t length = q8_utf8_length(s);
        if (length == 0)
            add(json, "\\ufffd");
        else if (*s == '"' || *s == '\\')
            q8_buf_printf(json->buf, "\\%c", *s);
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            q8_buf_printf(json->buf, "\\u%04x", (unsigned)*s);
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
