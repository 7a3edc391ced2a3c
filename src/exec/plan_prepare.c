/* Kernels ready to run, their weights side by side in large pages: a forward reads all of them, and
 * more small pages than a processor knows the places of. */
#include <stdlib.h>

#include "base/pages.h"
#include "base/thread.h"
#include "exec/plan.h"

struct preparing {
    const q8_exec *exec;
    size_t *at; /* by step: where its kernel's constants begin */
};

static q8_code prepare_step(void *user, int step, q8_err *err)
{
    const struct preparing *p = user;
    return q8_kernel_prepare(p->exec->step[step].kernel, (char *)p->exec->constants + p->at[step],
                             err);
}

q8_code q8_plan_prepare(q8_exec *exec, int threads, q8_err *err)
{
    size_t bytes = 0;
    struct preparing p = {exec, malloc(((size_t)exec->n_steps + 1) * sizeof(*p.at))};
    q8_code code = p.at ? Q8_OK : q8_fail_nomem(err);
    for (int i = 0; i < exec->n_steps && !code; i++) {
        p.at[i] = bytes;
        if (__builtin_add_overflow(bytes, exec->step[i].kernel->constants, &bytes))
            code = q8_fail_nomem(err);
    }
    if (!code && !(exec->constants = q8_pages_alloc(bytes)))
        code = q8_fail_nomem(err);
    if (!code)
        code = q8_parallel_each(threads, exec->n_steps, prepare_step, &p, err);
    free(p.at);
    return code;
}
