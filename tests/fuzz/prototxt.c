/*
 * A prototxt through all that a conversion does to it: text parser, upgrade, import with random
 * weights, passes, int8 weights, ncnn files. What can be written must read back as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "network.h"
#include "passes/passes.h"
#include "quant/quant.h"

enum { MAX_WEIGHTS = 1 << 20 }; /* elements of all layers together, so that a run stays quick */

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
    fuzz_network network;
    memset(&err, 0, sizeof(err));
    q8_code code = fuzz_network_read(&network, data, size, MAX_WEIGHTS, arena, &err);
    q8_graph *graph = network.graph;
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
