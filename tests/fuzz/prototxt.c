/*
 * A prototxt through all that a conversion does to it: text parser, upgrade, import with random
 * weights, passes, int8 weights, ncnn files. What can be written must read back as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "../tools/random_weights.h"
#include "fuzz.h"
#include "import/import.h"
#include "passes/passes.h"
#include "quant/quant.h"

enum { MAX_WEIGHTS = 1 << 20 }; /* elements of all layers together, so that a run stays quick */

struct limited {
    q8_weight_source source;
    size_t left;
};

static q8_code get_limited(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                           int n_dim, const float **data, q8_err *err)
{
    struct limited *limited = user;
    size_t count = 1;
    for (int i = 0; i < n_dim; i++) {
        if (dim[i] < 1 || (size_t)dim[i] > limited->left / count)
            return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name, "too many weights");
        count *= (size_t)dim[i];
    }
    limited->left -= count;
    return limited->source.get(limited->source.user, layer, index, dim, n_dim, data, err);
}

static q8_code import(q8_graph **graph, const q8_caffe_net *net, q8_arena *arena, q8_err *err)
{
    random_weights *weights = random_weights_open(net, arena);
    if (!weights)
        return q8_fail_nomem(err);
    struct limited limited = {random_weights_source(weights), MAX_WEIGHTS};
    const q8_weight_source source = {.user = &limited, .get = get_limited};
    const q8_import_opts opts = {.weights = &source};
    return q8_import_caffe(graph, net, &opts, arena, &fuzz_env, err);
}

/* Passes keep every shape, so inferring again must neither fail nor change one. */
static void check_shapes(q8_graph *graph, q8_err *err)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        for (int k = 0; k < node->n_out; k++) {
            const q8_shape before = graph->tensor[node->out[k]].shape;
            fuzz_must(q8_infer_node(graph, graph->node[i], err), err, "shapes after the passes");
            if (!q8_shape_equal(&before, &graph->tensor[node->out[k]].shape))
                abort();
        }
    }
}

static q8_code quantize(q8_graph *graph, q8_err *err)
{
    const q8_quant_opts opts = {0};
    float *threshold = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(float));
    if (!threshold)
        return q8_fail_nomem(err);
    for (int t = 0; t < graph->n_tensors; t++)
        threshold[t] = 1;
    return q8_quantize_graph(graph, threshold, &opts, &fuzz_env, err);
}

/* As q8_ncnn_write() does it before writing. */
static q8_code write_and_read(q8_graph *graph, q8_err *err)
{
    q8_code code = q8_pass_restore_rank(graph, err);
    if (!code)
        code = q8_pass_insert_splits(graph, err);
    return code ? code : fuzz_write_and_read(graph, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static q8_err err;
    q8_arena *arena = fuzz_arena();
    q8_caffe_net *net;
    q8_graph *graph = NULL;
    memset(&err, 0, sizeof(err));
    char *text = malloc(size + 1); /* exactly what the parser may read */
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    q8_code code = q8_caffe_parse(&net, "deploy.prototxt", text, size, arena, &fuzz_env, &err);
    free(text); /* nothing may point into it any more */
    if (!code)
        code = import(&graph, net, arena, &err);
    if (!code)
        code = q8_passes_optimise(graph, &err);
    if (!code) {
        check_shapes(graph, &err);
        code = quantize(graph, &err);
    }
    if (!code)
        code = write_and_read(graph, &err);
    fuzz_check(code, &err);
    q8_arena_close(&arena);
    return 0;
}
