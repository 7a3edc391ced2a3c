/* From a picture to the network's input: channel order, grey, mean and norm. */
#include "test_picture.h"

#include "calib/picture.h"

/* Two pixels, no resizing. */
static unsigned char two[] = {10, 20, 30, 255, 0, 128};
static const q8_picture picture = {2, 1, two};

static void check_input(const q8_preprocess *pre, int channels, const float *expected)
{
    float out[6];
    q8_err err = {0};
    if (q8_picture_to_input(&picture, pre, channels, 1, 2, out, &err) != Q8_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < 2 * channels; i++) {
        if (out[i] != expected[i])
            fail_msg("value %d is %.9g, not %.9g", i, (double)out[i], (double)expected[i]);
    }
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
    for (size_t i = 0; i < sizeof(src); i++)
        src[i] = (unsigned char)(next_random(&random) >> 24);
    const q8_picture p = {9, 5, src};
    assert_int_equal(q8_resize_bilinear(src, 9, 5, small, 4, 3, 3, &err), Q8_OK);
    assert_int_equal(q8_picture_to_input(&p, &(q8_preprocess){0}, 3, 3, 4, out, &err), Q8_OK);
    assert_int_equal(q8_picture_to_input(&p, &(q8_preprocess){0}, 1, 3, 4, gray, &err), Q8_OK);
    for (int i = 0; i < 12; i++) {
        const unsigned char *rgb = small + 3 * i;
        for (int c = 0; c < 3; c++)
            assert_true(out[12 * c + i] == (float)rgb[2 - c]);
        assert_true(gray[i] == (float)((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2]) >> 8));
    }
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
        float out[8];
        q8_err err = {0};
        assert_int_equal(q8_picture_to_input(&picture, &bad[i].pre, bad[i].channels, bad[i].height,
                                             2, out, &err),
                         Q8_EINVAL);
        assert_string_equal(err.text, bad[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channel_orders),
        cmocka_unit_test(mean_then_norm),
        cmocka_unit_test(resizes_first),
        cmocka_unit_test(contradictions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
