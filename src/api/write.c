/* q8_write(): the model and what is told of it, as one step. */
#include "api/gather.h"
#include "api/stats.h"
#include "ncnn/ncnn.h"
#include "passes/passes.h"
#include "quant/saturate.h"

/* What the files beside the model are made of. */
struct writing {
    const q8_model *model;
    q8_report_opts about;
};

static q8_code make_stats(void *user, const q8_write_result *size, q8_buf *bytes, q8_err *err)
{
    (void)size;
    return q8_stats_bytes(((struct writing *)user)->model, bytes, err);
}

static q8_code make_json(void *user, const q8_write_result *size, q8_buf *bytes, q8_err *err)
{
    const struct writing *w = user;
    (void)size;
    return q8_json_make(bytes, w->model, &w->about, err);
}

static q8_code make_report(void *user, const q8_write_result *size, q8_buf *bytes, q8_err *err)
{
    const struct writing *w = user;
    return q8_report_make(bytes, w->model, &w->about, size, err);
}

q8_code q8_write(const q8_model *model, q8_precision precision, const q8_output *output,
                 q8_write_result *result, q8_err *err)
{
    if (precision != Q8_INT8 && output->table)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "a float model has no calibration table");
    if (precision == Q8_INT8 && !model->int8)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has not been quantised");
    if (precision != Q8_INT8 && (output->json || output->report))
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "JSON and report tell of an int8 model");
    const q8_graph *graph = precision == Q8_INT8 ? model->int8 : model->unsplit;
    struct writing w = {model, output->about ? *output->about : (q8_report_opts){0}};
    const q8_beside beside[] = {{output->stats, make_stats, &w},
                                {output->json, make_json, &w},
                                {output->report, make_report, &w}};
    q8_arena *arena = q8_arena_open();
    q8_graph *copy = arena ? q8_graph_copy(graph, arena) : NULL;
    q8_code code = copy ? q8_drop_saturated_clips(copy, err) : q8_fail_nomem(err);
    if (!code)
        code = q8_ncnn_write(copy, precision, output, beside, sizeof(beside) / sizeof(beside[0]),
                             result, err);
    q8_arena_close(&arena);
    return code;
}
