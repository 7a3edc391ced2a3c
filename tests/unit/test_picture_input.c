/* From a picture to the network's input: channel order, grey, resizing, mean and norm, and what the
 * prototxt says of them. */
#include "test_picture.h"

#include <unistd.h>

#include "calib/preprocess.h"

/* Two pixels, no resizing. */
static unsigned char two[] = {10, 20, 30, 255, 0, 128};
static const q8_picture picture = {2, 1, two, 0};

static q8_arena *arena;
static char notes[1024];

static void on_note(void *user, const q8_err *what)
{
    (void)user;
    strcat(notes, what->text);
    strcat(notes, "\n");
}

static const q8_env env = {.note = on_note};

static q8_code open_prep(q8_prep *prep, const q8_preprocess *pre, const q8_caffe_transform *t,
                         int channels, int height, int width, q8_err *err)
{
    const q8_shape shape = {3, {channels, height, width}};
    notes[0] = 0;
    memset(err, 0, sizeof(*err));
    return q8_prep_open(prep, pre, t, &shape, arena, &env, err);
}

static void to_input(const q8_picture *p, const q8_preprocess *pre, int channels, int height,
                     int width, float *out)
{
    q8_prep prep;
    q8_picture resized = {0};
    q8_err err;
    if (open_prep(&prep, pre, NULL, channels, height, width, &err) != Q8_OK ||
        q8_prep_picture(&prep, p, &resized, out, &err) != Q8_OK)
        fail_msg("%s", err.text);
    q8_picture_free(&resized);
}

static void check_values(const float *got, const float *expected, int n)
{
    for (int i = 0; i < n; i++)
        if (got[i] != expected[i])
            fail_msg("value %d is %.9g, not %.9g", i, (double)got[i], (double)expected[i]);
}

static void check_input(const q8_preprocess *pre, int channels, const float *expected)
{
    float out[6];
    to_input(&picture, pre, channels, 1, 2, out);
    check_values(out, expected, 2 * channels);
}

static void channel_orders(void **state)
{
    (void)state;
    const float bgr[] = {30, 128, 20, 0, 10, 255}, rgb[] = {10, 255, 20, 0, 30, 128};
    const float gray[] = {(10 * 77 + 20 * 150 + 30 * 29) / 256, (255 * 77 + 128 * 29) / 256};
    check_input(&(q8_preprocess){0}, 3, bgr);
    check_input(&(q8_preprocess){.pixel = Q8_PIXEL_BGR}, 3, bgr);
    check_input(&(q8_preprocess){.pixel = Q8_PIXEL_RGB}, 3, rgb);
    check_input(&(q8_preprocess){0}, 1, gray);
    check_input(&(q8_preprocess){.pixel = Q8_PIXEL_GRAY}, 1, gray);
}

/* The order of operations shows in the last bit. */
static void mean_then_norm(void **state)
{
    (void)state;
    const float mean[] = {103.94f, 116.78f, 123.68f}, norm[] = {0.017f, 0.5f, 3};
    float expected[6];
    q8_preprocess pre = {.n_mean = 3, .n_norm = 3};
    memcpy(pre.mean, mean, sizeof(mean));
    memcpy(pre.norm, norm, sizeof(norm));
    for (int i = 0; i < 6; i++) {
        volatile float difference = (float)two[3 * (i % 2) + 2 - i / 2] - mean[i / 2];
        expected[i] = difference * norm[i / 2];
    }
    check_input(&pre, 3, expected);

    pre.n_norm = 1;
    for (int i = 0; i < 6; i++) {
        volatile float difference = (float)two[3 * (i % 2) + 2 - i / 2] - mean[i / 2];
        expected[i] = difference * norm[0];
    }
    check_input(&pre, 3, expected);
    check_input(&(q8_preprocess){.n_mean = 1, .mean = {5}, .n_norm = 1, .norm = {2}}, 1,
                (const float[]){(18 - 5) * 2, (91 - 5) * 2});
}

