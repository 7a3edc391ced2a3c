#include "convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "reach.h"
#include "stats.h"
#include "table.h"
#include "verify.h"

/* What a conversion consists of, and what has come of it so far. */
struct conversion {
    const struct options *o;
    const q8_env *env;
    q8_err *err;
    double start;
    q8_calib_opts calib;
    q8_quant_opts quant;
    q8_gpu *gpu; /* NULL: none */
    q8_model *model;
    q8_calib_result calibrated;
    bool is_verified;
    q8_verify_result verified;
    q8_reach_result reached;
    q8_write_result written;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double size_of_file(const char *path)
{
    struct stat st = {0};
    stat(path, &st);
    return (double)st.st_size;
}

/* Where the float model's weights are. */
static const char *weights_file(const struct options *o)
{
    return o->param ? o->bin : o->model;
}

/* --- the stages ------------------------------------------------------------------------------- */

/* Decoding takes up to 9 bytes a pixel (a progressive JPEG's), and there are several threads. */
enum { PIXEL_SHARE = 64 };

/* Of the steps asked for, only these choose by them. */
static bool needs_channel_histograms(const struct options *o)
{
    return o->equalize || o->method == Q8_METHOD_AUTO || o->stats_out;
}

static void set_up(struct conversion *c)
{
    const struct options *o = c->o;
    c->calib = (q8_calib_opts){.images = o->images,
                               .n_images = o->n_images,
                               .limit = (size_t)o->limit,
                               .strict = o->strict,
                               .batch = o->batch,
                               .max_pixels = o->max_memory / PIXEL_SHARE,
                               .fast = o->fast,
                               .no_channel_histograms = !needs_channel_histograms(o),
                               .preprocess = o->preprocess,
                               .checkpoint = stats_checkpoint(o, c->env->team),
                               .checkpoint_seconds = o->checkpoint};
    c->quant = (q8_quant_opts){.method = (q8_method)o->method,
                               .compat = (q8_compat)o->compat,
                               .table = o->table,
                               .per_layer = o->group == 0,
                               .weight_bits = (q8_weight_bits)o->weight_bits,
                               .no_bias_correction = !o->bias_correct,
                               .no_equalise = !o->equalize,
                               .no_shift = !o->shift,
                               .no_requantise = !o->requantize,
                               .round_nearest = o->round == 0,
                               .pictures = o->n_images > 0 ? &c->calib : NULL};
    c->reached.met = true;
}

static q8_code open_model(struct conversion *c)
{
    const q8_model_opts open = {.proto = c->o->proto,
                                .model = c->o->model,
                                .width = c->o->width,
                                .height = c->o->height,
                                .param = c->o->param,
                                .bin = c->o->bin};
    q8_code code = device_open(&c->gpu, c->o, c->env, c->err);
    code = q8_agree(c->env, code, c->err);
    if (!code)
        code = q8_model_open(&c->model, &open, c->env, c->err);
    if (!code)
        q8_model_use_gpu(c->model, c->gpu);
    return code;
}

static q8_code calibrate(struct conversion *c)
{
    if (c->o->table)
        return Q8_OK;
    if (c->o->stats_out && !c->o->n_stats && !c->calib.checkpoint) {
        snprintf(c->err->text, sizeof(c->err->text), "out of memory");
        return c->err->code = Q8_ENOMEM;
    }
    return c->o->n_stats ? stats_read(c->model, c->o, &c->calib, c->env, &c->calibrated, c->err)
                         : q8_calibrate(c->model, &c->calib, c->env, &c->calibrated, c->err);
}

static q8_code quantize(struct conversion *c)
{
    q8_code code = keep_float_split(&c->quant, c->o->keep_float, c->err);
    if (code)
        return code;
    return reach_is_asked(c->o) ? reach_run(&c->reached, c->model, c->o, &c->quant, &c->calib,
                                            &c->calibrated, c->env, c->err)
                                : q8_quantize(c->model, &c->quant, c->env, c->err);
}

/* Without a layer that could be int8 no picture has been used; for a table none is needed, nor with
 * statistics. */
static bool has_pictures(const struct conversion *c)
{
    return c->o->table || c->o->n_stats ? c->o->n_images + c->o->n_verify > 0
                                        : c->calibrated.used > 0;
}

static q8_code verify(struct conversion *c)
{
    q8_verify_opts opts;
    if (!has_pictures(c) || !verify_choose(&opts, c->o, &c->calib, &c->calibrated))
        return Q8_OK;
    const q8_code code = q8_verify(c->model, &opts, c->env, &c->verified, c->err);
    c->is_verified = code == Q8_OK;
    return code;
}

static q8_code write_all(struct conversion *c)
{
    const struct options *o = c->o;
    const q8_report_opts about = {
        .proto = o->param ? o->param : o->proto,
        .model = weights_file(o),
        .calibrated = o->table ? NULL : &c->calibrated,
        .verified = c->is_verified ? &c->verified : NULL,
        .reached = c->reached.n_curve ? &c->reached : NULL,
        .float_bytes = (uint64_t)size_of_file(weights_file(o)),
        .seconds = now() - c->start,
        .pictures = o->n_images > 0 && has_pictures(c) ? &c->calib : NULL,
    };
    const q8_output output = {.param = o->output_param,
                              .bin = o->output_bin,
                              .table = o->output_table,
                              .stats = o->stats_out,
                              .json = o->json,
                              .report = o->report,
                              .about = &about};
    if (__atomic_load_n(c->env->cancel, __ATOMIC_RELAXED))
        return c->err->code = Q8_EINTR;
    return q8_write(c->model, (q8_precision)o->precision, &output, &c->written, c->err);
}

/* --- what is printed -------------------------------------------------------------------------- */

static const char *size_text(double bytes, char *text, size_t size)
{
    if (bytes >= 1 << 20)
        snprintf(text, size, "%.1f MiB", bytes / (1 << 20));
    else
        snprintf(text, size, "%.1f KiB", bytes / (1 << 10));
    return text;
}

static void set_row(struct table *table, size_t row, const q8_layer_info *layer)
{
    table_set(table, row, 0, "%s", layer->name);
    table_set(table, row, 1, "%s", layer->type);
    table_set(table, row, 2, "%s", layer->int8 ? "int8" : "float");
    if (layer->int8)
        table_set(table, row, 3, "%.6g", (double)layer->threshold);
    else
        table_set(table, row, 3, "%s", layer->reason);
}

/* All layers with weights, or those of them that stay float. */
static void print_layers(const q8_model *model, bool all)
{
    static const struct column columns[] = {
        {.title = "layer", .give_way = CUT_MIDDLE, .narrowest = 12},
        {.title = "type", .give_way = CUT_END, .narrowest = 8, .droppable = true},
        {.title = "runs", .give_way = CUT_NEVER},
        {.title = "input threshold / why float", .give_way = CUT_NEVER},
    };
    const size_t layers = q8_model_layer_count(model);
    size_t rows = 0, row = 0;
    for (size_t i = 0; i < layers; i++)
        rows += all || !q8_model_layer(model, i).int8;
    if (rows == 0)
        return;
    struct table *table = table_open(columns, sizeof(columns) / sizeof(columns[0]), rows);
    for (size_t i = 0; table && i < layers; i++) {
        const q8_layer_info layer = q8_model_layer(model, i);
        if (all || !layer.int8)
            set_row(table, row++, &layer);
    }
    if (table)
        table_print(table, terminal_width(stdout), stdout);
    table_close(&table);
}

static void print_fast(const q8_fast_info *fast)
{
    char where[256];
    q8_printable(fast->where ? fast->where : "", where, sizeof(where));
    if (fast->used && fast->n_tensors == 0)
        printf("calibrated in bf16; no picture was run in fp32 too\n");
    else if (fast->used)
        printf("bf16 against fp32 on %zu pictures: thresholds differ by %.2g %% (median), %.2g %% "
               "at most, %s\n",
               fast->pictures, 100 * fast->median, 100 * fast->largest, where);
}

static void print_summary(const struct conversion *c)
{
    char before[32], after[32];
    const struct options *o = c->o;
    size_text(size_of_file(weights_file(o)), before, sizeof(before));
    size_text((double)(c->written.param_bytes + c->written.bin_bytes), after, sizeof(after));
    const double seconds = now() - c->start;
    if (stats_is_all(o)) {
        printf("statistics: %s, %zu pictures used, %zu skipped, %.2f s\n",
               size_text(size_of_file(o->stats_out), after, sizeof(after)), c->calibrated.used,
               c->calibrated.skipped, seconds);
        return;
    }
    if (o->precision != Q8_INT8) {
        printf("%s: %s -> %s, %.2f s\n", o->precision == Q8_FP16 ? "fp16" : "fp32", before, after,
               seconds);
        return;
    }
    size_t int8 = 0;
    const size_t layers = q8_model_layer_count(c->model);
    for (size_t i = 0; i < layers; i++)
        int8 += q8_model_layer(c->model, i).int8;
    print_layers(c->model, o->verbose);
    const q8_fast_info fast = q8_model_fast(c->model);
    print_fast(&fast);
    if (c->verified.used > 0)
        verify_print(&c->verified, o);
    printf(
        "int8: %zu of %zu layers with weights, %s -> %s, %zu pictures used, %zu skipped, %.2f s\n",
        int8, layers, before, after, c->calibrated.used, c->calibrated.skipped, seconds);
}

/* --- all of it -------------------------------------------------------------------------------- */

static q8_code run(struct conversion *c)
{
    q8_code code = open_model(c);
    if (!code && c->o->precision == Q8_INT8)
        code = calibrate(c);
    const bool makes_int8 = c->o->precision == Q8_INT8 && !stats_is_all(c->o);
    if (!code && makes_int8)
        code = quantize(c);
    if (!code && makes_int8)
        code = verify(c);
    code = q8_agree(c->env, code, c->err);
    if (!code && c->env->team->rank == 0) /* one for all of a team */
        code =
            stats_is_all(c->o) ? q8_stats_write(c->model, c->o->stats_out, c->err) : write_all(c);
    /* What stands there is not undone by an interrupt. */
    q8_env written = *c->env;
    written.cancel = NULL;
    return q8_agree(&written, code, c->err);
}

q8_code convert(const struct options *o, bool *met, const q8_env *env, q8_err *err)
{
    struct conversion c = {.o = o, .env = env, .err = err, .start = now()};
    set_up(&c);
    const q8_code code = run(&c);
    /* What the checkpoint is for has been written; where no picture was used it is another's. */
    if (!code && c.calib.checkpoint && c.calibrated.used > 0)
        unlink(c.calib.checkpoint);
    if (!code && !o->quiet)
        print_summary(&c);
    if (!code)
        reach_print(&c.reached, o);
    *met = c.reached.met;
    q8_reach_free(&c.reached);
    keep_float_free(&c.quant);
    free((void *)c.calib.checkpoint);
    q8_verify_free(&c.verified);
    q8_model_close(&c.model);
    q8_gpu_close(&c.gpu);
    return code;
}
