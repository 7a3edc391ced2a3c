/* Numbers in a .param (against ncnn's rules written down a second time) and halfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "ncnn/half.h"
#include "ncnn/number.h"

static uint32_t random_bits(void)
{
    static uint64_t x = 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 16);
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

/* How the runtime takes a number apart: two 32-bit counters, a double, a scale made of powers. */
static float runtime_value(const char *s)
{
    unsigned whole = 0, part = 0, ten = 1, power = 0;
    const int minus = *s == '-';
    for (s += minus; *s >= '0' && *s <= '9'; s++)
        whole = whole * 10 + (unsigned)(*s - '0');
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++) {
            part = part * 10 + (unsigned)(*s - '0');
            ten *= 10;
        }
    double v = whole, scale = 1;
    v += part / (double)ten;
    if (*s == 'e') {
        const int down = *++s == '-';
        for (s++; *s; s++)
            power = power * 10 + (unsigned)(*s - '0');
        for (; power >= 8; power -= 8)
            scale *= 1e8;
        while (power--)
            scale *= 10;
        v = down ? v / scale : v * scale;
    }
    return minus ? (float)-v : (float)v;
}

static void assert_round_trip(float value)
{
    char text[Q8_NCNN_VALUE_SIZE];
    float back = 0;
    q8_ncnn_format_float(value, text);
    const size_t size = strlen(text);
    if (size > 15 || !q8_ncnn_is_float(text, size) || !q8_ncnn_parse_float(text, size, &back) ||
        to_bits(back) != to_bits(value) || to_bits(runtime_value(text)) != to_bits(value))
        fail_msg("%a is written as '%s', which is %a", (double)value, text, (double)back);
}

static void floats_survive_the_runtime(void **state)
{
    (void)state;
    const float corner[] = {0.0f,     -0.0f,     1.0f,         -1.0f,       0.1f,    FLT_MAX,
                            -FLT_MAX, FLT_MIN,   FLT_TRUE_MIN, 16777216.0f, 1e9f,    4294967296.0f,
                            1e-5f,    123456.7f, 0.0099999f,   99999.99f,   -1e-44f, 3.4e38f};
    for (size_t i = 0; i < sizeof(corner) / sizeof(corner[0]); i++)
        assert_round_trip(corner[i]);
    for (int i = 0; i < 200000; i++) {
        const float value = from_bits(random_bits());
        if (isfinite(value))
            assert_round_trip(value);
        assert_round_trip((float)(int32_t)random_bits() / (float)(1 << 28));
    }
}

static void floats_look_plain(void **state)
{
    (void)state;
    const struct {
        float value;
        const char *text;
    } list[] = {
        {0, "0.0"},           {-0.0f, "-0.0"},  {1, "1.0"},        {-127, "-127.0"},
        {100, "100.0"},       {0.1f, "0.1"},    {-0.05f, "-0.05"}, {1e-5f, "0.00001"},
        {1.5e-7f, "1.5e-07"}, {1e20f, "1e+20"}, {0.75f, "0.75"},   {FLT_MAX, "3.4028235e+38"},
        {1e6f, "1000000.0"},  {1e7f, "1e+07"},
    };
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        char text[Q8_NCNN_VALUE_SIZE];
        q8_ncnn_format_float(list[i].value, text);
        assert_string_equal(text, list[i].text);
    }
}

static void the_locale_does_not_matter(void **state)
{
    (void)state;
    char text[Q8_NCNN_VALUE_SIZE];
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        skip(); /* no locale with a decimal comma here */
    q8_ncnn_format_float(0.75f, text);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(text, "0.75");
}

