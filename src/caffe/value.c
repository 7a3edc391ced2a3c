#include "caffe/value.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBER = 128 }; /* digits; every double fits */

size_t q8_value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4; /* 32-bit integers, float, bool and enum */
    }
}

/* "'pad' takes a whole number, not '1.5'" */
static q8_code not_that(q8_lexer *lx, const ProtobufCFieldDescriptor *f, const q8_token *token,
                        const char *wanted)
{
    char text[64];
    return q8_fail(lx->err, Q8_EFORMAT, &token->loc, NULL, "'%s' takes %s, not %s", f->name, wanted,
                   q8_token_text(token, text));
}

/* --- integers --------------------------------------------------------------------------------- */

/* Decimal, 0x hexadecimal or 0 octal. False when it is no integer or needs more than 64 bits. */
static bool parse_unsigned(const q8_token *token, uint64_t *value)
{
    const char *p = token->text, *end = p + token->size;
    unsigned base = 10;
    if (token->size > 2 && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    } else if (token->size > 1 && p[0] == '0') {
        base = 8;
        p++;
    }
    *value = 0;
    for (; p < end; p++) {
        unsigned digit = 99;
        if (*p >= '0' && *p <= '9')
            digit = (unsigned)(*p - '0');
        else if (base == 16) /* the lexer let only hex digits through */
            digit = (unsigned)((*p | 0x20) - 'a') + 10;
        if (digit >= base || __builtin_mul_overflow(*value, base, value) ||
            __builtin_add_overflow(*value, digit, value))
            return false;
    }
    return true;
}

/* Or an exponent, or an f behind it: what makes a number a float. */
static bool has_fraction(const q8_token *token)
{
    if (token->size > 1 && (token->text[1] | 0x20) == 'x')
        return false;
    for (size_t i = 0; i < token->size; i++)
        if (strchr(".eEfF", token->text[i]))
            return true;
    return false;
}

/* An integer of lowest <= value <= highest, in two's complement. */
static q8_code read_integer(q8_lexer *lx, const ProtobufCFieldDescriptor *f, int64_t lowest,
                            uint64_t highest, uint64_t *value)
{
    const q8_token first = lx->token;
    const bool negative = q8_lex_is(lx, '-');
    if (negative && q8_lex_next(lx) != Q8_OK)
        return Q8_EFORMAT;
    uint64_t magnitude = 0;
    const bool in_range = lx->token.kind == Q8_TOKEN_NUMBER &&
                          parse_unsigned(&lx->token, &magnitude) &&
                          magnitude <= (negative ? 0 - (uint64_t)lowest : highest);
    if (!in_range) {
        char wanted[96] = "a whole number";
        if (lowest == 0 && negative)
            snprintf(wanted, sizeof(wanted), "a whole number of at least 0");
        else if (lx->token.kind == Q8_TOKEN_NUMBER && !has_fraction(&lx->token))
            snprintf(wanted, sizeof(wanted), "a whole number from %lld to %llu", (long long)lowest,
                     (unsigned long long)highest);
        /* Sign and number together, where they stand together. */
        q8_token shown = lx->token;
        if (negative && lx->token.text == first.text + 1) {
            shown.text--;
            shown.size++;
        }
        shown.loc = first.loc;
        return not_that(lx, f, &shown, wanted);
    }
    *value = negative ? 0 - magnitude : magnitude;
    return q8_lex_next(lx);
}

/* --- floats ----------------------------------------------------------------------------------- */

/* As protobuf has it, a whole number in another base is no float. */
static bool is_octal_or_hex(const q8_token *token)
{
    return token->size > 1 && token->text[0] == '0' && !has_fraction(token);
}

/* strtod() with a '.' whatever the program's locale. False: not a decimal number. */
static bool parse_decimal(const q8_token *token, double *value)
{
    char text[MAX_NUMBER + 8];
    const char *point = localeconv()->decimal_point;
    size_t size = token->size;
    if (is_octal_or_hex(token))
        return false;
    if (size > MAX_NUMBER || strlen(point) > 4)
        return false;
    if ((token->text[size - 1] | 0x20) == 'f')
        size--;
    const char *dot = memchr(token->text, '.', size);
    if (dot)
        snprintf(text, sizeof(text), "%.*s%s%.*s", (int)(dot - token->text), token->text, point,
                 (int)(token->text + size - dot - 1), dot + 1);
    else
        snprintf(text, sizeof(text), "%.*s", (int)size, token->text);
    *value = strtod(text, NULL);
    return true;
}

static bool word_is(const q8_token *token, const char *word)
{
    if (token->kind != Q8_TOKEN_NAME || token->size != strlen(word))
        return false;
    for (size_t i = 0; i < token->size; i++)
        if ((token->text[i] | 0x20) != word[i])
            return false;
    return true;
}

