#include "ncnn/read.h"

#include "base/limits.h"
#include "ncnn/ncnn.h"

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
        return q8_fail(err, Q8_EFORMAT, &loc, NULL, "too large for a param file");
    }
    q8_code code = q8_ncnn_read_param(made, file, param, param_size, err);
    if (!code)
        code = q8_ncnn_read_bin(made, bin_name, bin, bin_size, err);
    if (!code)
        *graph = made;
    return code;
}
