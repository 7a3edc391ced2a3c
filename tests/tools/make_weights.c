/* make_weights PROTOTXT CAFFEMODEL: writes random weights for a prototxt. */
#include <stdio.h>
#include <stdlib.h>

#include "dump.h"
#include "import/import.h"
#include "random_weights.h"

static q8_code make(const char *proto, const char *model, q8_arena *arena, q8_err *err)
{
    q8_caffe_net *net;
    q8_graph *graph;
    q8_code code = q8_caffe_read(&net, proto, NULL, arena, NULL, err);
    if (code)
        return code;
    random_weights *weights = random_weights_open(net, arena);
    if (!weights)
        return q8_fail_nomem(err);
    const q8_weight_source source = random_weights_source(weights);
    const q8_import_opts opts = {.weights = &source};
    code = q8_import_caffe(&graph, net, &opts, arena, NULL, err);
    if (code)
        return code;
    size_t size;
    const unsigned char *bytes = random_weights_pack(weights, &size);
    FILE *file = bytes ? fopen(model, "wb") : NULL;
    const bool written = file && fwrite(bytes, 1, size, file) == size;
    if (!file || fclose(file) != 0 || !written)
        return q8_fail_errno(err, model, "write");
    return Q8_OK;
}

int main(int argc, char **argv)
{
    static q8_err err;
    if (argc != 3) {
        fputs("usage: make_weights PROTOTXT CAFFEMODEL\n", stderr);
        return 2;
    }
    q8_arena *arena = q8_arena_open();
    const q8_code code = arena ? make(argv[1], argv[2], arena, &err) : q8_fail_nomem(&err);
    q8_arena_close(&arena);
    return dump_exit(code, &err);
}
