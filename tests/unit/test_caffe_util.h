/* What the tests of the Caffe reader share: a parse of a string, its warnings and its error. */
#ifndef TEST_CAFFE_UTIL_H
#define TEST_CAFFE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "caffe.pb-c.h"
#include "caffe/net.h"

struct reading {
    q8_arena *arena;
    q8_caffe_net *net;
    q8_err err;
    q8_code code;
    char message[1024];  /* the error, formatted */
    char warnings[4096]; /* each with a line end */
};

static void keep_warning(void *user, const q8_err *what)
{
    struct reading *r = user;
    const size_t used = strlen(r->warnings);
    const int n =
        q8_err_format(what, "warning", r->warnings + used, sizeof(r->warnings) - used - 1);
    assert_true(n > 0);
    if (used + (size_t)n + 1 < sizeof(r->warnings))
        strcat(r->warnings, "\n");
}

static inline struct reading read_bytes(const char *text, size_t size)
{
    struct reading r = {.arena = q8_arena_open()};
    const q8_env env = {.user = &r, .warn = keep_warning};
    assert_non_null(r.arena);
    /* A copy of the exact size, so that a sanitizer sees a read past the end. */
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    copy[size] = 0;
    r.code = q8_caffe_parse(&r.net, "net.prototxt", copy, size, r.arena, &env, &r.err);
    free(copy);
    assert_int_equal(r.code, r.err.code);
    assert_int_equal(r.code == Q8_OK, r.net != NULL);
    if (r.code)
        q8_err_format(&r.err, "error", r.message, sizeof(r.message));
    return r;
}

static inline struct reading read_text(const char *text)
{
    return read_bytes(text, strlen(text));
}

static inline void end_reading(struct reading *r)
{
    q8_arena_close(&r->arena);
}

/* Parses what must be good; the caller ends the reading. */
static inline struct reading read_good(const char *text)
{
    struct reading r = read_text(text);
    if (r.code)
        fail_msg("%s", r.message);
    return r;
}

static inline void assert_error(const char *text, const char *message)
{
    struct reading r = read_text(text);
    assert_int_not_equal(r.code, Q8_OK);
    assert_string_equal(r.message, message);
    end_reading(&r);
}

static inline void assert_place(const struct reading *r, const void *message, const char *field,
                                int index, int line, int column)
{
    const q8_loc loc = q8_caffe_loc(r->net, message, field, index);
    assert_string_equal(loc.file, "net.prototxt");
    assert_int_equal(loc.line, line);
    assert_int_equal(loc.column, column);
}

#endif
