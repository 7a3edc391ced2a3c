/* How errors are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void check(const q8_err *err, const char *expected)
{
    char text[512], small[8];
    const int n = q8_err_format(err, "error", text, sizeof(text));
    assert_string_equal(text, expected);
    assert_int_equal(n, strlen(expected));
    assert_int_equal(q8_err_format(err, "error", NULL, 0), n);
    assert_int_equal(q8_err_format(err, "error", small, sizeof(small)), n);
    assert_int_equal(strlen(small), n < 7 ? n : 7);
    assert_int_equal(strncmp(small, expected, 7), 0);
}

static void parts_that_are_known(void **state)
{
    (void)state;
    check(&(q8_err){.text = "x"}, "error: x");
    check(&(q8_err){.line = 3, .column = 4, .text = "x"}, "error: x");
    check(&(q8_err){.file = "f", .text = "x"}, "f: error: x");
    check(&(q8_err){.file = "f", .line = 3, .text = "x"}, "f:3: error: x");
    check(&(q8_err){.file = "f", .line = 3, .column = 4, .layer = "l", .text = "x"},
          "f:3:4: error: layer 'l': x");
}

/* Only what a terminal shows as it is goes to it. */
static void bytes_that_are_no_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"a\n  b", "a\n  b"},
        {"a\nb\n c\n", "a\\x0ab\\x0a c\\x0a"},
        {"\033[31m\a\t\r\x7f", "\\x1b[31m\\x07\\x09\\x0d\\x7f"},
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc3", "\\xc3"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
        {"\xe0\x82\xac", "\\xe0\\x82\\xac"},          /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* half a pair */
        {"\xc2\x9b", "\\xc2\\x9b"},                   /* CSI in one character */
        {"\xe2\x80\xae", "\\xe2\\x80\\xae"},          /* right to left from here on */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* past the last character */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[256];
        q8_err err = {0};
        snprintf(err.text, sizeof(err.text), "%s", cases[i].text);
        snprintf(err.layer, sizeof(err.layer), "%s", cases[i].text);
        snprintf(expected, sizeof(expected), "error: layer '%s': %s", cases[i].shown,
                 cases[i].shown);
        check(&err, expected);
    }
}

static void the_first_error_counts(void **state)
{
    (void)state;
    q8_err err = {0};
    assert_int_equal(q8_fail(&err, Q8_EMODEL, NULL, "l", "%d", 1), Q8_EMODEL);
    assert_int_equal(q8_fail(&err, Q8_EIO, NULL, NULL, "%d", 2), Q8_EIO);
    assert_int_equal(q8_fail(NULL, Q8_EIO, NULL, NULL, "%d", 3), Q8_EIO);
    assert_int_equal(err.code, Q8_EMODEL);
    check(&err, "error: layer 'l': 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_that_are_known),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(the_first_error_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
