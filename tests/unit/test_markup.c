#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report/markup.h"
#include "report/png.h"

static void assert_made(q8_buf *buf, const char *expected)
{
    assert_false(buf->failed);
    assert_string_equal((const char *)buf->data, expected);
    q8_buf_free(buf);
}

static void test_text(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_markup_text(&buf, "<b a=\"1\" b='2'>&amp;");
    assert_made(&buf, "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;");
    q8_markup_text(&buf, "a\n\t\x01\x7f\xc2\x85 \xe2\x80\xae \xef\xbb\xbf");
    assert_made(&buf, "a\\n\\t\\x01\\x7f\\x85 \\u202e \\ufeff");
    q8_markup_text(&buf, "\xc3\xa4 \xe5\xb1\x82 \xff \xe2\x80 \xed\xa0\x80");
    assert_made(&buf, "\xc3\xa4 \xe5\xb1\x82 \\xff \\xe2\\x80 \\xed\\xa0\\x80");
}

static void test_numbers(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_markup_number(&buf, 1.005, 1);
    q8_markup_number(&buf, -2, 0);
    q8_markup_number(&buf, INFINITY, 1);
    q8_markup_number(&buf, NAN, 1);
    assert_made(&buf, "1.0\xe2\x88\x92"
                      "2\xe2\x88\x9e\xe2\x80\x93");
    q8_markup_short(&buf, 0.00012345, 3);
    assert_made(&buf, "0.000123");
    q8_markup_count(&buf, 1234567);
    assert_made(&buf, "1&#8239;234&#8239;567");
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const encoded[] = {"Zg==",     "Zm8=",     "Zm9v",
                                          "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 1; n <= 6; n++) {
        q8_buf buf = {0};
        q8_markup_base64(&buf, (const unsigned char *)"foobar", n);
        assert_made(&buf, encoded[n - 1]);
    }
    q8_buf buf = {0};
    q8_markup_base64(&buf, (const unsigned char *)"\xff\xfb\xf0", 3);
    assert_made(&buf, "//vw");
}

static void test_png(void **state)
{
    (void)state;
    static const unsigned char pixels[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9};
    for (int gray = 0; gray <= 1; gray++) {
        q8_buf buf = {0};
        assert_int_equal(q8_png_write(&buf, pixels, 2, 2, gray, NULL), Q8_OK);
        assert_true(buf.size > 33);
        assert_memory_equal(buf.data, "\x89PNG\r\n\x1a\n", 8);
        assert_int_equal(buf.data[19], 2);
        assert_int_equal(buf.data[23], 2);
        assert_int_equal(buf.data[25], gray ? 0 : 2);
        q8_buf_free(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_png),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
