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

int q8_err_format(const q8_err *err, const char *label, char *buf, size_t size)
{
    char place[sizeof(err->file) + 32] = "";
    if (err->file[0] && err->line > 0 && err->column > 0)
        snprintf(place, sizeof(place), "%s:%d:%d: ", err->file, err->line, err->column);
    else if (err->file[0] && err->line > 0)
        snprintf(place, sizeof(place), "%s:%d: ", err->file, err->line);
    else if (err->file[0])
        snprintf(place, sizeof(place), "%s: ", err->file);
    if (err->layer[0])
        return snprintf(buf, size, "%s%s: layer '%s': %s", place, label, err->layer, err->text);
    return snprintf(buf, size, "%s%s: %s", place, label, err->text);
}
