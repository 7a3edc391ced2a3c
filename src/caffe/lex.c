#include "caffe/lex.h"

#include <stdio.h>
#include <string.h>

/* <ctype.h> asks the locale; the format does not. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c)
{
    return is_name_start(c) || is_digit(c);
}

static q8_loc here(const q8_lexer *lx)
{
    return (q8_loc){lx->file, lx->line, (int)(lx->at - lx->line_start) + 1};
}

static char peek(const q8_lexer *lx, size_t ahead)
{
    return ahead < (size_t)(lx->end - lx->at) ? lx->at[ahead] : 0;
}

static void newline(q8_lexer *lx)
{
    lx->at++;
    lx->line++;
    lx->line_start = lx->at;
}

static void skip_space(q8_lexer *lx)
{
    while (lx->at < lx->end) {
        if (*lx->at == '\n') {
            newline(lx);
        } else if (strchr(" \t\r\v\f", *lx->at)) {
            lx->at++;
        } else if (*lx->at == '#') {
            const char *eol = memchr(lx->at, '\n', (size_t)(lx->end - lx->at));
            lx->at = eol ? eol : lx->end;
        } else {
            return;
        }
    }
}

static q8_code lex_number(q8_lexer *lx)
{
    if (peek(lx, 0) == '0' && (peek(lx, 1) == 'x' || peek(lx, 1) == 'X')) {
        if (!is_hex_digit(peek(lx, 2)))
            return q8_fail(lx->err, Q8_EFORMAT, &lx->token.loc, NULL, "'0x' without hex digits");
        lx->at += 2;
        while (is_hex_digit(peek(lx, 0)))
            lx->at++;
        return Q8_OK;
    }
    while (is_digit(peek(lx, 0)))
        lx->at++;
    if (peek(lx, 0) == '.')
        lx->at++;
    while (is_digit(peek(lx, 0)))
        lx->at++;
    if (peek(lx, 0) == 'e' || peek(lx, 0) == 'E') {
        const size_t sign = peek(lx, 1) == '+' || peek(lx, 1) == '-';
        if (!is_digit(peek(lx, 1 + sign)))
            return q8_fail(lx->err, Q8_EFORMAT, &lx->token.loc, NULL,
                           "number with an exponent that has no digits");
        lx->at += 1 + sign;
        while (is_digit(peek(lx, 0)))
            lx->at++;
    }
    if ((peek(lx, 0) == 'f' || peek(lx, 0) == 'F') && !is_name(peek(lx, 1)))
        lx->at++;
    return Q8_OK;
}

/* Line breaks inside are taken, as protobuf's own reader does. */
static q8_code lex_string(q8_lexer *lx)
{
    const char quote = *lx->at++;
    while (lx->at < lx->end && *lx->at != quote) {
        if (*lx->at == '\\' && lx->at + 1 < lx->end)
            lx->at++;
        if (*lx->at == '\n')
            newline(lx);
        else
            lx->at++;
    }
    if (lx->at >= lx->end)
        return q8_fail(lx->err, Q8_EFORMAT, &lx->token.loc, NULL, "string without a closing %c",
                       quote);
    lx->at++;
    return Q8_OK;
}

q8_code q8_lex_next(q8_lexer *lx)
{
    skip_space(lx);
    q8_token *token = &lx->token;
    *token = (q8_token){Q8_TOKEN_END, lx->at, 0, here(lx)};
    if (lx->at >= lx->end)
        return Q8_OK;
    q8_code code = Q8_OK;
    const char c = *lx->at;
    if (is_name_start(c)) {
        token->kind = Q8_TOKEN_NAME;
        while (is_name(peek(lx, 0)))
            lx->at++;
    } else if (is_digit(c) || (c == '.' && is_digit(peek(lx, 1)))) {
        token->kind = Q8_TOKEN_NUMBER;
        code = lex_number(lx);
    } else if (c == '"' || c == '\'') {
        token->kind = Q8_TOKEN_STRING;
        code = lex_string(lx);
    } else if (c > ' ' && c < 0x7f) {
        token->kind = Q8_TOKEN_PUNCT;
        lx->at++;
    } else {
        code = q8_fail(lx->err, Q8_EFORMAT, &token->loc, NULL,
                       "byte 0x%02x outside a string or comment", (unsigned char)c);
    }
    token->size = (size_t)(lx->at - token->text);
    return code;
}

q8_code q8_lex_open(q8_lexer *lexer, const char *file, const char *text, size_t size, q8_err *err)
{
    *lexer = (q8_lexer){.at = text, .end = text + size, .file = file, .line = 1, .err = err};
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        lexer->at += 3;
    lexer->line_start = lexer->at;
    const char *zero = size ? memchr(text, 0, size) : NULL;
    if (zero) {
        q8_loc loc = {file, 1, 0};
        for (const char *p = text; p < zero; p++)
            loc.line += *p == '\n';
        return q8_fail(err, Q8_EFORMAT, &loc, NULL,
                       "a zero byte: not a text file (is this the caffemodel?)");
    }
    return q8_lex_next(lexer);
}

bool q8_lex_is(const q8_lexer *lexer, char c)
{
    return lexer->token.kind == Q8_TOKEN_PUNCT && *lexer->token.text == c;
}

const char *q8_token_text(const q8_token *token, char buf[64])
{
    enum { SHOWN = 40 };
    if (token->kind == Q8_TOKEN_END)
        return "the end of the file";
    const char *quote = token->kind == Q8_TOKEN_STRING ? "" : "'";
    const int size = token->size > SHOWN ? SHOWN : (int)token->size;
    snprintf(buf, 64, "%s%.*s%s%s", quote, size, token->text, token->size > SHOWN ? "..." : "",
             quote);
    for (char *p = buf; *p; p++) /* a string may hold line breaks and worse */
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    return buf;
}
