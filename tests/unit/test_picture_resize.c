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

static q8_code resize(const unsigned char *src, int src_w, int src_h, unsigned char *dst, int dst_w,
                      int dst_h, int channels, q8_err *err)
{
    const q8_window whole = {dst_w, dst_h, 0, 0, dst_w, dst_h};
    return q8_resize_bilinear(src, src_w, src_h, dst, &whole, channels, err);
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
        assert_int_equal(resize(src, sw, sh, dst, dw, dh, channels, &err), Q8_OK);
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
    assert_int_equal(resize(src, 13, 7, dst, 13, 7, 3, &err), Q8_OK);
    assert_memory_equal(src, dst, sizeof(dst));
    free(src);
}

static void a_window_is_a_part_of_the_whole(void **state)
{
    (void)state;
    enum { W = 37, H = 29 };
    unsigned char whole[W * H * 3], part[W * H * 3];
    q8_err err = {0};
    unsigned char *src = random_pixels(20 * 11 * 3, 5);
    assert_int_equal(resize(src, 20, 11, whole, W, H, 3, &err), Q8_OK);
    for (int k = 0; k < 12; k++) {
        const int w = 1 + 3 * k, h = 1 + 2 * k;
        const q8_window window = {W, H, W - w - k % 2, (H - h) / 2, w, h};
        assert_int_equal(q8_resize_bilinear(src, 20, 11, part, &window, 3, &err), Q8_OK);
        for (int y = 0; y < h; y++)
            assert_memory_equal(part + 3 * y * w, whole + 3 * ((window.y + y) * W + window.x),
                                (size_t)w * 3);
    }
    free(src);
}

static void windows_must_lie_within(void **state)
{
    (void)state;
    static const q8_window bad[] = {{4, 4, 3, 0, 2, 2},
                                    {4, 4, 0, -1, 2, 2},
                                    {4, 4, 0, 0, 2, 5},
                                    {0, 4, 0, 0, 1, 1},
                                    {-5, 4, -6, 0, 1, 1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned char pixel[3] = {0}, out[3];
        q8_err err = {0};
        assert_int_equal(q8_resize_bilinear(pixel, 1, 1, out, &bad[i], 3, &err), Q8_EINVAL);
        assert_non_null(strstr(err.text, "do not lie within"));
    }
}

static void one_colour_stays(void **state)
{
    (void)state;
    unsigned char src[5 * 6], dst[31 * 17];
    q8_err err = {0};
    for (int v = 0; v < 256; v += 5) {
        memset(src, v, sizeof(src));
        assert_int_equal(resize(src, 5, 6, dst, 31, 17, 1, &err), Q8_OK);
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
        assert_int_equal(resize(pixel, b[0], b[1], out, b[2], b[3], b[4], &err), Q8_EINVAL);
        assert_int_equal(err.code, Q8_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_ncnn),
        cmocka_unit_test(the_same_size_changes_nothing),
        cmocka_unit_test(a_window_is_a_part_of_the_whole),
        cmocka_unit_test(windows_must_lie_within),
        cmocka_unit_test(one_colour_stays),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
