#include "ncnn/ncnn.h"

#include "base/file.h"
#include "base/limits.h"
#include "ncnn/read.h"

q8_code q8_ncnn_read(q8_graph **graph, const char *param_name, const char *param, size_t param_size,
                     const char *bin_name, const unsigned char *bin, size_t bin_size,
                     q8_arena *arena, q8_err *err)
{
    *graph = NULL;
    q8_graph *made = q8_graph_new(arena);
    const char *file = q8_arena_strdup(arena, param_name);
    if (!made || !file)
        return q8_fail_nomem(err);
    if (param_size > Q8_MAX_PARAM_FILE) {
        const q8_loc loc = {.file = file};
        return q8_fail(err, Q8_EFORMAT, &loc, NULL, "a param file of %zu bytes; " Q8_LIMIT,
                       param_size, Q8_LIMIT_OF(Q8_MAX_PARAM_FILE));
    }
    q8_code code = q8_ncnn_read_param(made, file, param, param_size, err);
    if (!code && bin_name)
        code = q8_ncnn_read_bin(made, bin_name, bin, bin_size, err);
    if (!code)
        *graph = made;
    return code;
}

q8_code q8_ncnn_load(q8_graph **graph, const char *param, const char *bin, q8_arena *arena,
                     q8_err *err)
{
    q8_bytes text = {0}, weights = {0};
    *graph = NULL;
    q8_code code = bin ? q8_file_read_pair(&text, param, Q8_MAX_PARAM_FILE, &weights, bin,
                                           Q8_MAX_BIN_FILE, err)
                       : q8_file_read(&text, param, Q8_MAX_PARAM_FILE, err);
    if (!code)
        code = q8_ncnn_read(graph, param, (const char *)text.data, text.size, bin, weights.data,
                            weights.size, arena, err);
    q8_bytes_free(&text);
    q8_bytes_free(&weights);
    return code;
}
