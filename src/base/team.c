#include "base/team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Messages go in pieces of this size, so that they are passed on while they still arrive, and can
 * be received where there is no memory for the whole. */
enum { PIECE = 1 << 16 };

struct header {
    int32_t code; /* not Q8_OK: the message is a q8_err, else what was packed */
    int32_t rank; /* of the member that the error is from */
    uint64_t size;
};

struct message {
    struct header header;
    unsigned char *data; /* NULL: there was no memory for it */
};

/* One exchange, as one member sees it. */
struct exchange {
    const q8_env *env;
    q8_team *team;
    const q8_reduction *what; /* NULL: only errors are exchanged */
    q8_err err;               /* the error that counts so far, if any */
    int failed;               /* the member that it is from */
};

static bool is_alone(const q8_env *env)
{
    return !env || !env->team || env->team->size <= 1;
}

int q8_team_size(const q8_env *env)
{
    return is_alone(env) ? 1 : env->team->size;
}

int q8_team_rank(const q8_env *env)
{
    return is_alone(env) ? 0 : env->team->rank;
}

size_t q8_team_share(const q8_env *env, size_t count)
{
    const size_t rank = (size_t)q8_team_rank(env), size = (size_t)q8_team_size(env);
    return count > rank ? (count - rank - 1) / size + 1 : 0;
}

void q8_team_stop(const q8_env *env, size_t from)
{
    if (!is_alone(env) && env->team->stop)
        env->team->stop(env->team->user, from);
}

size_t q8_team_stopped(const q8_env *env)
{
    return !is_alone(env) && env->team->stopped ? env->team->stopped(env->team->user) : SIZE_MAX;
}

q8_code q8_team_end(const q8_env *env, q8_code code)
{
    if (code && !is_alone(env))
        env->team->failed = code;
    return code;
}

/* --- errors ----------------------------------------------------------------------------------- */

/* Errors before interrupts, then by rank. */
static void note_error(struct exchange *x, const q8_err *err, int rank)
{
    const bool stops = err->code == Q8_EINTR, stopped = x->err.code == Q8_EINTR;
    if (x->err.code && (stops != stopped ? stops : rank > x->failed))
        return;
    x->err = *err;
    x->failed = rank;
}

/* This member's own. */
static void note_own(struct exchange *x, q8_code code, const q8_err *err)
{
    q8_err own = {0};
    if (!code)
        return;
    if (err && err->code)
        own = *err;
    else
        q8_fail(&own, code, NULL, NULL, "failed without a reason");
    const size_t end = strlen(own.text);
    if (x->team->rank > 0 && code != Q8_EINTR)
        snprintf(own.text + end, sizeof(own.text) - end, " (in process %d of %d)",
                 x->team->rank + 1, x->team->size);
    note_error(x, &own, x->team->rank);
    q8_team_stop(x->env, 0);
}

static void note_nomem(struct exchange *x)
{
    q8_err err = {0};
    note_own(x, q8_fail_nomem(&err), &err);
}

static void note_cancel(struct exchange *x)
{
    q8_err err = {0};
    if (q8_cancelled(x->env))
        note_own(x, q8_fail(&err, Q8_EINTR, NULL, NULL, "interrupted"), &err);
}

static bool note_lost(struct exchange *x, int other)
{
    q8_err err = {0};
    q8_fail(&err, Q8_EIO, NULL, NULL, "the connection to process %d of %d is lost", other + 1,
            x->team->size);
    note_own(x, Q8_EIO, &err);
    return false;
}

/* --- messages --------------------------------------------------------------------------------- */

/* The tree: member r's parent is r without its lowest set bit, its children are r plus each power
 * of two below that bit. With k of them merged it stands for members r to r + 2^k - 1. */

static int parent_of(int rank)
{
    return rank & (rank - 1);
}

/* @param step a power of two, after all less ones have been found to be */
static bool has_child(const q8_team *team, int step)
{
    return (team->rank & step) == 0 && step < team->size - team->rank;
}

static size_t piece_at(uint64_t at, uint64_t size)
{
    return size - at < PIECE ? (size_t)(size - at) : PIECE;
}

