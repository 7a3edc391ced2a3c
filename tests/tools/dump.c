#include "dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "exec/exec.h"
#include "ops/rows.h"

struct dump {
    const q8_graph *graph;
    const q8_exec *exec;
    const char *dir;
    int *producer;
};

static q8_code write_tensor(void *user, int tensor, const q8_view *view, q8_err *err)
{
    const struct dump *d = user;
    char path[4096], shape[64];
    snprintf(path, sizeof(path), "%s/%d.f32", d->dir, tensor);
    const size_t count = q8_shape_count(&view->shape);
    float *nchw = malloc(count * sizeof(float));
    FILE *file = nchw ? fopen(path, "wb") : NULL;
    if (!file) {
        free(nchw);
        return q8_fail_errno(err, path, "write");
    }
    q8_view_to_nchw(view, 0, nchw);
    const bool written = fwrite(nchw, sizeof(float), count, file) == count;
    free(nchw);
    if (fclose(file) != 0 || !written)
        return q8_fail_errno(err, path, "write");
    const int node = d->producer[tensor];
    printf("%d %s %s %s %s\n", tensor, q8_exec_node_backend(d->exec, node),
           d->graph->node[node]->op->type, q8_shape_text(&view->shape, shape),
           d->graph->tensor[tensor].name);
    return Q8_OK;
}

/* Reads the raw input files into the run, by Input node. */
static q8_code load_inputs(q8_run *run, const q8_graph *graph, char **paths, int n_paths,
                           q8_err *err)
{
    int input = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        if (graph->node[i]->op != &q8_op_input)
            continue;
        if (input >= n_paths)
            return q8_fail(err, Q8_EINVAL, NULL, NULL,
                           "the network has more inputs than were given");
        const size_t size =
            q8_shape_count(&graph->tensor[graph->node[i]->out[0]].shape) * sizeof(float);
        q8_bytes bytes;
        q8_code code = q8_file_read(&bytes, paths[input], (size_t)1 << 32, err);
        if (!code && bytes.size != size)
            code = q8_fail(err, Q8_EINVAL, NULL, NULL, "%s has %zu bytes instead of %zu",
                           paths[input], bytes.size, size);
        if (!code)
            memcpy(q8_run_input(run, input, 0), bytes.data, size);
        q8_bytes_free(&bytes);
        if (code)
            return code;
        input++;
    }
    return Q8_OK;
}

static q8_backend_kind kind_of(const char *backend)
{
    if (strncmp(backend, "plain", 5) == 0)
        return Q8_BACKEND_PLAIN;
    return strncmp(backend, "gpu", 3) == 0 ? Q8_BACKEND_GPU : Q8_BACKEND_CPU;
}

q8_code dump_forward(q8_graph *graph, const char *backend, char **words, int n_words, q8_err *err)
{
    q8_exec *exec = NULL;
    q8_run *run = NULL;
    q8_uses uses;
    bool *wanted = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted || !q8_graph_uses(graph, &uses))
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++)
        wanted[t] = uses.producer[t] >= 0;
    q8_exec_opts opts = {.backend = kind_of(backend), .batch = 1, .wanted = wanted};
    q8_code code = Q8_OK;
    if (opts.backend == Q8_BACKEND_GPU)
        code = q8_gpu_open(&opts.gpu, Q8_GPU_ANY, err);
    if (!code)
        code = q8_exec_open(&exec, graph, &opts, err);
    if (!code)
        code = q8_run_open(&run, exec, err);
    if (!code)
        code = load_inputs(run, graph, words + 1, n_words - 1, err);
    struct dump dump = {.graph = graph, .exec = exec, .dir = words[0], .producer = uses.producer};
    if (!code)
        code = q8_run_forward(run, 1, write_tensor, &dump, err);
    q8_run_close(&run);
    q8_exec_close(&exec);
    q8_gpu_close(&opts.gpu);
    return code;
}

int dump_exit(q8_code code, const q8_err *err)
{
    static char text[sizeof(q8_err) + 64];
    if (code) {
        q8_err_format(err, "error", text, sizeof(text));
        fprintf(stderr, "%s\n", text);
    }
    return code != Q8_OK;
}
