/* Mean pictures as .binaryproto files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "caffe/mean.h"

static char path[] = "/tmp/q8_mean_XXXXXX";
static q8_arena *arena;

static int setup(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    arena = q8_arena_open();
    return fd >= 0 && arena ? close(fd) : -1;
}

static int teardown(void **state)
{
    (void)state;
    q8_arena_close(&arena);
    return unlink(path);
}

static void write_bytes(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

#define ONE "\0\0\x80\x3f"
#define TWO "\0\0\0\x40"
/* num 1, channels 1, height 1, width 2, packed data */
#define LEGACY "\x08\1\x10\1\x18\1\x20\2\x2a\x08" ONE TWO
/* shape { 1 2 }, unpacked data */
#define SHAPED "\x3a\4\x0a\2\1\2\x2d" ONE "\x2d" TWO
/* double_data, legacy dims */
#define DOUBLES "\x08\1\x10\2\x18\1\x20\1\x42\x10\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40"

static void check(const void *data, size_t size, int n_dim)
{
    q8_caffe_blob mean;
    q8_err err = {0};
    write_bytes(data, size);
    if (q8_caffe_mean_read(&mean, path, arena, &err) != Q8_OK)
        fail_msg("%s", err.text);
    assert_int_equal(mean.n_dim, n_dim);
    assert_int_equal(mean.count, 2);
    assert_true(mean.data[0] == 1 && mean.data[1] == 2);
}

static void forms(void **state)
{
    (void)state;
    check(LEGACY, sizeof(LEGACY) - 1, 4);
    check(SHAPED, sizeof(SHAPED) - 1, 2);
    check(DOUBLES, sizeof(DOUBLES) - 1, 4);
}

static void check_refused(const void *data, size_t size, const char *text)
{
    q8_caffe_blob mean;
    q8_err err = {0};
    write_bytes(data, size);
    assert_int_not_equal(q8_caffe_mean_read(&mean, path, arena, &err), Q8_OK);
    assert_string_equal(err.file, path);
    assert_string_equal(err.text, text);
}

static void what_is_no_mean(void **state)
{
    (void)state;
    static const char no[] = "not a .binaryproto or .npy mean, or a truncated one";
    check_refused("", 0, "an empty file, not a .binaryproto or .npy mean");
    check_refused("104 117 123\n", 12, "a text file, not a .binaryproto or .npy mean");
    check_refused("\x89HDF\r\n\x1a\n", 8, "an HDF5 file, not a .binaryproto or .npy mean");
    check_refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, no);
    check_refused("\x08\1", 2, "no numbers in it: not a .binaryproto mean");
    check_refused("\x08\1\x10\1\x18\1\x20\3\x2a\x08" ONE TWO, 18,
                  "blob 0 has shape 1x1x1x3, which is 3 elements, but holds 2");
    check_refused("\x08\1\x10\1\x18\1\x20\1\x2d\0\0\x80\x7f", 13,
                  "blob 0: element 0 is not a finite number");
    q8_caffe_blob mean;
    q8_err err = {0};
    for (size_t n = 1; n + 1 < sizeof(LEGACY); n++) {
        write_bytes(LEGACY, n);
        assert_int_not_equal(q8_caffe_mean_read(&mean, path, arena, &err), Q8_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(what_is_no_mean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
