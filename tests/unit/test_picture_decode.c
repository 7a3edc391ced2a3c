/* Decoders against OpenCV's pixels (tests/data/make_pictures.py), and against broken files. */
#include "test_picture.h"

#include "base/file.h"
#include "calib/picture.h"

enum { MAX_CASES = 128 };

struct expected {
    char name[64];
    int width, height;
    unsigned long long hash;
};

static struct expected cases[MAX_CASES];
static int n_cases;

static bool readable(const char *name)
{
#ifdef Q8_HAVE_WEBP
    (void)name;
    return true;
#else
    return !strstr(name, ".webp");
#endif
}

static int load_cases(void **state)
{
    (void)state;
    FILE *f = fopen(data_path("expected.txt"), "r");
    if (!f)
        return -1;
    struct expected *e = cases;
    while (n_cases < MAX_CASES &&
           fscanf(f, "%63s %d %d %llx", e->name, &e->width, &e->height, &e->hash) == 4) {
        n_cases++;
        e++;
    }
    fclose(f);
    return n_cases > 60 ? 0 : -1;
}

static uint64_t picture_hash(const q8_picture *p)
{
    return fnv(p->rgb, (size_t)p->width * (size_t)p->height * 3);
}

static q8_bytes read_data(const char *name)
{
    q8_bytes bytes;
    q8_err err = {0};
    if (q8_file_read(&bytes, data_path(name), 1 << 20, &err) != Q8_OK)
        fail_msg("%s: %s", err.file, err.text);
    return bytes;
}

/* From a copy without a byte behind it, so that a sanitizer sees reading too far. */
static q8_code decode(q8_picture *picture, const unsigned char *data, size_t size, q8_err *err)
{
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    memset(err, 0, sizeof(*err));
    *picture = (q8_picture){0};
    const q8_code code = q8_picture_decode(picture, "x", copy, size, err);
    free(copy);
    return code;
}

static void every_format_gives_the_expected_pixels(void **state)
{
    (void)state;
    for (int i = 0; i < n_cases; i++) {
        const struct expected *e = &cases[i];
        q8_picture p;
        q8_err err = {0};
        if (!readable(e->name))
            continue;
        if (q8_picture_read(&p, data_path(e->name), &err) != Q8_OK)
            fail_msg("%s: %s", e->name, err.text);
        if (p.width != e->width || p.height != e->height || picture_hash(&p) != e->hash)
            fail_msg("%s: %d x %d, other pixels than expected", e->name, p.width, p.height);
        q8_picture_free(&p);
        assert_null(p.rgb);
    }
}

/* An end marker that tells nothing new, or the last number's digits and line end. */
static size_t bytes_to_spare(const char *name)
{
    return strstr(name, "text") ? 5 : strstr(name, "rle") ? 2 : 0;
}

/* A file that ends too early is refused, or what is missing did not matter. In text files a
 * last number cut short cannot be told from a smaller one. */
static void truncated_files_never_give_other_pixels(void **state)
{
    (void)state;
    for (int i = 0; i < n_cases; i++) {
        const struct expected *e = &cases[i];
        q8_bytes bytes = read_data(e->name);
        size_t accepted = 0;
        for (size_t size = 0; size < bytes.size; size++) {
            q8_picture p;
            q8_err err;
            if (decode(&p, bytes.data, size, &err) != Q8_OK) {
                assert_null(p.rgb);
                assert_int_not_equal(err.code, Q8_OK);
                assert_string_not_equal(err.text, "");
                continue;
            }
            accepted++;
            if (!strstr(e->name, "text") && picture_hash(&p) != e->hash)
                fail_msg("%s: %zu of %zu bytes give other pixels", e->name, size, bytes.size);
            q8_picture_free(&p);
        }
        if (accepted > bytes_to_spare(e->name))
            fail_msg("%s: accepted %zu times without its end", e->name, accepted);
        q8_bytes_free(&bytes);
    }
}

