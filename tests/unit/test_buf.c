#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void grows_and_ends_in_zero(void **state)
{
    (void)state;
    q8_buf buf = {0};
    for (int i = 0; i < 10000; i++) {
        q8_buf_printf(&buf, "%04d", i);
        assert_int_equal(buf.data[buf.size], 0);
    }
    assert_false(buf.failed);
    assert_int_equal(buf.size, 40000);
    assert_memory_equal(buf.data, "00000001", 8);
    assert_string_equal((char *)buf.data + 40000 - 8, "99989999");
    q8_buf_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.size + buf.capacity, 0);
}

static void an_empty_add_makes_the_zero_too(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_buf_add(&buf, NULL, 0);
    assert_non_null(buf.data);
    assert_int_equal(buf.data[0], 0);
    q8_buf_free(&buf);
}

static void pads_with_zeros(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_buf_pad(&buf, 4);
    assert_int_equal(buf.size, 0);
    q8_buf_add(&buf, "abcde", 5);
    q8_buf_pad(&buf, 4);
    assert_int_equal(buf.size, 8);
    assert_memory_equal(buf.data, "abcde\0\0\0", 9);
    q8_buf_pad(&buf, 4);
    assert_int_equal(buf.size, 8);
    q8_buf_free(&buf);
}

static void a_failure_sticks(void **state)
{
    (void)state;
    q8_buf buf = {0};
    q8_buf_add(&buf, "ab", 2);
    q8_buf_add(&buf, "x", SIZE_MAX - 1);
    assert_true(buf.failed);
    q8_buf_add(&buf, "c", 1);
    q8_buf_printf(&buf, "%d", 1);
    q8_buf_pad(&buf, 64);
    assert_int_equal(buf.size, 2);
    assert_string_equal((char *)buf.data, "ab");
    q8_buf_free(&buf);
    assert_false(buf.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_ends_in_zero),
        cmocka_unit_test(an_empty_add_makes_the_zero_too),
        cmocka_unit_test(pads_with_zeros),
        cmocka_unit_test(a_failure_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
