#include "exec/node.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "exec/layout.h"
#include "exec/node_gpu.h"
#include "exec/plan.h"
#include "exec/pointwise.h"

enum { ALIGN = 64 };

/* An input or output as the kernel wants it. */
struct edge {
    q8_shape shape;
    int block;
    size_t offset; /* of its own memory in the scratch memory */
};

struct q8_runner {
    q8_lone_node *on_gpu; /* NULL: all that follows is used */
    q8_kernel *kernel;
    void *constants;
    int n_in, n_out;
    size_t scratch; /* the edges', with the kernel's at the end */
    size_t kernel_scratch;
    struct edge edge[]; /* inputs, then outputs */
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void add_edge(q8_runner *r, int i, const q8_shape *shape, int block)
{
    r->edge[i] = (struct edge){.shape = *shape, .block = block, .offset = r->scratch};
    r->scratch += aligned(q8_layout_count(shape, block) * sizeof(float));
}

static q8_code open_on_gpu(q8_runner **out, const q8_graph *graph, const q8_node *node, q8_gpu *gpu,
                           q8_err *err)
{
    q8_runner *r = *out = calloc(1, sizeof(*r));
    if (!r)
        return q8_fail_nomem(err);
    const q8_code code = q8_lone_node_open(&r->on_gpu, graph, node, gpu, err);
    if (code)
        q8_runner_close(out);
    return code;
}

q8_code q8_runner_open(q8_runner **out, const q8_graph *graph, const q8_node *node, q8_gpu *gpu,
                       q8_err *err)
{
    if (gpu)
        return open_on_gpu(out, graph, node, gpu, err);
    const size_t edges = (size_t)node->n_in + (size_t)node->n_out;
    q8_runner *r = calloc(1, sizeof(*r) + edges * sizeof(r->edge[0]));
    int *plain = malloc((edges + 1) * sizeof(*plain));
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU};
    const char *backend;
    q8_code code = r && plain ? Q8_OK : q8_fail_nomem(err);
    for (size_t i = 0; !code && i < edges; i++)
        plain[i] = 1;
    if (!code)
        code = q8_pointwise_compile(graph, node, &r->kernel, err);
    if (!code && !r->kernel)
        code = q8_plan_kernel(graph, node, &opts, NULL, plain, 1, &r->kernel, &backend, err);
    if (!code && !(r->constants = q8_pages_alloc(r->kernel->constants)))
        code = q8_fail_nomem(err);
    if (!code)
        code = q8_kernel_prepare(r->kernel, r->constants, err);
    if (!code) {
        r->n_in = node->n_in;
        r->n_out = node->n_out;
        r->scratch = aligned(edges * sizeof(float *));
        for (int i = 0; i < node->n_in; i++)
            add_edge(r, i, &graph->tensor[node->in[i]].shape, r->kernel->in_block);
        for (int i = 0; i < node->n_out; i++)
            add_edge(r, node->n_in + i, &graph->tensor[node->out[i]].shape, r->kernel->out_block);
        r->kernel_scratch = r->scratch;
        r->scratch += aligned(r->kernel->scratch);
    }
    free(plain);
    if (code)
        q8_runner_close(&r);
    *out = r;
    return code;
}

void q8_runner_close(q8_runner **runner)
{
    if (*runner && (*runner)->kernel)
        (*runner)->kernel->close((*runner)->kernel);
    if (*runner)
        q8_lone_node_close(&(*runner)->on_gpu);
    if (*runner)
        free((*runner)->constants);
    free(*runner);
    *runner = NULL;
}

size_t q8_runner_scratch(const q8_runner *runner)
{
    return runner->scratch;
}

/* Backends may count on tensors being aligned. */
static bool is_as_wanted(const struct edge *e, const float *x)
{
    return q8_layout_same(&e->shape, 1, e->block) && (uintptr_t)x % ALIGN == 0;
}

q8_code q8_runner_run(const q8_runner *r, const float *const *in, float *const *out, void *scratch,
                      q8_err *err)
{
    if (r->on_gpu)
        return q8_lone_node_run(r->on_gpu, in, out, err);
    const float **from = scratch;
    float **to = (float **)scratch + r->n_in;
    const struct edge *out_edge = r->edge + r->n_in;
    for (int i = 0; i < r->n_in; i++) {
        const struct edge *e = &r->edge[i];
        float *own = (float *)((char *)scratch + e->offset);
        from[i] = is_as_wanted(e, in[i]) ? in[i] : own;
        if (from[i] == own)
            q8_layout_convert(&e->shape, 1, in[i], 1, own, e->block);
    }
    for (int i = 0; i < r->n_out; i++)
        to[i] = is_as_wanted(&out_edge[i], out[i])
                    ? out[i]
                    : (float *)((char *)scratch + out_edge[i].offset);
    const q8_code code =
        r->kernel->run(r->kernel, from, to, (char *)scratch + r->kernel_scratch, err);
    for (int i = 0; !code && i < r->n_out; i++)
        if (to[i] != out[i])
            q8_layout_convert(&out_edge[i].shape, 1, to[i], out_edge[i].block, out[i], 1);
    return code;
}
