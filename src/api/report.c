/* What became of a model, for people. */
#include <string.h>

#include "api/gather.h"

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

static void describe(q8_report_data *data, const q8_report_opts *about, const q8_write_result *size)
{
    *data = (q8_report_data){
        .proto = about->proto ? last_part(about->proto) : "",
        .model = about->model ? last_part(about->model) : "",
        .float_bytes = about->float_bytes,
        .int8_bytes = size->param_bytes + size->bin_bytes,
        .seconds = about->seconds,
        .calibrated = about->calibrated,
        .verified = about->verified,
    };
    data->title = data->model;
    if (about->reached) {
        data->curve = about->reached->curve;
        data->n_curve = about->reached->n_curve;
    }
}

q8_code q8_report_make(q8_buf *page, const q8_model *model, const q8_report_opts *about,
                       const q8_write_result *size, q8_err *err)
{
    q8_report_data data;
    describe(&data, about, size);
    q8_arena *arena = q8_arena_open();
    const q8_code code = arena ? gather(&data, model, about, arena, err) : q8_fail_nomem(err);
    if (!code)
        q8_report_html(page, &data);
    for (size_t i = 0; i < data.n_pictures; i++)
        q8_buf_free(&data.picture[i].png);
    q8_arena_close(&arena);
    return code;
}
