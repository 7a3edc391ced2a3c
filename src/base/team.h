/**
 * What members of a q8_team do together. Everything is one kind of exchange: what each has goes up
 * a binary tree, merged on the way, and what has become of it goes down the same tree, each in
 * log2(size) steps.
 *
 * A member that fails goes, with its error, to whichever exchange is its next; there it meets the
 * others, whatever they came for. All of them leave it with the same error, and none waits for
 * another again. So between two exchanges a function may return as soon as something fails, as long
 * as the public call that it belongs to ends with q8_agree().
 */
#ifndef Q8_BASE_TEAM_H
#define Q8_BASE_TEAM_H

#include "base/buf.h"
#include "base/err.h"

int q8_team_size(const q8_env *env); /**< 1: alone */
int q8_team_rank(const q8_env *env);

/** Of `count` things that members take in turns, how many are this one's: rank, rank + size, … */
size_t q8_team_share(const q8_env *env, size_t count);

/** Something that is the sum of its parts, in whatever order these are merged. */
typedef struct q8_reduction {
    void *user;
    /** Appends what it is so far, as bytes. */
    void (*pack)(void *user, q8_buf *bytes);
    /** Adds what another member has packed. */
    q8_code (*merge)(void *user, const unsigned char *data, size_t size, q8_err *err);
    /** Becomes what another member has packed. */
    q8_code (*replace)(void *user, const unsigned char *data, size_t size, q8_err *err);
} q8_reduction;

/**
 * An exchange: what->user becomes the sum over all members, on all of them.
 * @param code how this member's work has ended; if not with ::Q8_OK, `err` tells
 * @return an error that a member brought: one that is not ::Q8_EINTR rather than one that is, of
 * the lowest rank. Alone `code`, and nothing is called.
 */
q8_code q8_team_reduce(const q8_env *env, q8_code code, const q8_reduction *what, q8_err *err);

/** An exchange: `bytes` become those of all members, in order of rank. */
q8_code q8_team_gather(const q8_env *env, q8_code code, q8_buf *bytes, q8_err *err);

/** The part of `count` things in a row that is this member's: all of them alone. */
typedef struct q8_range {
    size_t begin, end;
} q8_range;
q8_range q8_team_range(const q8_env *env, size_t count);

/** An exchange: of `count` elements of `each` bytes every member has made those of its range, and
 *  gets those of the others. */
q8_code q8_team_complete(const q8_env *env, q8_code code, void *data, size_t count, size_t each,
                         q8_err *err);

/** An exchange: `data` becomes member 0's. */
q8_code q8_team_broadcast(const q8_env *env, q8_code code, void *data, size_t size, q8_err *err);

/** An exchange: an error unless all members have the same hash. @param what of what: "pictures" */
q8_code q8_team_check_same(const q8_env *env, uint64_t hash, const char *what, q8_err *err);

/** All members know of an error alike, and need not bring it to an exchange. @return `code` */
q8_code q8_team_end(const q8_env *env, q8_code code);

/** Others need not do samples from number `from` on. From any thread. This member must then fail,
 *  at the latest in its next exchange. */
void q8_team_stop(const q8_env *env, size_t from);
/** The lowest number that another has said so of; SIZE_MAX: none. */
size_t q8_team_stopped(const q8_env *env);

#endif
