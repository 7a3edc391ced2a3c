/** Errors and warnings: the first error wins; messages look like a compiler's. */
#ifndef Q8_BASE_ERR_H
#define Q8_BASE_ERR_H

#include <q8/q8.h>

/** A place in a text file. Zero-initialised means unknown; `file` is borrowed. */
typedef struct q8_loc {
    const char *file;
    int line, column;
} q8_loc;

/**
 * Fills `err` unless it already holds an error. `loc` and `layer` may be NULL; `err` may be NULL.
 * @return `code`, so that a caller can write `return q8_fail(…)`
 */
q8_code q8_fail(q8_err *err, q8_code code, const q8_loc *loc, const char *layer, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));

/** q8_fail() with ::Q8_ENOMEM and the usual words. */
q8_code q8_fail_nomem(q8_err *err);

/** q8_fail() with ::Q8_EIO for a file: "`path`: cannot `what`: strerror(errno)". */
q8_code q8_fail_errno(q8_err *err, const char *path, const char *what);

/** Sends a warning to `env->warn`, if there is one. `env`, `loc` and `layer` may be NULL. */
void q8_warn(const q8_env *env, const q8_loc *loc, const char *layer, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/** The same for `env->note`. */
void q8_note(const q8_env *env, const q8_loc *loc, const char *layer, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/** True once the caller has asked to stop. */
bool q8_cancelled(const q8_env *env);

#endif
