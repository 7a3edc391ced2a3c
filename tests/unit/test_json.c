#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report/json.h"

static void assert_json(const q8_buf *buf, const char *expected)
{
    assert_false(buf->failed);
    assert_string_equal((const char *)buf->data, expected);
}

static void test_layout(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_json json = {.buf = &buf};
    q8_json_open(&json, NULL, '{');
    q8_json_text(&json, "a", "x");
    q8_json_open(&json, "empty", '[');
    q8_json_close(&json, ']');
    q8_json_open(&json, "list", '[');
    for (uint64_t i = 0; i < 2; i++) {
        q8_json_open_line(&json, NULL, '{');
        q8_json_open(&json, "b", '[');
        q8_json_integer(&json, NULL, i);
        q8_json_integer(&json, NULL, UINT64_MAX);
        q8_json_close(&json, ']');
        q8_json_bool(&json, "c", i == 1);
        q8_json_close(&json, '}');
    }
    q8_json_close(&json, ']');
    q8_json_close(&json, '}');
    assert_json(&buf, "{\n"
                      "  \"a\": \"x\",\n"
                      "  \"empty\": [],\n"
                      "  \"list\": [\n"
                      "    {\"b\": [0, 18446744073709551615], \"c\": false},\n"
                      "    {\"b\": [1, 18446744073709551615], \"c\": true}\n"
                      "  ]\n"
                      "}\n");
    q8_buf_free(&buf);
}

/* Well-formed UTF-8 stays, each byte of anything else becomes U+FFFD. */
static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"", "\"\""},
        {"\"\\/\b\n\x1f\x7f", "\"\\\"\\\\/\\u0008\\u000a\\u001f\\u007f\""},
        {"\u00e9\u20ac\U0001f600\U0010ffff", "\"\u00e9\u20ac\U0001f600\U0010ffff\""},
        {"\xff"
         "a",
         "\"\\ufffda\""},
        {"\xc3", "\"\\ufffd\""},
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"\xc0\x80", "\"\\ufffd\\ufffd\""},                       /* too long a form */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* half of a pair */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* above U+10FFFF */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        q8_buf buf = {0};
        q8_json json = {.buf = &buf, .depth = 1, .line_depth = 1};
        q8_json_text(&json, NULL, cases[i].text);
        assert_json(&buf, cases[i].json);
        q8_buf_free(&buf);
    }
}

static void test_floats(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_json json = {.buf = &buf, .depth = 1, .line_depth = 1};
    const float values[] = {0, -1.5f, 0.1f, 1e30f, INFINITY, NAN};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        q8_json_float(&json, NULL, values[i]);
    assert_json(&buf, "0, -1.5, 0.100000001, 1.00000002e+30, null, null");
    q8_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
