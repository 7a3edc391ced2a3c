/* Resizing against what ncnn's wheel gave (tests/data/make_pictures.py). */
#include "test_picture.h"

#include "calib/picture.h"

static unsigned char *random_pixels(size_t n, uint32_t seed)
{
    unsigned char *pixels = malloc(n);
    assert_non_null(pixels);
    for (size_t i = 0; i < n; i++)
        pixels[i] = (unsigned char)(next_random(&seed) >> 24);
    return pixels;
}

static void same_bits_as_ncnn(void **state)
{
    (void)state;
    int sw, sh, dw, dh, channels, n = 0;
    unsigned long long hash;
    FILE *f = fopen(data_path("resize.txt"), "r");
    assert_non_null(f);
    while (fscanf(f, "%d %d %d %d %d %llx", &sw, &sh, &dw, &dh, &channels, &hash) == 6) {
        const size_t size = (size_t)(dw * dh * channels);
        unsigned char *src = random_pixels((size_t)(sw * sh * channels), (uint32_t)++n);
        unsigned char *dst = malloc(size);
        q8_err err = {0};
        assert_non_null(dst);
        assert_int_equal(q8_resize_bilinear(src, sw, sh, dst, dw, dh, channels, &err), Q8_OK);
        if (fnv(dst, size) != hash)
            fail_msg("%d x %d to %d x %d, %d channels", sw, sh, dw, dh, channels);
        free(src);
        free(dst);
    }
    fclose(f);
    assert_true(n > 60);
}

static void the_same_size_changes_nothing(void **state)
{
    (void)state;
    unsigned char dst[13 * 7 * 3];
    q8_err err = {0};
    unsigned char *src = random_pixels(sizeof(dst), 99);
    assert_int_equal(q8_resize_bilinear(src, 13, 7, dst, 13, 7, 3, &err), Q8_OK);
    assert_memory_equal(src, dst, sizeof(dst));
    free(src);
}

static void one_colour_stays(void **state)
{
    (void)state;
    unsigned char src[5 * 6], dst[31 * 17];
    q8_err err = {0};
    for (int v = 0; v < 256; v += 5) {
        memset(src, v, sizeof(src));
        assert_int_equal(q8_resize_bilinear(src, 5, 6, dst, 31, 17, 1, &err), Q8_OK);
        for (size_t i = 0; i < sizeof(dst); i++)
            assert_in_range(dst[i], v ? v - 1 : 0, v);
    }
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    static const int bad[][5] = {{0, 1, 1, 1, 3},
                                 {1, -1, 1, 1, 3},
                                 {1, 1, 0, 1, 3},
                                 {1, 1, 1, 1, 2},
                                 {1, 1, 1 << 20, 1 << 20, 3},
                                 {1, 1, 1, -5, 3},
                                 {2147483647, 2147483647, 1, 1, 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned char pixel[4] = {0}, out[4];
        q8_err err = {0};
        const int *b = bad[i];
        assert_int_equal(q8_resize_bilinear(pixel, b[0], b[1], out, b[2], b[3], b[4], &err),
                         Q8_EINVAL);
        assert_int_equal(err.code, Q8_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_ncnn),
        cmocka_unit_test(the_same_size_changes_nothing),
        cmocka_unit_test(one_colour_stays),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
