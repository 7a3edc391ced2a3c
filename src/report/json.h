/** Writes JSON into a buffer: commas, indentation and escapes. */
#ifndef Q8_REPORT_JSON_H
#define Q8_REPORT_JSON_H

#include <stdint.h>

#include "base/buf.h"

/** Zero-initialise all but `buf`. Keys are NULL for elements of a list and for the outermost value.
 */
typedef struct q8_json {
    q8_buf *buf;
    int depth;
    int line_depth; /**< from here on everything stays on one line; 0: nowhere */
    bool follows;   /**< the next value needs a comma before it */
} q8_json;

/** Opens a value: '{' or '['. */
void q8_json_open(q8_json *json, const char *key, char bracket);
/** The same, with all that it holds on one line. */
void q8_json_open_line(q8_json *json, const char *key, char bracket);
/** '}' or ']' */
void q8_json_close(q8_json *json, char bracket);

/** Text of any bytes: what is no UTF-8 becomes U+FFFD. */
void q8_json_text(q8_json *json, const char *key, const char *text);
void q8_json_integer(q8_json *json, const char *key, uint64_t value);
/** As many digits as a float has; null when it is not finite. */
void q8_json_float(q8_json *json, const char *key, float value);
void q8_json_bool(q8_json *json, const char *key, bool value);

#endif