/* The same as resizing, then converting. */
static void resizes_first(void **state)
{
    (void)state;
    unsigned char src[9 * 5 * 3], small[4 * 3 * 3];
    float out[4 * 3 * 3], gray[4 * 3];
    uint32_t random = 7;
    q8_err err = {0};
    const q8_window whole = {4, 3, 0, 0, 4, 3};
    for (size_t i = 0; i < sizeof(src); i++)
        src[i] = (unsigned char)(next_random(&random) >> 24);
    const q8_picture p = {9, 5, src, 0};
    assert_int_equal(q8_resize_bilinear(src, 9, 5, small, &whole, 3, &err), Q8_OK);
    to_input(&p, &(q8_preprocess){0}, 3, 3, 4, out);
    to_input(&p, &(q8_preprocess){0}, 1, 3, 4, gray);
    for (int i = 0; i < 12; i++) {
        const unsigned char *rgb = small + 3 * i;
        for (int c = 0; c < 3; c++)
            assert_true(out[12 * c + i] == (float)rgb[2 - c]);
        assert_true(gray[i] == (float)((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2]) >> 8));
    }
}

/* Where a picture goes, seen by its size only: white, so that what is not 255 is around it. */
static void check_place(int resize, int src_w, int src_h, int w, int h, const char *rows)
{
    float out[64];
    unsigned char *white = malloc((size_t)(src_w * src_h * 3));
    assert_non_null(white);
    memset(white, 255, (size_t)(src_w * src_h * 3));
    const q8_picture p = {src_w, src_h, white, 0};
    /* Resizing may darken white by 1. */
    to_input(&p, &(q8_preprocess){.resize = resize, .n_mean = 1, .mean = {200}}, 1, h, w, out);
    for (int i = 0; i < w * h; i++) {
        const char seen = out[i] == 0 ? '.' : out[i] > 50 ? '#' : '?';
        if (seen != rows[i])
            fail_msg("%dx%d in %dx%d: '%c' at %d", src_w, src_h, w, h, seen, i);
    }
    free(white);
}

static void letterboxes(void **state)
{
    (void)state;
    const int mode = Q8_RESIZE_LETTERBOX;
    check_place(mode, 8, 4, 4, 4,
                "...."
                "####"
                "####"
                "....");
    check_place(mode, 8, 6, 4, 4,
                "####"
                "####"
                "####"
                "....");
    check_place(mode, 3, 4, 4, 4,
                "###."
                "###."
                "###."
                "###.");
    check_place(mode, 1, 1, 3, 2,
                "##."
                "##.");
    check_place(mode, 100, 1, 3, 3,
                "..."
                "###"
                "...");
    check_place(mode, 5, 5, 2, 2, "####");
    check_place(Q8_RESIZE_CROP, 8, 4, 4, 4, "################");
    check_place(Q8_RESIZE_STRETCH, 8, 4, 4, 4, "################");
}

/* A ramp of columns without scaling: the middle is taken, the left one of two. */
static void crops_the_middle(void **state)
{
    (void)state;
    unsigned char ramp[9 * 4 * 3];
    float out[16];
    for (int i = 0; i < 9 * 4 * 3; i++)
        ramp[i] = (unsigned char)(10 * (i / 3 % 9));
    const q8_preprocess pre = {.resize = Q8_RESIZE_CROP};
    const q8_picture wide = {9, 4, ramp, 0};
    to_input(&wide, &pre, 1, 4, 4, out);
    for (int i = 0; i < 16; i++)
        assert_true(out[i] == (float)(10 * (2 + i % 4)));
    for (int i = 0; i < 9 * 4 * 3; i++)
        ramp[i] = (unsigned char)(10 * (i / 12));
    const q8_picture tall = {4, 9, ramp, 0};
    to_input(&tall, &pre, 1, 4, 4, out);
    for (int i = 0; i < 16; i++)
        assert_true(out[i] == (float)(10 * (2 + i / 4)));
    /* Scaled to 268,435,456 columns, of which only four are made. */
    unsigned char *line = calloc(1 << 20, 3);
    assert_non_null(line);
    line[3 * ((1 << 19) - 1)] = line[3 * (1 << 19)] = 200;
    const q8_picture thin = {1 << 20, 1, line, 0};
    to_input(&thin, &(q8_preprocess){.resize = Q8_RESIZE_CROP, .pixel = Q8_PIXEL_RGB}, 3, 2, 2,
             out);
    assert_true(out[0] > 190 && out[3] > 190 && out[4] == 0);
    free(line);
}

/* --- the mean's file -------------------------------------------------------------------------- */

static char folder[] = "/tmp/q8_mean_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    arena = q8_arena_open();
    return arena && mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    q8_arena_close(&arena);
    return rmdir(folder);
}

static const char *mean_path(void)
{
    static char path[64];
    snprintf(path, sizeof(path), "%s/mean.npy", folder);
    return path;
}

