/* q8_report(): what became of a model, for people. */
#include <string.h>

#include "api/gather.h"
#include "base/file.h"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static q8_code gather(q8_report_data *data, const q8_model *model, const q8_report_opts *opts,
                      q8_arena *arena, q8_err *err)
{
    q8_code code = q8_gather_layers(data, model, opts->verified, arena, err);
    if (!code)
        code = q8_gather_tensors(data, model, arena, err);
    if (!code && opts->pictures)
        code = q8_gather_pictures(data, model, opts->pictures, arena, err);
    return code;
}

static q8_code render(q8_buf *page, const q8_model *model, const q8_report_opts *opts,
                      q8_arena *arena, q8_err *err)
{
    const q8_write_result *written = opts->written;
    q8_report_data data = {
        .proto = opts->proto ? last_part(opts->proto) : "",
        .model = opts->model ? last_part(opts->model) : "",
        .float_bytes = opts->float_bytes,
        .int8_bytes = written ? written->param_bytes + written->bin_bytes : 0,
        .seconds = opts->seconds,
        .calibrated = opts->calibrated,
        .verified = opts->verified,
        .curve = opts->curve,
        .n_curve = opts->n_curve,
    };
    data.title = data.model;
    q8_code code = gather(&data, model, opts, arena, err);
    if (!code) {
        q8_report_html(page, &data);
        code = page->failed ? q8_fail_nomem(err) : Q8_OK;
    }
    for (size_t i = 0; i < data.n_pictures; i++)
        q8_buf_free(&data.picture[i].png);
    return code;
}

q8_code q8_report(const char *path, const q8_model *model, const q8_report_opts *opts, q8_err *err)
{
    q8_buf page = {0};
    if (!model->int8)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "the model has not been quantised");
    q8_arena *arena = q8_arena_open();
    q8_code code = arena ? render(&page, model, opts, arena, err) : q8_fail_nomem(err);
    if (!code)
        code = q8_file_replace(path, page.data, page.size, err);
    q8_buf_free(&page);
    q8_arena_close(&arena);
    return code;
}
