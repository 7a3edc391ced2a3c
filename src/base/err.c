#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    const size_t n = u[0] < 0x80                   ? 1
                     : u[0] >= 0xc2 && u[0] < 0xe0 ? 2
                     : u[0] >= 0xe0 && u[0] < 0xf0 ? 3
                     : u[0] >= 0xf0 && u[0] < 0xf5 ? 4
                                                   : 0;
    if (n <= 1)
        return u[0] < ' ' || u[0] == 0x7f ? 0 : n;
    unsigned code = u[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (u[i] & 0x3f);
    }
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool is_control =
        code < 0xa0 || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    const bool is_character =
        code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return is_character && !is_control ? n : 0;
}

/* Names in files are anybody's: what a terminal would not just show becomes \xHH. Line breaks stay
 * where an indented line follows, as in lists. */
static void put_safely(struct out *o, const char *text)
{
    while (*text) {
        size_t n = strncmp(text, "\n  ", 3) == 0 ? 1 : printable(text);
        if (n) {
            put(o, text, n);
        } else {
            char escaped[8];
            n = 1;
            put(o, escaped,
                (size_t)snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)*text));
        }
        text += n;
    }
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
        put_safely(&o, piece[i]);
    if (size)
        buf[o.used < size ? o.used : size - 1] = '\0';
    return (int)o.used;
}