static void changed_bytes_are_survived(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int i = 0; i < n_cases; i++) {
        q8_bytes bytes = read_data(cases[i].name);
        for (int k = 0; k < 60; k++) {
            q8_picture p;
            q8_err err;
            unsigned char *victim = &bytes.data[next_random(&random) % bytes.size];
            const unsigned char before = *victim;
            *victim = (unsigned char)(next_random(&random) >> 24);
            const q8_code code = decode(&p, bytes.data, bytes.size, &err);
            assert_true((code == Q8_OK) == (p.rgb != NULL));
            q8_picture_free(&p);
            if (k % 3 != 0) /* else the change stays, and more come on top of it */
                *victim = before;
        }
        q8_bytes_free(&bytes);
    }
}

static void huge_headers_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"huge.jpg", "huge.png", "huge.bmp", "huge.ppm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        q8_picture p;
        q8_err err = {0};
        assert_int_equal(q8_picture_read(&p, data_path(names[i]), &err), Q8_EFORMAT);
        assert_null(p.rgb);
        assert_non_null(strstr(err.text, "the limit is 268435456"));
        assert_string_equal(err.file, data_path(names[i]));
    }
}

static void check_refused(const void *data, size_t size, const char *text)
{
    q8_picture p;
    q8_err err;
    assert_int_equal(decode(&p, data, size, &err), Q8_EFORMAT);
    assert_string_equal(err.file, "x");
    assert_string_equal(err.text, text);
}

static void what_is_no_picture_is_named_so(void **state)
{
    (void)state;
    check_refused("", 0, "the file is empty");
    check_refused("BM is how this text begins", 26, "not a JPEG, PNG, WebP, BMP or PNM picture");
    check_refused("\xff\xd8\xff\xd9", 4,
                  "damaged or unsupported JPEG: JPEG datastream contains no image");
    check_refused("P6 2 2 255\n0123456789", 21, "truncated PNM: premature end of file");
    check_refused("P6 2 0 255\n0123456789", 21, "a picture of 2 x 0 pixels");
    check_refused("P2 2 1 0\n1 1", 12, "damaged PNM: the largest value is 0");
    check_refused("P2 2 1 255\n1 x ", 15, "damaged PNM: pixel 2 of row 1");
    check_refused("P5 99999999999 1 255 ", 21, "damaged PNM: a number is missing or too large");
}

static void truncation_is_told(void **state)
{
    (void)state;
    static const char *const names[] = {"jpeg_420.jpg", "jpeg_progressive.jpg", "png_rgb8.png",
                                        "bmp_24.bmp",   "bmp_rle8.bmp",         "pnm_6.ppm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        q8_bytes bytes = read_data(names[i]);
        q8_picture p;
        q8_err err;
        assert_int_equal(decode(&p, bytes.data, bytes.size * 9 / 10, &err), Q8_EFORMAT);
        if (strncmp(err.text, "truncated ", 10) != 0)
            fail_msg("%s: '%s'", names[i], err.text);
        q8_bytes_free(&bytes);
    }
}

static void a_missing_file_is_an_error(void **state)
{
    (void)state;
    q8_picture p;
    q8_err err = {0};
    assert_int_equal(q8_picture_read(&p, "/nowhere/at/all.jpg", &err), Q8_EIO);
    assert_string_equal(err.file, "/nowhere/at/all.jpg");
    assert_null(p.rgb);
}

static void animations_are_refused(void **state)
{
    (void)state;
    q8_picture p;
    q8_err err = {0};
    assert_int_not_equal(q8_picture_read(&p, data_path("animated.webp"), &err), Q8_OK);
    if (readable("animated.webp"))
        assert_string_equal(err.text, "an animated WebP, not a picture");
    else
        assert_string_equal(err.text, "a WebP, which this build cannot read");
}

