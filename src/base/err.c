#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void fill(q8_err *err, q8_code code, const q8_loc *loc, const char *layer, const char *fmt,
                 va_list args)
{
    memset(err, 0, sizeof(*err));
    err->code = code;
    if (loc && loc->file) {
        snprintf(err->file, sizeof(err->file), "%s", loc->file);
        err->line = loc->line;
        err->column = loc->column;
    }
    if (layer)
        snprintf(err->layer, sizeof(err->layer), "%s", layer);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
}

q8_code q8_fail(q8_err *err, q8_code code, const q8_loc *loc, const char *layer, const char *fmt,
                ...)
{
    if (err && err->code == Q8_OK) {
        va_list args;
        va_start(args, fmt);
        fill(err, code, loc, layer, fmt, args);
        va_end(args);
    }
    return code;
}

q8_code q8_fail_nomem(q8_err *err)
{
    return q8_fail(err, Q8_ENOMEM, NULL, NULL, "out of memory");
}

q8_code q8_fail_errno(q8_err *err, const char *path, const char *what)
{
    const q8_loc loc = {.file = path};
    return q8_fail(err, errno == ENOMEM ? Q8_ENOMEM : Q8_EIO, &loc, NULL, "cannot %s: %s", what,
                   strerror(errno));
}

void q8_warn(const q8_env *env, const q8_loc *loc, const char *layer, const char *fmt, ...)
{
    if (!env || !env->warn)
        return;
    q8_err warning;
    va_list args;
    va_start(args, fmt);
    fill(&warning, Q8_OK, loc, layer, fmt, args);
    va_end(args);
    env->warn(env->user, &warning);
}

void q8_note(const q8_env *env, const q8_loc *loc, const char *layer, const char *fmt, ...)
{
    if (!env || !env->note)
        return;
    q8_err note;
    va_list args;
    va_start(args, fmt);
    fill(&note, Q8_OK, loc, layer, fmt, args);
    va_end(args);
    env->note(env->user, &note);
}

bool q8_cancelled(const q8_env *env)
{
    return env && env->cancel && __atomic_load_n(env->cancel, __ATOMIC_RELAXED);
}

/* --- formatting ------------------------------------------------------------------------------- */

/* As snprintf() fills a buffer: `used` goes on counting behind its end. */
struct out {
    char *buf;
    size_t size, used;
};

static void put(struct out *o, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++, o->used++)
        if (o->used + 1 < o->size)
            o->buf[o->used] = bytes[i];
}

/* Bytes of the UTF-8 character at `s`; 0: it is none, or one that commands a terminal or turns the
 * direction of what follows. */
static size_t printable(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    const size_t n = q8_utf8_length(s);
    if (n == 1)
        return u[0] < ' ' || u[0] == 0x7f ? 0 : n;
    if (n == 2)
        return u[0] == 0xc2 && u[1] < 0xa0 ? 0 : n;
    const bool turns = n == 3 && u[0] == 0xe2 &&
                       ((u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae) ||
                        (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9));
    return turns ? 0 : n;
}

/* Names in files are anybody's: what a terminal would not just show becomes \xHH. */
static void put_character(struct out *o, const char **text)
{
    const size_t n = printable(*text);
    char escaped[8];
    if (n)
        put(o, *text, n);
    else
        put(o, escaped,
            (size_t)snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)**text));
    *text += n ? n : 1;
}

/* Line breaks stay where an indented line follows, as in lists. */
static void put_message(struct out *o, const char *text)
{
    while (*text)
        if (strncmp(text, "\n  ", 3) == 0)
            put(o, text++, 1);
        else
            put_character(o, &text);
}

static int end(const struct out *o)
{
    if (o->size)
        o->buf[o->used < o->size ? o->used : o->size - 1] = '\0';
    return (int)o->used;
}

int q8_printable(const char *text, char *buf, size_t size)
{
    struct out o = {buf, size, 0};
    while (*text)
        put_character(&o, &text);
    return end(&o);
}

int q8_err_format(const q8_err *err, const char *label, char *buf, size_t size)
{
    struct out o = {buf, size, 0};
    char numbers[32] = "";
    if (err->file[0] && err->line > 0 && err->column > 0)
        snprintf(numbers, sizeof(numbers), ":%d:%d", err->line, err->column);
    else if (err->file[0] && err->line > 0)
        snprintf(numbers, sizeof(numbers), ":%d", err->line);
    const char *const piece[] = {err->file,
                                 numbers,
                                 err->file[0] ? ": " : "",
                                 label,
                                 err->layer[0] ? ": layer '" : "",
                                 err->layer,
                                 err->layer[0] ? "': " : ": ",
                                 err->text};
    for (size_t i = 0; i < sizeof(piece) / sizeof(piece[0]); i++)
        put_message(&o, piece[i]);
    return end(&o);
}
