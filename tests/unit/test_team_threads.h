/* A team whose members are threads of one process, each two joined by a pair of sockets. */
#ifndef TEST_TEAM_THREADS_H
#define TEST_TEAM_THREADS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/team.h"

enum { MOST_MEMBERS = 9 };

/* One member: its team and surroundings, how its calls ended, what it saw. */
struct member {
    int fd[MOST_MEMBERS]; /* by the other's rank */
    q8_team team;
    q8_env env;
    q8_err err;
    q8_code code;
    char warnings[4096];
    volatile int cancel;
    void (*fn)(struct member *m);
    void *user;
    atomic_size_t *stop;
};

static inline bool member_send(void *user, int to, const void *data, size_t size)
{
    const struct member *m = user;
    while (size > 0) {
        const ssize_t n = send(m->fd[to], data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data = (const char *)data + n;
        size -= (size_t)n;
    }
    return true;
}

static inline bool member_receive(void *user, int from, void *data, size_t size)
{
    const struct member *m = user;
    return size == 0 || recv(m->fd[from], data, size, MSG_WAITALL) == (ssize_t)size;
}

static inline void member_stop(void *user, size_t from)
{
    const struct member *m = user;
    size_t now = atomic_load(m->stop);
    while (from < now && !atomic_compare_exchange_weak(m->stop, &now, from))
        ;
}

static inline size_t member_stopped(void *user)
{
    const struct member *m = user;
    return atomic_load(m->stop);
}

static inline void member_warn(void *user, const q8_err *what)
{
    struct member *m = user;
    const size_t used = strlen(m->warnings);
    snprintf(m->warnings + used, sizeof(m->warnings) - used, "%s\n", what->text);
}

static inline void *member_run(void *user)
{
    struct member *m = user;
    m->fn(m);
    for (int k = 0; k < m->team.size; k++) /* whoever still waits for this one learns of it */
        if (k != m->team.rank)
            shutdown(m->fd[k], SHUT_WR);
    return NULL;
}

/* Runs `fn` as all members; their results are in `member`. */
static inline void run_team(struct member *member, int size, void (*fn)(struct member *m),
                            void *user)
{
    pthread_t thread[MOST_MEMBERS];
    atomic_size_t stop;
    atomic_init(&stop, SIZE_MAX);
    for (int i = 0; i < size; i++)
        for (int k = 0; k < i; k++) {
            int pair[2];
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
            member[i].fd[k] = pair[0];
            member[k].fd[i] = pair[1];
        }
    for (int i = 0; i < size; i++) {
        struct member *m = &member[i];
        m->team = (q8_team){.user = m,
                            .rank = i,
                            .size = size,
                            .send = member_send,
                            .receive = member_receive,
                            .stop = member_stop,
                            .stopped = member_stopped};
        m->env = (q8_env){.user = m, .warn = member_warn, .cancel = &m->cancel, .team = &m->team};
        m->env.threads = 1;
        m->err = (q8_err){0};
        m->code = Q8_OK;
        m->warnings[0] = '\0';
        m->cancel = 0;
        m->fn = fn;
        m->user = user;
        m->stop = &stop;
    }
    for (int i = 0; i < size; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, member_run, &member[i]), 0);
    for (int i = 0; i < size; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < size; i++)
        for (int k = 0; k < size; k++)
            if (k != i)
                close(member[i].fd[k]);
}

#endif
