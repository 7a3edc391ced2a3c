#include "api/given.h"

#include "base/file.h"
#include "base/limits.h"
#include "calib/older_tools.h"
#include "ncnn/table.h"
#include "quant/older_scales.h"

static q8_code from_table(q8_given *given, q8_graph *graph, const char *path, const q8_env *env,
                          q8_err *err)
{
    q8_bytes bytes = {0};
    q8_table *table;
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_TABLE_FILE, err);
    if (!code)
        code = q8_table_read(&table, path, (const char *)bytes.data, bytes.size, graph->arena, err);
    if (!code)
        code = q8_table_scales(given, table, graph, env, err);
    q8_bytes_free(&bytes);
    return code;
}

static q8_code as_older_tool(q8_given *given, q8_graph *graph, float *threshold,
                             const q8_given_of *what, const q8_env *env, q8_err *err)
{
    q8_samples *samples = NULL;
    if (!what->opts->pictures)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the older tools' thresholds need pictures");
    if (what->calibration->n_tensors == 0)
        return q8_older_scales(given, graph, threshold, what->opts, err);
    q8_code code =
        q8_samples_open(&samples, what->exact, what->opts->pictures, what->transform, NULL, err);
    const q8_older_tool_of tool = {
        .compat = what->opts->compat,
        .graph = what->exact,
        .stats = (const q8_stats *const *)what->calibration->stats,
        .samples = samples,
        .strict = what->opts->pictures->strict,
        .backend = what->gpu ? Q8_BACKEND_GPU : Q8_BACKEND_CPU,
        .gpu = what->gpu,
    };
    if (!code)
        code = q8_older_tool_thresholds(threshold, &tool, env, err);
    if (!code)
        code = q8_older_scales(given, graph, threshold, what->opts, err);
    q8_samples_close(&samples);
    return code;
}

q8_code q8_quantize_as_given(q8_graph *graph, float *threshold, const q8_given_of *what,
                             const q8_env *env, q8_err *err)
{
    const q8_quant_opts *opts = what->opts;
    if (opts->table && opts->compat)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "scales are either a table's or those of an older tool");
    q8_given *given = q8_arena_array(graph->arena, (size_t)graph->n_nodes + 1, sizeof(*given));
    if (!given)
        return q8_fail_nomem(err);
    q8_code code = opts->table ? from_table(given, graph, opts->table, env, err)
                               : as_older_tool(given, graph, threshold, what, env, err);
    if (!code)
        code = q8_quantize_given(graph, given, env, err);
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        const q8_node *node = graph->node[i];
        if (node->quant)
            threshold[node->in[0]] = 127 / node->quant->bottom_scale;
    }
    return code;
}
