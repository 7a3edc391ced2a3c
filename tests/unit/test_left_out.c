/* Calibrating without histograms by channel: the same model where nothing needs them. */
#include <q8/q8.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EXAMPLES Q8_SOURCE_DIR "/examples/"

static const char *const images[] = {EXAMPLES "calib/0001.jpg", EXAMPLES "calib/0002.jpg"};
static char folder[] = "/tmp/test_left_out_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[2][64];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static q8_calib_opts opts_with(bool histograms)
{
    return (q8_calib_opts){.images = images,
                           .n_images = 2,
                           .preprocess = {.n_norm = 1, .norm = {0.017f}},
                           .no_channel_histograms = !histograms};
}

static q8_model *open_calibrated(bool histograms)
{
    const q8_model_opts open = {.proto = EXAMPLES "shapes.prototxt",
                                .model = EXAMPLES "shapes.caffemodel"};
    const q8_calib_opts opts = opts_with(histograms);
    q8_model *model;
    q8_calib_result result;
    q8_err err = {0};
    assert_int_equal(q8_model_open(&model, &open, NULL, &err), Q8_OK);
    assert_int_equal(q8_calibrate(model, &opts, NULL, &result, &err), Q8_OK);
    assert_int_equal(result.used, 2);
    return model;
}

/* Quantises in the way that needs no such histograms, and reads what was written. */
static size_t convert(bool histograms, q8_method method, char *bytes, size_t size)
{
    q8_model *model = open_calibrated(histograms);
    const q8_quant_opts quant = {.method = method, .no_equalise = true};
    const q8_output output = {.param = in_folder("a.param"), .bin = in_folder("a.bin")};
    q8_write_result written;
    q8_err err = {0};
    assert_int_equal(q8_quantize(model, &quant, NULL, &err), Q8_OK);
    assert_int_equal(q8_write(model, Q8_INT8, &output, &written, &err), Q8_OK);
    q8_model_close(&model);
    size_t n = 0;
    const char *const paths[] = {output.param, output.bin};
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(paths[i], "rb");
        assert_non_null(file);
        n += fread(bytes + n, 1, size - n, file);
        fclose(file);
        assert_int_equal(unlink(paths[i]), 0);
    }
    assert_true(n > 0 && n < size);
    return n;
}

static void test_same_model(void **state)
{
    (void)state;
    static char with[1 << 20], without[1 << 20];
    static const q8_method methods[] = {Q8_METHOD_KL, Q8_METHOD_MSE, Q8_METHOD_MINMAX,
                                        Q8_METHOD_PERCENTILE, Q8_METHOD_ACIQ};
    for (int i = 0; i < 5; i++) {
        const size_t n = convert(true, methods[i], with, sizeof(with));
        assert_int_equal(convert(false, methods[i], without, sizeof(without)), n);
        assert_memory_equal(with, without, n);
    }
}

static void check_quantize_refused(q8_model *model, const q8_quant_opts *opts, const char *text)
{
    q8_err err = {0};
    assert_int_equal(q8_quantize(model, opts, NULL, &err), Q8_EINVAL);
    assert_string_equal(err.text, text);
}

static void test_what_needs_them(void **state)
{
    (void)state;
    q8_model *model = open_calibrated(false);
    const q8_quant_opts equalise = {.method = Q8_METHOD_KL};
    const q8_quant_opts by_trials = {.method = Q8_METHOD_AUTO, .no_equalise = true};
    const q8_quant_opts neither = {.method = Q8_METHOD_KL, .no_equalise = true};
    check_quantize_refused(model, &equalise,
                           "equalising needs a calibration with histograms by channel");
    check_quantize_refused(model, &by_trials,
                           "the method auto needs a calibration with histograms by channel");
    q8_err err = {0};
    assert_int_equal(q8_stats_write(model, in_folder("stats"), &err), Q8_EINVAL);
    assert_string_equal(err.text,
                        "a file of statistics needs a calibration with histograms by channel");
    assert_int_equal(access(in_folder("stats"), F_OK), -1);
    err = (q8_err){0};
    assert_int_equal(q8_quantize(model, &neither, NULL, &err), Q8_OK);

    q8_calib_opts opts = opts_with(false);
    q8_calib_result result;
    opts.checkpoint = in_folder("checkpoint");
    assert_int_equal(q8_calibrate(model, &opts, NULL, &result, &err), Q8_EINVAL);
    assert_string_equal(err.text, "a checkpoint holds histograms by channel");

    /* Another calibration of the same model makes up for it. */
    opts = opts_with(true);
    err = (q8_err){0};
    assert_int_equal(q8_calibrate(model, &opts, NULL, &result, &err), Q8_OK);
    assert_int_equal(q8_quantize(model, &equalise, NULL, &err), Q8_OK);
    q8_model_close(&model);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_model),
        cmocka_unit_test(test_what_needs_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
