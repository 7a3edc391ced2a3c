/*
 * forward PROTOTXT CAFFEMODEL BACKEND OUTDIR INPUT...: runs the float network once and writes every
 * tensor, for tests to compare.
 *
 * BACKEND is plain, cpu or gpu; with "-raw" behind it the graph is run as imported, before any
 * pass. For OUTDIR and INPUTs see dump.h.
 */
#include <stdio.h>
#include <string.h>

#include "dump.h"
#include "import/import.h"
#include "passes/passes.h"

static q8_code load_and_run(int argc, char **argv, q8_arena *arena, q8_err *err)
{
    const q8_import_opts opts = {0};
    q8_caffe_net *net;
    q8_graph *graph;
    q8_code code = q8_caffe_read(&net, argv[1], argv[2], arena, NULL, err);
    if (!code)
        code = q8_import_caffe(&graph, net, &opts, arena, NULL, err);
    if (!code && !strstr(argv[3], "-raw"))
        code = q8_passes_optimise(graph, err);
    if (!code)
        code = dump_forward(graph, argv[3], argv + 4, argc - 4, err);
    return code;
}

int main(int argc, char **argv)
{
    static q8_err err;
    if (argc < 5) {
        fputs("usage: forward PROTOTXT CAFFEMODEL plain|cpu|gpu[-raw] OUTDIR INPUT...\n", stderr);
        return 2;
    }
    q8_arena *arena = q8_arena_open();
    const q8_code code = arena ? load_and_run(argc, argv, arena, &err) : q8_fail_nomem(&err);
    q8_arena_close(&arena);
    return dump_exit(code, &err);
}
