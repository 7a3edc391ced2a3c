/** Tokens of text-format protobuf. */
#ifndef Q8_CAFFE_LEX_H
#define Q8_CAFFE_LEX_H

#include "base/err.h"

typedef enum q8_token_kind {
    Q8_TOKEN_END,
    Q8_TOKEN_NAME,   /**< letters, digits, '_' */
    Q8_TOKEN_NUMBER, /**< without a sign */
    Q8_TOKEN_STRING, /**< as written, quotes and escapes included */
    Q8_TOKEN_PUNCT,  /**< one character */
} q8_token_kind;

typedef struct q8_token {
    q8_token_kind kind;
    const char *text; /**< borrowed from the file, not terminated */
    size_t size;
    q8_loc loc;
} q8_token;

/** Copying one is the way to look ahead. */
typedef struct q8_lexer {
    const char *at, *end, *line_start;
    const char *file;
    int line;
    q8_err *err;
    q8_token token; /**< the current one */
} q8_lexer;

/** Checks that the file is text and reads the first token. `text[size]` must be readable. */
q8_code q8_lex_open(q8_lexer *lexer, const char *file, const char *text, size_t size, q8_err *err);
q8_code q8_lex_next(q8_lexer *lexer);

/** True when the current token is the character `c`. */
bool q8_lex_is(const q8_lexer *lexer, char c);

/** The token as an error message names it: "end of file", 'word', "string". Into `buf`. */
const char *q8_token_text(const q8_token *token, char buf[64]);

#endif
