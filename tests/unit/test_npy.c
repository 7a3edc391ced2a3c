/* Tensors of numpy.save(): types, byte orders, shapes, pieces, and broken files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "calib/npy.h"

static char path[] = "/tmp/q8_npy_XXXXXX";

static int make_file(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd >= 0 ? close(fd) : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_bytes(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* @return the file's size */
static size_t write_npy(const char *header, const void *data, size_t size)
{
    static unsigned char file[1 << 18];
    const size_t length = strlen(header);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (unsigned char)length;
    file[9] = (unsigned char)(length >> 8);
    memcpy(file + 10, header, length);
    memcpy(file + 10 + length, data, size);
    write_bytes(file, 10 + length + size);
    return 10 + length + size;
}

static void check_values(const float *expected, size_t n)
{
    q8_npy npy;
    q8_err err = {0};
    float got[16];
    if (q8_npy_open(&npy, path, &err) != Q8_OK)
        fail_msg("%s", err.text);
    assert_int_equal(npy.count, n);
    assert_int_equal(q8_npy_read(&npy, 0, n, got, &err), Q8_OK);
    assert_memory_equal(got, expected, n * sizeof(*got));
    for (size_t i = 0; i < n; i++) {
        float one;
        assert_int_equal(q8_npy_read(&npy, i, 1, &one, &err), Q8_OK);
        assert_true(one == expected[i]);
    }
    q8_npy_close(&npy);
}

static void every_type(void **state)
{
    (void)state;
    const float floats[] = {1.5f, -2, 3e38f, 1e-40f};
    const double doubles[] = {1.5, -2, 1e300, -1e300};
    const float narrowed[] = {1.5f, -2, __builtin_inff(), -__builtin_inff()};
    const unsigned char bytes[] = {0, 1, 128, 255};
    unsigned char swapped[32];
    write_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n", floats, 16);
    check_values(floats, 4);
    write_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }\n", doubles, 32);
    check_values(narrowed, 4);
    write_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4), }\n", bytes, 4);
    check_values((const float[]){0, 1, 128, 255}, 4);
    for (int i = 0; i < 16; i++)
        swapped[i] = ((const unsigned char *)floats)[i ^ 3];
    write_npy("{'descr': '>f4', 'fortran_order': False, 'shape': (4,), }\n", swapped, 16);
    check_values(floats, 4);
    for (int i = 0; i < 32; i++)
        swapped[i] = ((const unsigned char *)doubles)[i ^ 7];
    write_npy("{'descr': '>f8', 'fortran_order': False, 'shape': (4,), }\n", swapped, 32);
    check_values(narrowed, 4);
}

static void spellings(void **state)
{
    (void)state;
    const unsigned char bytes[] = {7, 8};
    static const char *const headers[] = {
        "{\"shape\":(2),\"fortran_order\":False,\"descr\":\"|u1\"}",
        " { 'fortran_order' : False , 'shape' : ( 1 , 2 , ) , 'descr' : '<u1' } ",
        "{'descr':'=u1','fortran_order':False,'shape':(1,1,1,1,1,1,1,2)}",
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        write_npy(headers[i], bytes, 2);
        check_values((const float[]){7, 8}, 2);
    }
    write_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", bytes, 1);
    check_values((const float[]){7}, 1);
    /* Version 2: four bytes of length. */
    static const char two[] = "\x93NUMPY\2\0\70\0\0\0"
                              "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}\n\7\10";
    write_bytes(two, sizeof(two) - 1);
    check_values((const float[]){7, 8}, 2);
}

/* More than is converted at once, and from the middle. */
static void large(void **state)
{
    (void)state;
    enum { N = 40000 };
    static float values[N], got[N];
    q8_npy npy;
    q8_err err = {0};
    for (int i = 0; i < N; i++)
        values[i] = (float)i;
    write_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (40000,), }\n", values,
              sizeof(values));
    assert_int_equal(q8_npy_open(&npy, path, &err), Q8_OK);
    assert_int_equal(q8_npy_read(&npy, 0, N, got, &err), Q8_OK);
    assert_memory_equal(got, values, sizeof(values));
    assert_int_equal(q8_npy_read(&npy, 9999, 20000, got, &err), Q8_OK);
    assert_memory_equal(got, values + 9999, 20000 * sizeof(float));
    q8_npy_close(&npy);
}

static void check_refused(q8_code code, const char *text)
{
    q8_npy npy;
    q8_err err = {0};
    assert_int_equal(q8_npy_open(&npy, path, &err), code);
    assert_string_equal(err.file, path);
    assert_string_equal(err.text, text);
    q8_npy_close(&npy);
}

static void what_it_cannot_read(void **state)
{
    (void)state;
    static const char types[] = "an .npy file of %s; only float32, float64 and uint8 can be read";
    char text[128];
    static const char *const unknown[][2] = {
        {"'<i8'", "<i8"}, {"'f4'", "f4"}, {"''", ""}, {"[('a', '<f4')]", "a structure"}};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        char header[128];
        snprintf(header, sizeof(header), "{'descr': %s, 'fortran_order': False, 'shape': (1,)}",
                 unknown[i][0]);
        snprintf(text, sizeof(text), types, unknown[i][1]);
        write_npy(header, "12345678", 8);
        check_refused(Q8_EUNSUPPORTED, text);
    }
    write_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "1234", 4);
    check_refused(Q8_EUNSUPPORTED,
                  "an .npy file in Fortran order; save numpy.ascontiguousarray() of the array");
    write_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "1", 1);
    check_refused(Q8_EUNSUPPORTED, "an .npy file of more than 8 dimensions");
    write_bytes("\x93NUMPY\4\0\0\0\0\0", 12);
    check_refused(Q8_EUNSUPPORTED, "an .npy file of an unknown version");
    write_bytes("P6 2 2 255 012345678", 20);
    check_refused(Q8_EFORMAT, "not an .npy file");
}

static void damaged_headers(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'shape': (1,)}",
        "{'shape': (1,), 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 9999999999999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
        "{'other': 1, 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr: '<f4', 'fortran_order': False, 'shape': (1,)}",
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        write_npy(headers[i], "1234", 4);
        check_refused(Q8_EFORMAT, "damaged .npy file: its header cannot be read");
    }
}

static void truncated(void **state)
{
    (void)state;
    static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n";
    const size_t size = write_npy(header, "123412341234", 12);
    for (size_t n = size; n-- > 0;) {
        q8_npy npy;
        q8_err err = {0};
        assert_int_equal(truncate(path, (off_t)n), 0);
        assert_int_equal(q8_npy_open(&npy, path, &err), Q8_EFORMAT);
        if (n >= 6)
            assert_string_equal(err.text, "truncated .npy file");
        q8_npy_close(&npy);
    }
    write_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}", "", 0);
    check_refused(Q8_EFORMAT, "truncated .npy file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),      cmocka_unit_test(spellings),
        cmocka_unit_test(large),           cmocka_unit_test(what_it_cannot_read),
        cmocka_unit_test(damaged_headers), cmocka_unit_test(truncated),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