static bool send_bytes(struct exchange *x, int to, const void *data, size_t size)
{
    return x->team->send(x->team->user, to, data, size) || note_lost(x, to);
}

static bool receive_bytes(struct exchange *x, int from, void *data, size_t size)
{
    return x->team->receive(x->team->user, from, data, size) || note_lost(x, from);
}

/* To all children, the last one first, which has the most to pass it on to. */
static void send_down(struct exchange *x, const void *data, size_t size)
{
    int step = 1;
    while (has_child(x->team, step))
        step *= 2;
    for (step /= 2; step > 0; step /= 2)
        send_bytes(x, x->team->rank + step, data, size);
}

static void send_up(struct exchange *x, const void *data, size_t size)
{
    send_bytes(x, parent_of(x->team->rank), data, size);
}

/* What this member has to tell, through `send`. */
static void send_message(struct exchange *x,
                         void (*send)(struct exchange *x, const void *data, size_t size))
{
    q8_buf bytes = {0};
    if (!x->err.code && x->what)
        x->what->pack(x->what->user, &bytes);
    if (bytes.failed)
        note_nomem(x);
    const q8_err err = x->err;
    const struct header h = {
        .code = (int32_t)err.code, .rank = x->failed, .size = err.code ? sizeof(err) : bytes.size};
    const unsigned char *body = err.code ? (const unsigned char *)&err : bytes.data;
    send(x, &h, sizeof(h));
    for (uint64_t at = 0; at < h.size; at += PIECE)
        send(x, body + at, piece_at(at, h.size));
    q8_buf_free(&bytes);
}

/* @param pass_on to all children while it arrives. False: the connection is lost. */
static bool receive_message(struct exchange *x, int from, bool pass_on, struct message *m)
{
    struct header *h = &m->header;
    unsigned char scratch[PIECE];
    m->data = NULL;
    if (!receive_bytes(x, from, h, sizeof(*h)))
        return false;
    if (pass_on)
        send_down(x, h, sizeof(*h));
    m->data = malloc(h->size + 1);
    for (uint64_t at = 0; at < h->size; at += PIECE) {
        unsigned char *piece = m->data ? m->data + at : scratch;
        if (!receive_bytes(x, from, piece, piece_at(at, h->size)))
            return false;
        if (pass_on)
            send_down(x, piece, piece_at(at, h->size));
    }
    if (h->code && m->data) {
        q8_err err;
        memcpy(&err, m->data, sizeof(err));
        note_error(x, &err, h->rank);
    }
    return true;
}

/* --- exchanges -------------------------------------------------------------------------------- */

static void merge_child(struct exchange *x, int child)
{
    struct message m;
    q8_err err = {0};
    if (receive_message(x, child, false, &m)) {
        if (!m.data)
            note_nomem(x);
        else if (!x->err.code && x->what)
            note_own(x, x->what->merge(x->what->user, m.data, m.header.size, &err), &err);
    }
    free(m.data);
}

/* What the parent says is how it ended. If this member then has no memory for it, that is not yet
 * the team's error: it is brought to the next exchange. */
static q8_code receive_result(struct exchange *x, q8_err *err)
{
    struct message m;
    q8_code code = Q8_OK;
    if (!receive_message(x, parent_of(x->team->rank), true, &m)) {
        x->team->failed = x->err.code;
    } else if (m.header.code) {
        x->team->failed = (q8_code)m.header.code;
        if (m.data)
            memcpy(&x->err, m.data, sizeof(x->err));
        q8_fail(&x->err, x->team->failed, NULL, NULL, "another process has failed");
    } else if (!m.data) {
        code = q8_fail_nomem(err);
    } else if (x->what) {
        code = x->what->replace(x->what->user, m.data, m.header.size, err);
    }
    free(m.data);
    return code;
}

q8_code q8_team_reduce(const q8_env *env, q8_code code, const q8_reduction *what, q8_err *err)
{
    if (is_alone(env))
        return code;
    q8_team *team = env->team;
    if (team->failed)
        return q8_fail(err, team->failed, NULL, NULL, "another process has failed");
    struct exchange x = {.env = env, .team = team, .what = what};
    note_own(&x, code, err);
    for (int step = 1; has_child(team, step); step *= 2)
        merge_child(&x, team->rank + step);
    note_cancel(&x);
    if (team->rank == 0) {
        send_message(&x, send_down);
        code = team->failed = x.err.code;
    } else {
        send_message(&x, send_up);
        code = receive_result(&x, err);
    }
    if (team->failed && err)
        *err = x.err;
    return team->failed ? team->failed : code;
}

