/* The program: reads the command line, calls libq8, prints. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "message.h"
#include "options.h"
#include "progress.h"
#include "reach.h"
#include "show.h"
#include "verify.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_OUT_OF_REACH = 3,
    EXIT_INTERRUPTED = 130
};

static volatile int interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void catch_signals(void)
{
    /* SA_RESETHAND: a second Ctrl-C ends at once. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_warning(void *user, const q8_err *what)
{
    progress_clear(user);
    print_message(what, "warning");
}

static void on_note(void *user, const q8_err *what)
{
    progress_clear(user);
    print_message(what, "note");
}

static void on_progress(void *user, const char *stage, size_t done, size_t total)
{
    progress_update(user, stage, done, total);
}

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

static const char *size_text(double bytes, char *text, size_t size)
{
    if (bytes >= 1 << 20)
        snprintf(text, size, "%.1f MiB", bytes / (1 << 20));
    else
        snprintf(text, size, "%.1f KiB", bytes / (1 << 10));
    return text;
}

static void print_layers(const q8_model *model, bool all)
{
    bool header = false;
    for (size_t i = 0; i < q8_model_layer_count(model); i++) {
        const q8_layer_info layer = q8_model_layer(model, i);
        if (!all && layer.int8)
            continue;
        if (!header)
            printf("%-28s %-22s %-6s %s\n", "layer", "type", "runs", "input threshold / why float");
        header = true;
        if (layer.int8)
            printf("%-28s %-22s %-6s %.6g\n", layer.name, layer.type, "int8",
                   (double)layer.threshold);
        else
            printf("%-28s %-22s %-6s %s\n", layer.name, layer.type, "float", layer.reason);
    }
}

static void print_summary(const struct options *o, const q8_model *model,
                          const q8_calib_result *calib, const q8_verify_result *verified,
                          const q8_write_result *written, double seconds)
{
    char before[32], after[32];
    size_text(size_of_file(o->model), before, sizeof(before));
    size_text((double)(written->param_bytes + written->bin_bytes), after, sizeof(after));
    if (o->precision != Q8_INT8) {
        printf("%s: %s -> %s, %.2f s\n", o->precision == Q8_FP16 ? "fp16" : "fp32", before, after,
               seconds);
        return;
    }
    size_t int8 = 0;
    const size_t layers = q8_model_layer_count(model);
    for (size_t i = 0; i < layers; i++)
        int8 += q8_model_layer(model, i).int8;
    print_layers(model, o->verbose);
    if (verified->used > 0)
        verify_print(verified);
    printf(
        "int8: %zu of %zu layers with weights, %s -> %s, %zu pictures used, %zu skipped, %.2f s\n",
        int8, layers, before, after, calib->used, calib->skipped, seconds);
}

/* @param met false: not as accurate as asked */
static q8_code convert(const struct options *o, bool *met, const q8_env *env, q8_err *err)
{
    const double start = now();
    const q8_model_opts open = {
        .proto = o->proto, .model = o->model, .width = o->width, .height = o->height};
    const q8_calib_opts calib = {.images = o->images,
                                 .n_images = o->n_images,
                                 .limit = (size_t)o->limit,
                                 .strict = o->strict,
                                 .preprocess = o->preprocess};
    q8_quant_opts quant = {.method = (q8_method)o->method,
                           .compat = (q8_compat)o->compat,
                           .table = o->table,
                           .per_layer = o->group == 0,
                           .weight_bits = (q8_weight_bits)o->weight_bits,
                           .no_bias_correction = !o->bias_correct,
                           .no_equalise = !o->equalize,
                           .no_shift = !o->shift,
                           .no_requantise = !o->requantize,
                           .round_nearest = o->round == 0,
                           .pictures = &calib};
    const q8_output output = {
        .param = o->output_param, .bin = o->output_bin, .table = o->output_table};
    q8_model *model;
    q8_calib_result calibrated = {0};
    q8_verify_opts verify;
    q8_verify_result verified = {0};
    q8_reach_result reached = {.met = true};
    q8_write_result written;
    q8_code code = keep_float_split(&quant, o->keep_float, err);
    model = NULL;
    if (!code)
        code = q8_model_open(&model, &open, env, err);
    if (!code && o->precision == Q8_INT8 && !o->table)
        code = q8_calibrate(model, &calib, env, &calibrated, err);
    if (!code && o->precision == Q8_INT8 && reach_is_asked(o))
        code = reach_run(&reached, model, o, &quant, &calib, &calibrated, env, err);
    else if (!code && o->precision == Q8_INT8)
        code = q8_quantize(model, &quant, env, err);
    /* Without a layer that could be int8 no picture has been used; for a table none is needed. */
    const bool pictures = o->table ? o->n_images + o->n_verify > 0 : calibrated.used > 0;
    const bool verifies = !code && o->precision == Q8_INT8 && pictures &&
                          verify_choose(&verify, o, &calib, &calibrated);
    if (verifies)
        code = q8_verify(model, &verify, env, &verified, err);
    if (!code && interrupted)
        code = err->code = Q8_EINTR;
    if (!code)
        code = q8_write(model, (q8_precision)o->precision, &output, &written, err);
    if (!code && o->json)
        code = q8_write_json(o->json, model, &calibrated, verifies ? &verified : NULL,
                             reached.n_curve ? &reached : NULL, err);
    if (!code && o->report) {
        const q8_report_opts report = {
            .proto = o->proto,
            .model = o->model,
            .calibrated = o->table ? NULL : &calibrated,
            .verified = verifies ? &verified : NULL,
            .written = &written,
            .float_bytes = (uint64_t)size_of_file(o->model),
            .seconds = now() - start,
            .pictures = o->n_images > 0 && pictures ? &calib : NULL,
            .curve = reached.curve,
            .n_curve = reached.n_curve,
        };
        code = q8_report(o->report, model, &report, err);
    }
    if (!code && !o->quiet)
        print_summary(o, model, &calibrated, &verified, &written, now() - start);
    if (!code)
        reach_print(&reached, o);
    *met = reached.met;
    q8_reach_free(&reached);
    keep_float_free(&quant);
    q8_verify_free(&verified);
    q8_model_close(&model);
    return code;
}

int main(int argc, char **argv)
{
    static struct options options;
    static q8_err err;
    struct progress progress;
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        return show_main(argc - 1, argv + 1);
    if (!options_parse(&options, argc, argv))
        return EXIT_USAGE;
    if (options.help)
        options_help(stdout);
    if (options.version)
        printf("caffe-int8-to-ncnn %s\n", q8_version());
    if (options.help || options.version)
        return EXIT_DONE;
    catch_signals();
    progress_start(&progress, options.quiet ? PROGRESS_NEVER : options.progress);
    const q8_env env = {.user = &progress,
                        .warn = on_warning,
                        .note = options.quiet ? NULL : on_note,
                        .progress = on_progress,
                        .cancel = &interrupted,
                        .threads = options.threads};
    bool met;
    const q8_code code = convert(&options, &met, &env, &err);
    progress_clear(&progress);
    if (code == Q8_EINTR) {
        fputs("interrupted: nothing was written\n", stderr);
        return EXIT_INTERRUPTED;
    }
    if (code)
        print_message(&err, "error");
    if (!code && !met)
        return EXIT_OUT_OF_REACH;
    return code == Q8_OK ? EXIT_DONE : code == Q8_EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
