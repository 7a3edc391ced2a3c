/*
 * preprocess PROTOTXT OUTDIR RESIZE PIXEL MEAN NORM SOURCE...: writes what calibration would feed
 * the network, for tests to compare.
 *
 * RESIZE and PIXEL are positions in their enums; MEAN and NORM are "-" for not given, numbers with
 * commas between them, or (MEAN) a file. Input k of sample i goes to OUTDIR/i_k.f32; notes go to
 * stdout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/samples.h"
#include "dump.h"
#include "import/import.h"
#include "ops/rows.h"

static void print_note(void *user, const q8_err *what)
{
    static char text[sizeof(q8_err) + 64];
    (void)user;
    q8_err_format(what, "note", text, sizeof(text));
    puts(text);
}

/* "1,2,3" to numbers. @return how many; 0 for "-", -1 when it is something else */
static int numbers(const char *text, float *v)
{
    int n = 0;
    for (char *end; strcmp(text, "-") != 0 && n < 4; text = end + 1) {
        v[n++] = strtof(text, &end);
        if (end == text)
            return -1;
        if (*end != ',')
            break;
    }
    return n;
}

static q8_code write_floats(const char *path, const float *v, size_t n, q8_err *err)
{
    FILE *file = fopen(path, "wb");
    const bool written = file && fwrite(v, sizeof(*v), n, file) == n;
    return file && fclose(file) == 0 && written ? Q8_OK : q8_fail_errno(err, path, "write");
}

static q8_code write_input(const q8_samples *samples, size_t sample, int input,
                           const q8_shape *shape, const char *dir, q8_err *err)
{
    char path[4096];
    const size_t n = q8_shape_count(shape);
    float *values = malloc(n * sizeof(*values));
    snprintf(path, sizeof(path), "%s/%zu_%d.f32", dir, sample, input);
    q8_code code =
        values ? q8_samples_read(samples, sample, input, values, NULL, err) : q8_fail_nomem(err);
    if (!code)
        code = write_floats(path, values, n, err);
    free(values);
    return code;
}

static q8_code write_all(const q8_graph *graph, const q8_samples *samples, const char *dir,
                         q8_err *err)
{
    int input = 0;
    for (int k = 0; k < graph->n_nodes; k++) {
        if (graph->node[k]->op != &q8_op_input)
            continue;
        const q8_shape *shape = &graph->tensor[graph->node[k]->out[0]].shape;
        for (size_t i = 0; i < q8_samples_count(samples); i++) {
            const q8_code code = write_input(samples, i, input, shape, dir, err);
            if (code)
                return code;
        }
        input++;
    }
    return Q8_OK;
}

static q8_code run(int argc, char **argv, q8_arena *arena, q8_err *err)
{
    q8_calib_opts opts = {.images = (const char *const *)(argv + 7), .n_images = (size_t)argc - 7};
    q8_preprocess *pre = &opts.preprocess;
    const q8_env env = {.note = print_note};
    const q8_import_opts import = {0};
    q8_caffe_net *net;
    q8_graph *graph;
    q8_samples *samples = NULL;
    pre->resize = atoi(argv[3]);
    pre->pixel = atoi(argv[4]);
    pre->n_mean = numbers(argv[5], pre->mean);
    pre->n_norm = numbers(argv[6], pre->norm);
    if (pre->n_mean < 0) {
        pre->n_mean = 0;
        pre->mean_file = argv[5];
    }
    q8_code code = q8_caffe_read(&net, argv[1], NULL, arena, NULL, err);
    if (!code)
        code = q8_import_caffe(&graph, net, &import, arena, NULL, err);
    if (!code)
        code = q8_samples_open(&samples, graph, &opts, &net->transform, &env, err);
    if (!code)
        code = write_all(graph, samples, argv[2], err);
    q8_samples_close(&samples);
    return code;
}

int main(int argc, char **argv)
{
    static q8_err err;
    if (argc < 8) {
        fputs("usage: preprocess PROTOTXT OUTDIR RESIZE PIXEL MEAN NORM SOURCE...\n", stderr);
        return 2;
    }
    q8_arena *arena = q8_arena_open();
    const q8_code code = arena ? run(argc, argv, arena, &err) : q8_fail_nomem(&err);
    q8_arena_close(&arena);
    return dump_exit(code, &err);
}
