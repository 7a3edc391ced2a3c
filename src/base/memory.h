/** What q8_env.max_memory allows. Inside the library it is what is left for the call at hand. */
#ifndef Q8_BASE_MEMORY_H
#define Q8_BASE_MEMORY_H

#include "base/err.h"

/** What is not planned: the program, its libraries, and small things. */
#define Q8_MEMORY_RESERVE ((size_t)64 << 20)
/** Per thread, for a file and the picture in it: some of a camera's. */
#define Q8_MEMORY_PICTURE ((size_t)16 << 20)

/** SIZE_MAX without a limit. */
size_t q8_memory_left(const q8_env *env);

/** `env`, which may be NULL, with `held` bytes less. */
q8_env q8_memory_without(const q8_env *env, size_t held);

/**
 * How many threads there may be if each needs `each` bytes and all together `shared` more.
 * @return up to `threads`, 0: not even one
 */
int q8_memory_threads(const q8_env *env, size_t shared, size_t each, int threads);

/** ::Q8_ENOMEM: `need` bytes, for which there is not enough left. @param what needs it */
q8_code q8_memory_fail(const q8_env *env, const char *what, size_t need, q8_err *err);

/** Fails as q8_memory_fail() does unless so much is left. */
q8_code q8_memory_check(const q8_env *env, const char *what, size_t need, q8_err *err);

#endif