q8_code q8_agree(const q8_env *env, q8_code code, q8_err *err)
{
    return q8_team_reduce(env, code, NULL, err);
}

/* --- kinds of reductions ---------------------------------------------------------------------- */

static void pack_bytes(void *user, q8_buf *bytes)
{
    const q8_buf *own = user;
    q8_buf_add(bytes, own->data, own->size);
}

static q8_code append_bytes(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    q8_buf *own = user;
    q8_buf_add(own, data, size);
    return own->failed ? q8_fail_nomem(err) : Q8_OK;
}

static q8_code replace_bytes(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    q8_buf *own = user;
    own->size = 0;
    return append_bytes(user, data, size, err);
}

q8_code q8_team_gather(const q8_env *env, q8_code code, q8_buf *bytes, q8_err *err)
{
    const q8_reduction gather = {bytes, pack_bytes, append_bytes, replace_bytes};
    if (!code && bytes->failed)
        code = q8_fail_nomem(err);
    return q8_team_reduce(env, code, &gather, err);
}

q8_range q8_team_range(const q8_env *env, size_t count)
{
    const size_t rank = (size_t)q8_team_rank(env), size = (size_t)q8_team_size(env);
    return (q8_range){.begin = count * rank / size, .end = count * (rank + 1) / size};
}

q8_code q8_team_complete(const q8_env *env, q8_code code, void *data, size_t count, size_t each,
                         q8_err *err)
{
    q8_buf all = {0};
    const q8_range own = q8_team_range(env, count);
    if (is_alone(env))
        return code;
    q8_buf_add(&all, (const char *)data + own.begin * each, (own.end - own.begin) * each);
    code = q8_team_gather(env, code, &all, err);
    if (!code && all.size != count * each)
        code = q8_fail(err, Q8_EINTERNAL, NULL, NULL, "%zu bytes of %zu", all.size, count * each);
    if (!code)
        memcpy(data, all.data, all.size);
    q8_buf_free(&all);
    return code;
}

struct broadcast {
    bool sends;
    void *data;
    size_t size;
};

static void pack_broadcast(void *user, q8_buf *bytes)
{
    const struct broadcast *b = user;
    if (b->sends)
        q8_buf_add(bytes, b->data, b->size);
}

static q8_code merge_nothing(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    (void)user, (void)data, (void)size, (void)err;
    return Q8_OK;
}

static q8_code replace_broadcast(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    const struct broadcast *b = user;
    if (size != b->size)
        return q8_fail(err, Q8_EINTERNAL, NULL, NULL, "%zu bytes instead of %zu", size, b->size);
    memcpy(b->data, data, size);
    return Q8_OK;
}

q8_code q8_team_broadcast(const q8_env *env, q8_code code, void *data, size_t size, q8_err *err)
{
    struct broadcast b = {.sends = q8_team_rank(env) == 0, .data = data, .size = size};
    const q8_reduction broadcast = {&b, pack_broadcast, merge_nothing, replace_broadcast};
    return q8_team_reduce(env, code, &broadcast, err);
}

q8_code q8_team_check_same(const q8_env *env, uint64_t hash, const char *what, q8_err *err)
{
    q8_buf all = {0};
    uint64_t first, other;
    q8_buf_add(&all, &hash, sizeof(hash));
    q8_code code = q8_team_gather(env, Q8_OK, &all, err);
    for (size_t at = 0; at < all.size && !code; at += sizeof(other)) {
        memcpy(&first, all.data, sizeof(first));
        memcpy(&other, all.data + at, sizeof(other));
        if (other != first)
            code = q8_team_end(
                env, q8_fail(err, Q8_EINVAL, NULL, NULL,
                             "process %zu of %d has other %s than process 1: all must see the same",
                             at / sizeof(other) + 1, q8_team_size(env), what));
    }
    q8_buf_free(&all);
    return code;
}