/* Larger and smaller ones, turned ones and one that cannot be read, in whatever memory is there. */
static void memory_is_taken_again(void **state)
{
    (void)state;
    q8_picture kept = {0};
    int taken = 0;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < n_cases; i++) {
            const struct expected *e = &cases[i];
            const unsigned char *before = kept.rgb;
            const size_t room = kept.room;
            q8_err err = {0};
            if (!readable(e->name))
                continue;
            if (q8_picture_read_within(&kept, data_path(e->name), Q8_MAX_PIXELS, &err) != Q8_OK)
                fail_msg("%s: %s", err.file, err.text);
            assert_int_equal(kept.width, e->width);
            assert_int_equal(kept.height, e->height);
            assert_true(picture_hash(&kept) == e->hash);
            assert_true(kept.room >= (size_t)e->width * (size_t)e->height * 3);
            taken += before && kept.rgb == before && kept.room == room;
        }
    assert_true(taken > n_cases);
    q8_err err = {0};
    assert_int_equal(q8_picture_read_within(&kept, "/nowhere.jpg", Q8_MAX_PIXELS, &err), Q8_EIO);
    assert_null(kept.rgb);
    assert_int_equal(kept.room, 0);
}

/* A 40-byte header, 16 colours of which colour i is (i, 2i, 3i). */
static size_t make_rle4(unsigned char *bmp, int width, int height, const unsigned char *runs,
                        size_t size)
{
    enum { START = 14 + 40 + 64 };
    memset(bmp, 0, START);
    memcpy(bmp, "BM", 2);
    bmp[10] = START;
    bmp[14] = 40;
    bmp[18] = (unsigned char)width;
    bmp[22] = (unsigned char)height;
    bmp[26] = 1;
    bmp[28] = 4;
    bmp[30] = 2;
    for (int i = 0; i < 16; i++) {
        for (int c = 0; c < 3; c++)
            bmp[54 + 4 * i + 2 - c] = (unsigned char)(i * (c + 1));
    }
    memcpy(bmp + START, runs, size);
    return START + size;
}

/* Two colours in turn, single pixels with padding, a move, an early end: row 0 is the lowest. */
static void rle4_runs(void **state)
{
    (void)state;
    static const unsigned char runs[] = {5, 0x12, 0, 0, 0, 3,    0x45, 0x60,
                                         0, 2,    1, 1, 2, 0x77, 0,    1};
    static const int colours[4][6] = {
        {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 7, 7}, {4, 5, 6, 0, 0, 0}, {1, 2, 1, 2, 1, 0}};
    unsigned char bmp[256];
    q8_picture p;
    q8_err err;
    const size_t size = make_rle4(bmp, 6, 4, runs, sizeof(runs));
    assert_int_equal(decode(&p, bmp, size, &err), Q8_OK);
    for (int i = 0; i < 24; i++) {
        for (int c = 0; c < 3; c++)
            assert_int_equal(p.rgb[3 * i + c], colours[i / 6][i % 6] * (c + 1));
    }
    q8_picture_free(&p);

    static const unsigned char past_end[] = {7, 0x12, 0, 1};
    check_refused(bmp, make_rle4(bmp, 6, 4, past_end, sizeof(past_end)),
                  "damaged BMP: a run past the end of row 1");
    static const unsigned char moved_away[] = {0, 2, 200, 0, 1, 0x11, 0, 1};
    check_refused(bmp, make_rle4(bmp, 6, 4, moved_away, sizeof(moved_away)),
                  "damaged BMP: a run past the end of row 1");
    static const unsigned char no_end[] = {6, 0x12};
    assert_int_equal(decode(&p, bmp, make_rle4(bmp, 6, 1, no_end, sizeof(no_end)), &err), Q8_OK);
    q8_picture_free(&p);
    check_refused(bmp, make_rle4(bmp, 6, 2, no_end, sizeof(no_end)),
                  "truncated BMP: premature end of file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_the_expected_pixels),
        cmocka_unit_test(truncated_files_never_give_other_pixels),
        cmocka_unit_test(changed_bytes_are_survived),
        cmocka_unit_test(huge_headers_are_refused),
        cmocka_unit_test(what_is_no_picture_is_named_so),
        cmocka_unit_test(truncation_is_told),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(memory_is_taken_again),
        cmocka_unit_test(animations_are_refused),
        cmocka_unit_test(rle4_runs),
    };
    return cmocka_run_group_tests(tests, load_cases, NULL);
}