static q8_code read_real(q8_lexer *lx, const ProtobufCFieldDescriptor *f, double *value)
{
    const bool negative = q8_lex_is(lx, '-');
    if (negative && q8_lex_next(lx) != Q8_OK)
        return Q8_EFORMAT;
    if (word_is(&lx->token, "inf") || word_is(&lx->token, "infinity"))
        *value = INFINITY;
    else if (word_is(&lx->token, "nan"))
        *value = NAN;
    else if (lx->token.kind != Q8_TOKEN_NUMBER || !parse_decimal(&lx->token, value))
        return not_that(lx, f, &lx->token, "a decimal number");
    if (negative)
        *value = -*value;
    return q8_lex_next(lx);
}

/* A double beyond float's range becomes infinite, as protobuf has it; C leaves that undefined. */
static float to_float(double value)
{
    if (fabs(value) > FLT_MAX)
        return value > 0 ? INFINITY : -INFINITY;
    return (float)value;
}

/* --- words ------------------------------------------------------------------------------------ */

static q8_code read_bool(q8_lexer *lx, const ProtobufCFieldDescriptor *f, protobuf_c_boolean *value)
{
    const q8_token *token = &lx->token;
    uint64_t number = 2;
    if (token->kind == Q8_TOKEN_NUMBER && !parse_unsigned(token, &number))
        number = 2;
    if (number == 1 || word_is(token, "true") || word_is(token, "t"))
        *value = 1;
    else if (number == 0 || word_is(token, "false") || word_is(token, "f"))
        *value = 0;
    else
        return not_that(lx, f, token, "true or false");
    return q8_lex_next(lx);
}

static q8_code no_such_name(q8_lexer *lx, const ProtobufCFieldDescriptor *f, const q8_token *token)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;
    char wanted[1024];
    size_t used = (size_t)snprintf(wanted, sizeof(wanted), "one of ");
    for (unsigned i = 0; i < e->n_values && used < sizeof(wanted); i++)
        used += (size_t)snprintf(wanted + used, sizeof(wanted) - used, "%s%s", i ? ", " : "",
                                 e->values[i].name);
    return not_that(lx, f, token, wanted);
}

static q8_code read_enum(q8_lexer *lx, const ProtobufCFieldDescriptor *f, int32_t *value)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;
    const q8_token token = lx->token;
    const ProtobufCEnumValue *found = NULL;
    if (token.kind == Q8_TOKEN_NAME) {
        for (unsigned i = 0; i < e->n_values && !found; i++)
            if (strlen(e->values[i].name) == token.size &&
                memcmp(e->values[i].name, token.text, token.size) == 0)
                found = &e->values[i];
    } else if (token.kind == Q8_TOKEN_NUMBER) {
        uint64_t number;
        if (parse_unsigned(&token, &number) && number <= INT32_MAX)
            found = protobuf_c_enum_descriptor_get_value(e, (int)number);
    }
    if (!found)
        return no_such_name(lx, f, &token);
    *value = found->value;
    return q8_lex_next(lx);
}

bool q8_value_is_bare(const q8_lexer *lexer, const ProtobufCFieldDescriptor *field)
{
    const q8_token_kind kind = lexer->token.kind;
    return field->type == PROTOBUF_C_TYPE_STRING &&
           (kind == Q8_TOKEN_NAME || kind == Q8_TOKEN_NUMBER);
}