static void refuses_what_the_runtime_misreads(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "-",
        ".",
        "e5",
        "1e",
        "1e+",
        "1.0x",
        "nan",
        "inf",
        "1,0",
        "0x1p3",
        "1.0e999",
        "1e39",
        "--1.0",
        "1..0",
        " 1.0",
        "1.0 ",
        "1.000000000000000" /* 17 characters */,
        "0.1234567891" /* ten decimals */,
        "4294967296.0" /* more than 32 bits */,
        "3.4028236e+38",
        "1e4294967297",
    };
    float value;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (q8_ncnn_parse_float(bad[i], strlen(bad[i]), &value))
            fail_msg("'%s' was read as %g", bad[i], (double)value);
    assert_true(q8_ncnn_parse_float("+.5e1", 5, &value) && value == 5);
    assert_true(q8_ncnn_parse_float("5.E-1", 5, &value) && value == 0.5f);
    assert_true(q8_ncnn_parse_float("-3.552865e+02", 13, &value) && value == -355.2865f);
}

static void ints(void **state)
{
    (void)state;
    int v = 0;
    assert_true(q8_ncnn_parse_int("2147483647", 10, &v) && v == INT32_MAX);
    assert_true(q8_ncnn_parse_int("-2147483648", 11, &v) && v == INT32_MIN);
    assert_true(q8_ncnn_parse_int("+07", 3, &v) && v == 7);
    static const char *const bad[] = {
        "", "-", "+", "1.0", "2147483648", "0x1", "1 ", "1e3", "0000000000000001", "--1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(q8_ncnn_parse_int(bad[i], strlen(bad[i]), &v));
}

static void every_half_survives(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = q8_half_to_float((uint16_t)h);
        const int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        if (exponent < 31) {
            const double magnitude =
                exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
            assert_true((double)f == (h & 0x8000 ? -magnitude : magnitude));
            assert_int_equal(signbit(f) != 0, h >> 15);
        } else {
            assert_true(mantissa ? isnan(f) : isinf(f));
        }
        const uint16_t back = q8_half_from_float(f);
        assert_int_equal(back, exponent == 31 && mantissa ? (h | 0x200) : h);
    }
}

/* The nearest of all halfs by search, ties to the even one. */
static uint16_t nearest_half(float value)
{
    const double x = fabs((double)value);
    uint16_t low = 0, high = 0x7c00; /* as bits, halfs are ordered */
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if ((double)q8_half_to_float(middle) <= x)
            low = middle;
        else
            high = middle;
    }
    const double below = (double)q8_half_to_float(low);
    const double above = high == 0x7c00 ? 65536 : (double)q8_half_to_float(high);
    const bool up = x - below > above - x || (x - below == above - x && (low & 1));
    return (uint16_t)((up ? high : low) | (signbit(value) ? 0x8000 : 0));
}

static void halfs_are_the_nearest(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        /* Mostly in and around the range of halfs, and often exactly between two of them. */
        uint32_t bits = random_bits();
        bits = (bits & 0x807fffff) | (90 + bits % 56) << 23;
        if (i % 3 == 0)
            bits &= ~UINT32_C(0xfff);
        const float value = from_bits(bits);
        if (q8_half_from_float(value) != nearest_half(value))
            fail_msg("%a: %04x, not %04x", (double)value, q8_half_from_float(value),
                     nearest_half(value));
    }
    assert_int_equal(q8_half_from_float(65519.996f), 0x7bff);
    assert_int_equal(q8_half_from_float(65520.0f), 0x7c00);
    assert_int_equal(q8_half_from_float(-INFINITY), 0xfc00);
    assert_int_equal(q8_half_from_float(0x1p-25f), 0);
    assert_int_equal(q8_half_from_float(0x1.000002p-25f), 1);
    const float fits[] = {65519.0f, -1e-9f}, overflows[] = {1, -65520.0f}, nan[] = {NAN};
    assert_true(q8_half_fits(fits, 2));
    assert_false(q8_half_fits(overflows, 2));
    assert_false(q8_half_fits(nan, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_survive_the_runtime),
        cmocka_unit_test(floats_look_plain),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(refuses_what_the_runtime_misreads),
        cmocka_unit_test(ints),
        cmocka_unit_test(every_half_survives),
        cmocka_unit_test(halfs_are_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
