/* Which backend runs a node. */
#include "exec/plan.h"
#include "ops/op.h"

/* A backend that would run the node alone is not passed over for one that can do more. */
static q8_code compile(const q8_backend *backend, const q8_graph *graph, const q8_node *node,
                       const q8_activation *residual, const int *in_block, int batch,
                       q8_kernel **kernel, q8_err *err)
{
    q8_code code = Q8_OK;
    if (residual && backend->compile_residual)
        code = backend->compile_residual(graph, node, residual, in_block, batch, kernel, err);
    if (code || *kernel)
        return code;
    return backend->compile(graph, node, in_block, batch, kernel, err);
}

q8_code q8_plan_kernel(const q8_graph *graph, const q8_node *node, const q8_exec_opts *opts,
                       const q8_activation *residual, const int *in_block, int batch,
                       q8_kernel **kernel, const char **backend, q8_err *err)
{
    const q8_backend *const candidates[] = {
#ifdef Q8_HAVE_ONEDNN
        opts->backend == Q8_BACKEND_CPU_BF16 ? &q8_backend_bf16 : NULL,
        opts->backend != Q8_BACKEND_PLAIN ? &q8_backend_onednn : NULL,
#endif
        &q8_backend_plain,
    };
    *kernel = NULL;
    if (opts->backend == Q8_BACKEND_GPU) {
        *backend = "opencl";
        const q8_code code = q8_gpu_compile(opts->gpu, graph, node, batch, kernel, err);
        if (code || *kernel)
            return code;
    }
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        if (!candidates[i])
            continue;
        q8_code code = compile(candidates[i], graph, node, residual, in_block, batch, kernel, err);
        if (code)
            return code;
        if (*kernel) {
            *backend = candidates[i]->name;
            return Q8_OK;
        }
    }
    return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name, "no backend runs %s", node->op->type);
}
