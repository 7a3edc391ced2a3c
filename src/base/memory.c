#include "base/memory.h"

size_t q8_memory_left(const q8_env *env)
{
    return env && env->max_memory ? env->max_memory : SIZE_MAX;
}

q8_env q8_memory_without(const q8_env *env, size_t held)
{
    q8_env less = env ? *env : (q8_env){0};
    if (less.max_memory) /* 0 would be no limit */
        less.max_memory = less.max_memory > held ? less.max_memory - held : 1;
    return less;
}

int q8_memory_threads(const q8_env *env, size_t shared, size_t each, int threads)
{
    const size_t left = q8_memory_left(env);
    if (left < shared)
        return 0;
    const size_t fit = (left - shared) / (each ? each : 1);
    return fit < (size_t)threads ? (int)fit : threads;
}

static size_t mib(size_t bytes)
{
    return (bytes >> 20) + ((bytes & ((1u << 20) - 1)) != 0);
}

q8_code q8_memory_fail(const q8_env *env, const char *what, size_t need, q8_err *err)
{
    const size_t left = q8_memory_left(env);
    return q8_fail(err, Q8_ENOMEM, NULL, NULL,
                   "out of memory: %s needs %zu MiB, of which the limit leaves %zu; give "
                   "--max_memory %zu MiB more",
                   what, mib(need), left >> 20, mib(need > left ? need - left : 0));
}

q8_code q8_memory_check(const q8_env *env, const char *what, size_t need, q8_err *err)
{
    return need <= q8_memory_left(env) ? Q8_OK : q8_memory_fail(env, what, need, err);
}
