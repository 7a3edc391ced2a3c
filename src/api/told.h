/** The same samples are read in several passes: what is wrong with one is to be told once. */
#ifndef Q8_API_TOLD_H
#define Q8_API_TOLD_H

#include "base/err.h"

/** Warnings that a model's user has been given. Zero-initialised is none. */
typedef struct q8_told {
    uint64_t *warning; /**< hashes; from malloc() */
    size_t n;
} q8_told;

/** What a q8_tell_once() environment needs while it is used. */
typedef struct q8_telling {
    q8_told *told;
    const q8_env *env;
} q8_telling;

/** An environment like `env`, which may be NULL, but for warnings that are in `told`: those are
 *  given no more, and the others are put there. */
q8_env q8_tell_once(q8_telling *telling, q8_told *told, const q8_env *env);
void q8_told_free(q8_told *told);

#endif