/* float32 values 0, 1, 2, … of a shape. */
static void write_mean(const char *shape, int n)
{
    char header[118];
    FILE *file = fopen(mean_path(), "wb");
    assert_non_null(file);
    snprintf(header, sizeof(header), "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }",
             shape);
    fprintf(file, "\x93NUMPY\x01%c%c%c%-117s\n", 0, 118, 0, header);
    for (int i = 0; i < n; i++) {
        const float value = (float)i;
        fwrite(&value, sizeof(value), 1, file);
    }
    assert_int_equal(fclose(file), 0);
}

static void mean_files(void **state)
{
    (void)state;
    const q8_preprocess pre = {.mean_file = mean_path(), .pixel = Q8_PIXEL_RGB};
    write_mean("3,", 3);
    check_input(&pre, 3, (const float[]){10, 255, 19, -1, 28, 126});
    write_mean("3, 1, 1", 3);
    check_input(&pre, 3, (const float[]){10, 255, 19, -1, 28, 126});
    write_mean("3, 1, 2", 6);
    check_input(&pre, 3, (const float[]){10, 254, 18, -3, 26, 123});
    assert_string_equal(notes, "");
    /* The middle of 3 x 5 for 2 x 1, the lower half of what cannot be halved. */
    write_mean("1, 3, 3, 5", 45);
    check_input(&pre, 3, (const float[]){10 - 6, 255 - 7, 20 - 21, -22, 30 - 36, 128 - 37});
    assert_string_equal(notes, "only the middle 2 x 1 of the mean's 5 x 3 are used\n");
    /* Padding is 0 with a mean per pixel too. */
    float out[16];
    write_mean("4, 4", 16);
    to_input(&picture, &(q8_preprocess){.mean_file = mean_path(), .resize = Q8_RESIZE_LETTERBOX}, 1,
             4, 4, out);
    for (int i = 0; i < 16; i++)
        assert_true((out[i] != 0) == (i / 4 == 1 || i / 4 == 2));
    unlink(mean_path());
}

static void check_mean_refused(const char *shape, int n, int width, const char *text)
{
    q8_prep prep;
    q8_err err;
    const q8_preprocess pre = {.mean_file = mean_path()};
    write_mean(shape, n);
    assert_int_not_equal(open_prep(&prep, &pre, NULL, 3, 1, width, &err), Q8_OK);
    assert_string_equal(err.file, mean_path());
    assert_string_equal(err.text, text);
    unlink(mean_path());
}

static void wrong_mean_files(void **state)
{
    (void)state;
    check_mean_refused("2,", 2, 2, "the mean has 2 values but the input has 3 channels");
    check_mean_refused("1, 2", 2, 2, "the mean has 1 channel (of 2 x 1) but the input has 3");
    check_mean_refused("3, 1, 2", 6, 3, "the mean is of 2 x 1, smaller than the input of 3 x 1");
    check_mean_refused("2, 3, 1, 2", 12, 2, "a mean of 2 pictures, not of one");
    check_mean_refused("0,", 0, 2, "a mean with a dimension of 0");
    check_mean_refused("3,", 2, 2, "truncated .npy file");
    q8_prep prep;
    q8_err err;
    q8_preprocess pre = {.mean_file = "/nowhere/mean.npy"};
    assert_int_equal(open_prep(&prep, &pre, NULL, 3, 1, 2, &err), Q8_EIO);
    assert_string_equal(err.file, "/nowhere/mean.npy");
    pre.n_mean = 1;
    assert_int_equal(open_prep(&prep, &pre, NULL, 3, 1, 2, &err), Q8_EINVAL);
}

/* --- the prototxt ----------------------------------------------------------------------------- */

static const float model_mean[] = {1, 2, 3, 4, 5};

static void check_taken(const q8_preprocess *pre, const q8_caffe_transform *t,
                        const float *expected, const char *note)
{
    q8_prep prep;
    q8_picture resized = {0};
    q8_err err;
    float out[6];
    assert_int_equal(open_prep(&prep, pre, t, 3, 1, 2, &err), Q8_OK);
    assert_int_equal(q8_prep_picture(&prep, &picture, &resized, out, &err), Q8_OK);
    q8_picture_free(&resized);
    check_values(out, expected, 6);
    assert_string_equal(notes, note);
}

