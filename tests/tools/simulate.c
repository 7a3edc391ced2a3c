/*
 * simulate PARAM BIN BACKEND OUTDIR INPUT...: runs an int8 ncnn model in the simulator and writes
 * every tensor. BACKEND is plain or cpu. For OUTDIR and INPUTs see dump.h.
 */
#include <stdio.h>

#include "base/file.h"
#include "dump.h"
#include "ncnn/ncnn.h"
#include "verify/simulate.h"

static q8_code read_model(q8_graph **graph, char **paths, q8_arena *arena, q8_err *err)
{
    q8_bytes param = {0}, bin = {0};
    q8_code code = q8_file_read(&param, paths[0], (size_t)1 << 30, err);
    if (!code)
        code = q8_file_read(&bin, paths[1], (size_t)1 << 32, err);
    if (!code)
        code = q8_ncnn_read(graph, paths[0], (const char *)param.data, param.size, paths[1],
                            bin.data, bin.size, arena, err);
    q8_bytes_free(&param);
    q8_bytes_free(&bin);
    return code;
}

int main(int argc, char **argv)
{
    static q8_err err;
    if (argc < 5) {
        fputs("usage: simulate PARAM BIN plain|cpu OUTDIR INPUT...\n", stderr);
        return 2;
    }
    q8_graph *graph, *simulation;
    q8_arena *arena = q8_arena_open();
    q8_code code = arena ? read_model(&graph, argv + 1, arena, &err) : q8_fail_nomem(&err);
    if (!code)
        code = q8_simulate_graph(&simulation, graph, arena, &err);
    if (!code)
        code = dump_forward(simulation, argv[3], argv + 4, argc - 4, &err);
    q8_arena_close(&arena);
    return dump_exit(code, &err);
}