/* --- strings ---------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Up to `limit` digits in base 8 or 16 at *p. @return how many there were */
static int read_digits(const char **p, int limit, int base, uint32_t *value)
{
    int n = 0;
    *value = 0;
    for (; n < limit; n++, (*p)++) {
        const int digit = hex_value(**p); /* the closing quote ends it at the latest */
        if (digit < 0 || digit >= base)
            break;
        *value = *value * (uint32_t)base + (uint32_t)digit;
    }
    return n;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | (code >> 6));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | (code >> 12));
        *out++ = (char)(0x80 | ((code >> 6) & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | (code >> 18));
        *out++ = (char)(0x80 | ((code >> 12) & 0x3f));
        *out++ = (char)(0x80 | ((code >> 6) & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* What follows a backslash at *p; never longer decoded than written. NULL: no such escape. */
static char *put_escape(char *out, const char **p)
{
    static const char letters[] = "abfnrtv\\?'\"", bytes[] = "\a\b\f\n\r\t\v\\?'\"";
    const char c = *(*p)++;
    const char *letter = c ? strchr(letters, c) : NULL;
    uint32_t value;
    if (letter) {
        *out++ = bytes[letter - letters];
        return out;
    }
    switch (c) {
    case 'x':
    case 'X':
        if (read_digits(p, 2, 16, &value) == 0)
            return NULL;
        break;
    case 'u':
    case 'U': {
        const int digits = c == 'u' ? 4 : 8;
        if (read_digits(p, digits, 16, &value) != digits || value == 0 || value > 0x10ffff)
            return NULL;
        return put_utf8(out, value);
    }
    default:
        (*p)--;
        if (read_digits(p, 3, 8, &value) == 0)
            return NULL;
    }
    *out++ = (char)value;
    return out;
}

/* Decodes one quoted piece. NULL: a bad escape. */
static char *put_piece(char *out, const q8_token *token)
{
    const char *p = token->text + 1, *end = token->text + token->size - 1;
    while (p < end) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        p++;
        out = put_escape(out, &p);
        if (!out)
            return NULL;
    }
    return out;
}

/* A word or number where the quotes were forgotten. */
static q8_code read_bare(q8_lexer *lx, ProtobufCBinaryData *value, q8_arena *arena)
{
    const q8_token *token = &lx->token;
    char *text = q8_arena_alloc(arena, token->size + 1);
    if (!text)
        return q8_fail_nomem(lx->err);
    memcpy(text, token->text, token->size);
    *value = (ProtobufCBinaryData){.len = token->size, .data = (uint8_t *)text};
    return q8_lex_next(lx);
}

/* Adjacent strings are one. */
static q8_code read_string(q8_lexer *lx, const ProtobufCFieldDescriptor *f,
                           ProtobufCBinaryData *value, q8_arena *arena)
{
    if (q8_value_is_bare(lx, f))
        return read_bare(lx, value, arena);
    if (lx->token.kind != Q8_TOKEN_STRING)
        return not_that(lx, f, &lx->token, "a string in quotes");
    size_t room = 1;
    q8_code code = Q8_OK;
    for (q8_lexer ahead = *lx; ahead.token.kind == Q8_TOKEN_STRING; code = q8_lex_next(&ahead)) {
        if (code)
            return code;
        room += ahead.token.size;
    }
    char *text = q8_arena_alloc(arena, room), *out = text;
    if (!text)
        return q8_fail_nomem(lx->err);
    while (lx->token.kind == Q8_TOKEN_STRING) {
        out = put_piece(out, &lx->token);
        if (!out)
            return q8_fail(lx->err, Q8_EFORMAT, &lx->token.loc, NULL,
                           "a bad \\ escape in a string");
        code = q8_lex_next(lx);
        if (code)
            return code;
    }
    *out = 0;
    *value = (ProtobufCBinaryData){.len = (size_t)(out - text), .data = (uint8_t *)text};
    return Q8_OK;
}

static q8_code read_text(q8_lexer *lx, const ProtobufCFieldDescriptor *f, char **value,
                         q8_arena *arena)
{
    const q8_loc loc = lx->token.loc;
    ProtobufCBinaryData bytes;
    const q8_code code = read_string(lx, f, &bytes, arena);
    if (code)
        return code;
    if (memchr(bytes.data, 0, bytes.len))
        return q8_fail(lx->err, Q8_EFORMAT, &loc, NULL, "a zero byte in '%s'", f->name);
    *value = (char *)bytes.data;
    return Q8_OK;
}

/* ---------------------------------------------------------------------------------------------- */

q8_code q8_value_read(q8_lexer *lx, const ProtobufCFieldDescriptor *f, void *dest, q8_arena *arena)
{
    uint64_t integer = 0;
    double real = 0;
    q8_code code;
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: {
        const bool is_unsigned =
            f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_FIXED32;
        code = read_integer(lx, f, is_unsigned ? 0 : INT32_MIN,
                            is_unsigned ? UINT32_MAX : INT32_MAX, &integer);
        *(uint32_t *)dest = (uint32_t)integer;
        return code;
    }
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        code = read_integer(lx, f, INT64_MIN, INT64_MAX, &integer);
        *(uint64_t *)dest = integer;
        return code;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_integer(lx, f, 0, UINT64_MAX, dest);
    case PROTOBUF_C_TYPE_FLOAT:
        code = read_real(lx, f, &real);
        *(float *)dest = to_float(real);
        return code;
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_real(lx, f, dest);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(lx, f, dest);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(lx, f, dest);
    case PROTOBUF_C_TYPE_STRING:
        return read_text(lx, f, dest, arena);
    case PROTOBUF_C_TYPE_BYTES:
        return read_string(lx, f, dest, arena);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return q8_fail(lx->err, Q8_EINTERNAL, &lx->token.loc, NULL, "'%s' is not a scalar", f->name);
}