static void the_prototxt_fills_in(void **state)
{
    (void)state;
    const float both[] = {58, 254, 36, -4, 14, 504};
    const float only_norm[] = {60, 256, 40, 0, 20, 510}, only_mean[] = {29, 127, 18, -2, 7, 252};
    const q8_caffe_transform t = {.found = true, .scale = 2, .mean = model_mean, .n_mean = 3};
    const q8_caffe_transform unscaled = {
        .found = true, .scale = 1, .mean = model_mean, .n_mean = 3};
    const q8_caffe_transform none = {.scale = 1};
    const q8_preprocess mean0 = {.n_mean = 1}, norm1 = {.n_norm = 1, .norm = {1}};
    const q8_preprocess given = {.n_mean = 1, .n_norm = 1, .norm = {1}};
    check_taken(&(q8_preprocess){0}, &t, both, "taken from transform_param: mean 1 2 3, norm 2\n");
    check_taken(&mean0, &t, only_norm, "taken from transform_param: norm 2\n");
    check_taken(&norm1, &t, only_mean, "taken from transform_param: mean 1 2 3\n");
    check_taken(&given, &t, (const float[]){30, 128, 20, 0, 10, 255}, "");
    check_taken(&(q8_preprocess){0}, &unscaled, only_mean,
                "taken from transform_param: mean 1 2 3\n");
    check_taken(&(q8_preprocess){0}, &none, (const float[]){30, 128, 20, 0, 10, 255}, "");
}

static void the_prototxts_mean_file(void **state)
{
    (void)state;
    char proto[64];
    snprintf(proto, sizeof(proto), "%s/net.prototxt", folder);
    q8_caffe_transform t = {
        .found = true, .scale = 1, .mean_file = "mean.npy", .loc = {proto, 7, 5}};
    write_mean("3,", 3);
    check_taken(&(q8_preprocess){0}, &t, (const float[]){30, 128, 19, -1, 8, 253},
                "taken from transform_param: mean mean.npy\n");
    unlink(mean_path());
    q8_prep prep;
    q8_err err;
    assert_int_equal(open_prep(&prep, &(q8_preprocess){0}, &t, 3, 1, 2, &err), Q8_EIO);
    assert_string_equal(err.file, proto);
    assert_int_equal(err.line, 7);
    assert_non_null(strstr(err.text, "mean_file 'mean.npy': there is no /tmp/q8_mean_"));
    assert_non_null(strstr(err.text, "; give the mean with --mean"));
    /* Neither is looked at when the mean is given. */
    t.mean = model_mean;
    t.n_mean = 3;
    assert_int_equal(open_prep(&prep, &(q8_preprocess){.n_mean = 1}, &t, 3, 1, 2, &err), Q8_OK);
    assert_int_equal(open_prep(&prep, &(q8_preprocess){0}, &t, 3, 1, 2, &err), Q8_EMODEL);
    t = (q8_caffe_transform){.found = true, .scale = 1, .mean = model_mean, .n_mean = 5};
    assert_int_equal(open_prep(&prep, &(q8_preprocess){0}, &t, 3, 1, 2, &err), Q8_EINVAL);
    assert_string_equal(err.text, "mean_value has 5 values but the input has 3 channels");
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    static const struct {
        q8_preprocess pre;
        int channels, height;
        const char *text;
    } bad[] = {
        {{.n_mean = 2}, 3, 1, "mean has 2 values but the input has 3 channels"},
        {{.n_norm = 3}, 1, 1, "norm has 3 values but the input has 1 channel"},
        {{.pixel = Q8_PIXEL_GRAY}, 3, 1, "gray pixels but the input has 3 channels"},
        {{.pixel = Q8_PIXEL_RGB}, 1, 1, "rgb pixels but the input has 1 channel"},
        {{0}, 4, 1, "the input has 4 channels, pictures give 1 (gray) or 3"},
        {{0}, 3, 0, "a picture cannot become an input of 2 x 0"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        q8_prep prep;
        q8_err err;
        assert_int_equal(
            open_prep(&prep, &bad[i].pre, NULL, bad[i].channels, bad[i].height, 2, &err),
            Q8_EINVAL);
        assert_string_equal(err.text, bad[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channel_orders),          cmocka_unit_test(mean_then_norm),
        cmocka_unit_test(resizes_first),           cmocka_unit_test(letterboxes),
        cmocka_unit_test(crops_the_middle),        cmocka_unit_test(mean_files),
        cmocka_unit_test(wrong_mean_files),        cmocka_unit_test(the_prototxt_fills_in),
        cmocka_unit_test(the_prototxts_mean_file), cmocka_unit_test(contradictions_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
