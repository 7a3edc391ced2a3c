/* A calibration table of a small network: read, applied, written and read again. */
#include "ncnn/table.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ncnn/read.h"

static const char param[] = "7767517\n"
                            "4 4\n"
                            "Input data 0 1 data 0=4 1=4 2=2\n"
                            "Convolution 7 1 1 data a 0=2 1=1 5=0 6=4\n"
                            "ConvolutionDepthWise dw 1 1 a b 0=2 1=1 5=0 6=2 7=2\n"
                            "InnerProduct fc 1 1 b c 0=1 1=0 2=32\n";
static float weight[32] = {1, -0.5f};

static q8_graph *open_graph(q8_arena *arena)
{
    q8_graph *graph = q8_graph_new(arena);
    if (!graph || q8_ncnn_read_param(graph, "net.param", param, sizeof(param) - 1, NULL))
        abort();
    for (int i = 1; i < graph->n_nodes; i++) {
        const size_t count = i == 1 ? 4 : i == 2 ? 2 : 32;
        graph->node[i]->weight[0] = (q8_weight){weight, count};
    }
    return graph;
}

static q8_code apply(q8_graph *graph, const void *text, size_t size, q8_err *err)
{
    q8_given given[8];
    q8_table *table;
    q8_code code = q8_table_read(&table, "in.table", text, size, graph->arena, err);
    if (!code)
        code = q8_table_scales(given, table, graph, &fuzz_env, err);
    return code ? code : q8_quantize_given(graph, given, &fuzz_env, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static q8_err err;
    q8_arena *arena = fuzz_arena();
    q8_graph *graph = open_graph(arena);
    char *copy = malloc(size + 1); /* of its own, so that reading past the end is seen */
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    memset(&err, 0, sizeof(err));
    const q8_code code = apply(graph, copy, size, &err);
    fuzz_check(code, &err);
    free(copy);
    q8_buf text = {0};
    if (!code)
        fuzz_must(q8_table_write(&text, graph, &err), &err, "writing");
    if (text.size)
        fuzz_must(apply(open_graph(arena), text.data, text.size, &err), &err, "reading back");
    q8_buf_free(&text);
    q8_arena_close(&arena);
    return 0;
}
