#include "api/told.h"

#include <stdlib.h>

#include "base/hash.h"

static bool is_told(const q8_told *told, uint64_t warning)
{
    for (size_t i = 0; i < told->n; i++)
        if (told->warning[i] == warning)
            return true;
    return false;
}

/* Without memory for it the warning may come twice. */
static void remember(q8_told *told, uint64_t warning)
{
    uint64_t *longer = realloc(told->warning, (told->n + 1) * sizeof(*longer));
    if (!longer)
        return;
    told->warning = longer;
    longer[told->n++] = warning;
}

static void warn(void *user, const q8_err *what)
{
    q8_telling *t = user;
    const uint64_t warning =
        q8_hash_text(q8_hash_text(q8_hash_text(0, what->file), what->layer), what->text);
    if (is_told(t->told, warning))
        return;
    remember(t->told, warning);
    if (t->env->warn)
        t->env->warn(t->env->user, what);
}

static void note(void *user, const q8_err *what)
{
    const q8_telling *t = user;
    t->env->note(t->env->user, what);
}

static void progress(void *user, const char *stage, size_t done, size_t total)
{
    const q8_telling *t = user;
    t->env->progress(t->env->user, stage, done, total);
}

q8_env q8_tell_once(q8_telling *telling, q8_told *told, const q8_env *env)
{
    *telling = (q8_telling){told, env};
    if (!env)
        return (q8_env){0};
    q8_env once = *env;
    once.user = telling;
    once.warn = warn;
    once.note = env->note ? note : NULL;
    once.progress = env->progress ? progress : NULL;
    return once;
}

void q8_told_free(q8_told *told)
{
    free(told->warning);
    *told = (q8_told){0};
}
