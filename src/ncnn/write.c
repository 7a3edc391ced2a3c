#include "ncnn/ncnn.h"

#include <string.h>

#include "base/file.h"
#include "base/replace.h"
#include "ncnn/attr.h"
#include "ncnn/check.h"
#include "ncnn/table.h"
#include "passes/passes.h"

/* Puts float nodes in the place of int8 ones, which may be shared with other graphs. */
static q8_code drop_quant(q8_graph *graph, q8_err *err)
{
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (!node->quant && !q8_int8_term(node))
            continue;
        q8_node *copy = q8_arena_alloc(graph->arena, sizeof(*copy));
        void *attr = q8_arena_alloc(graph->arena, node->op->attr_size);
        if (!copy || !attr)
            return q8_fail_nomem(err);
        *copy = *node;
        copy->attr = memcpy(attr, node->attr, node->op->attr_size);
        copy->quant = NULL;
        q8_int8_term_clear(copy);
        graph->node[i] = copy;
    }
    return Q8_OK;
}

static q8_code prepare(q8_graph *graph, q8_precision precision, q8_err *err)
{
    q8_code code = q8_pass_restore_rank(graph, err);
    if (!code)
        code = q8_pass_insert_splits(graph, err);
    if (!code && precision != Q8_INT8)
        code = drop_quant(graph, err);
    return code;
}

/* Makes all files' contents and writes them under temporary names. */
static q8_code write_temps(q8_replace *files, const q8_graph *graph, bool fp16,
                           const q8_output *output, q8_write_result *result, q8_err *err)
{
    q8_buf param = {0}, bin = {0}, table = {0};
    q8_code code = q8_ncnn_param(graph, &param, err);
    if (!code)
        code = q8_ncnn_bin(graph, fp16, &bin, err);
    if (!code)
        code = q8_replace_add(files, output->param, param.data, param.size, err);
    if (!code)
        code = q8_replace_add(files, output->bin, bin.data, bin.size, err);
    if (!code && output->table)
        code = q8_table_write(&table, graph, err);
    if (!code && output->table)
        code = q8_replace_add(files, output->table, table.data, table.size, err);
    *result = (q8_write_result){param.size, bin.size};
    q8_buf_free(&param);
    q8_buf_free(&bin);
    q8_buf_free(&table);
    return code;
}

/* Reads the temporary model back and compares it with the graph. */
static q8_code check_temps(const q8_replace *files, const q8_graph *graph, bool fp16,
                           const q8_output *output, const q8_write_result *size, q8_err *err)
{
    q8_bytes param = {0}, bin = {0};
    q8_graph *back;
    q8_arena *arena = q8_arena_open();
    if (!arena)
        return q8_fail_nomem(err);
    q8_code code = q8_file_read(&param, q8_replace_temp_path(files, 0), size->param_bytes, err);
    if (!code)
        code = q8_file_read(&bin, q8_replace_temp_path(files, 1), size->bin_bytes, err);
    if (!code)
        code = q8_ncnn_read(&back, output->param, (const char *)param.data, param.size, output->bin,
                            bin.data, bin.size, arena, err);
    if (!code)
        code = q8_ncnn_check(graph, back, fp16, err);
    q8_bytes_free(&param);
    q8_bytes_free(&bin);
    q8_arena_close(&arena);
    return code;
}

static q8_code add_beside(q8_replace *files, const q8_beside *beside, const q8_write_result *size,
                          size_t index, q8_err *err)
{
    q8_buf bytes = {0};
    q8_code code = beside->make(beside->user, size, &bytes, err);
    if (!code && bytes.failed)
        code = q8_fail_nomem(err);
    if (!code)
        code = q8_replace_add(files, beside->path, bytes.data, bytes.size, err);
    if (!code)
        code = q8_replace_check(files, index, bytes.data, bytes.size, err);
    q8_buf_free(&bytes);
    return code;
}

q8_code q8_ncnn_write(q8_graph *graph, q8_precision precision, const q8_output *output,
                      const q8_beside *beside, int n_beside, q8_write_result *result, q8_err *err)
{
    const bool fp16 = precision == Q8_FP16;
    q8_replace *files = NULL;
    q8_write_result size = {0};
    q8_code code = prepare(graph, precision, err);
    if (!code)
        code = q8_replace_open(&files, err);
    if (!code)
        code = write_temps(files, graph, fp16, output, &size, err);
    if (!code)
        code = check_temps(files, graph, fp16, output, &size, err);
    size_t at = output->table ? 3 : 2;
    for (int i = 0; i < n_beside && !code; i++)
        if (beside[i].path)
            code = add_beside(files, &beside[i], &size, at++, err);
    if (!code)
        code = q8_replace_commit(files, err);
    q8_replace_close(&files);
    if (!code && result)
        *result = size;
    return code;
}
