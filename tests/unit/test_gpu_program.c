/* The cache of compiled kernels: used when it is good, replaced when it is not, never in the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "exec/gpu.h"

#include "base/hash.h"
#include "exec/opencl.h"

/* Of an entry, as opencl_program.c writes it: magic, key, size, hash. */
enum { HEADER = 40, HASH_AT = 32, MOST = 64 << 20 };

static int from_source, from_binary;
static char folder[64];

static cl_program count_source(cl_context context, cl_uint n, const char **text,
                               const size_t *length, cl_int *status)
{
    from_source++;
    return clCreateProgramWithSource(context, n, text, length, status);
}

static cl_program count_binary(cl_context context, cl_uint n, const cl_device_id *device,
                               const size_t *length, const unsigned char **binary,
                               cl_int *binary_status, cl_int *status)
{
    from_binary++;
    return clCreateProgramWithBinary(context, n, device, length, binary, binary_status, status);
}

/* PoCL keeps things of its own there, and does not expect them to go. */
static int leave_drivers_alone(void **state)
{
    char path[512];
    (void)state;
    const char *home = getenv("HOME");
    snprintf(path, sizeof(path), "%s/.cache/pocl", home ? home : "/tmp");
    return setenv("POCL_CACHE_DIR", path, 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_gpu_program_XXXXXX");
    q8_cl.clCreateProgramWithSource = count_source;
    q8_cl.clCreateProgramWithBinary = count_binary;
    return mkdtemp(folder) && setenv("XDG_CACHE_HOME", folder, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

/* Opens the first device, which must go well, and counts how its program is come by. */
static void open_gpu(void)
{
    q8_gpu *gpu;
    q8_err err = {0};
    from_source = from_binary = 0;
    if (q8_gpu_open(&gpu, 0, &err))
        fail_msg("%s", err.text);
    q8_gpu_close(&gpu);
}

static void assert_compiled(int sources, int binaries)
{
    open_gpu();
    assert_int_equal(from_source, sources);
    assert_int_equal(from_binary, binaries);
}

/* The path of the only entry. */
static void find_entry(char *path, size_t size)
{
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/caffe-int8-to-ncnn/*", folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, size, "%s", found.gl_pathv[0]);
    assert_non_null(strstr(path, ".clbin"));
    globfree(&found);
}

/* Has one made. @param entry for q8_bytes_free() */
static void make_entry(char *path, size_t size, q8_bytes *entry)
{
    q8_err err = {0};
    assert_compiled(1, 0);
    find_entry(path, size);
    assert_int_equal(q8_file_read(entry, path, MOST, &err), Q8_OK);
}

static void write_entry(const char *path, const unsigned char *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The entry is not used, and then there is a good one. */
static void assert_replaced(void)
{
    assert_compiled(1, 0);
    assert_compiled(0, 1);
}

static void test_kept(void **state)
{
    (void)state;
    assert_compiled(1, 0);
    assert_compiled(0, 1);
    assert_compiled(0, 1);
}

static void test_truncated(void **state)
{
    char path[256];
    q8_bytes entry = {0};
    (void)state;
    make_entry(path, sizeof(path), &entry);
    const size_t sizes[] = {0, 1, HEADER - 1, HEADER, entry.size / 2, entry.size - 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        write_entry(path, entry.data, sizes[i]);
        assert_replaced();
    }
    q8_bytes_free(&entry);
}

/* A bit that flipped anywhere shows: in each field of the header, and in the program. */
static void test_damaged(void **state)
{
    char path[256];
    q8_bytes entry = {0};
    (void)state;
    make_entry(path, sizeof(path), &entry);
    const size_t places[] = {0, 16, 24, HASH_AT, HEADER, entry.size / 2, entry.size - 1};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        entry.data[places[i]] ^= 4;
        write_entry(path, entry.data, entry.size);
        entry.data[places[i]] ^= 4;
        assert_replaced();
    }
    q8_bytes_free(&entry);
}

/* A header that checks, before what no driver ever made. */
static void test_not_a_program(void **state)
{
    char path[256];
    q8_bytes entry = {0};
    (void)state;
    make_entry(path, sizeof(path), &entry);
    memset(entry.data + HEADER, 'x', entry.size - HEADER);
    const uint64_t hash = q8_hash(0, entry.data + HEADER, entry.size - HEADER);
    memcpy(entry.data + HASH_AT, &hash, sizeof(hash));
    write_entry(path, entry.data, entry.size);
    assert_compiled(1, 1);
    assert_compiled(0, 1);
    q8_bytes_free(&entry);
}

static void test_no_place_to_write(void **state)
{
    char path[128];
    (void)state;
    /* A file where the folder is to be. */
    snprintf(path, sizeof(path), "%s/file", folder);
    write_entry(path, (const unsigned char *)"x", 1);
    setenv("XDG_CACHE_HOME", path, 1);
    assert_compiled(1, 0);
    assert_compiled(1, 0);
    /* No folder given at all. */
    const char *home = getenv("HOME");
    char *kept = home ? strdup(home) : NULL;
    setenv("XDG_CACHE_HOME", "relative", 1);
    unsetenv("HOME");
    assert_compiled(1, 0);
    assert_compiled(1, 0);
    assert_int_equal(access("relative", F_OK), -1);
    if (kept)
        setenv("HOME", kept, 1);
    free(kept);
}

/* Something that cannot be replaced stands where the entry is to be. */
static void test_entry_in_the_way(void **state)
{
    char path[256], inside[300];
    (void)state;
    assert_compiled(1, 0);
    find_entry(path, sizeof(path));
    snprintf(inside, sizeof(inside), "%s/x", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_compiled(1, 0);
    assert_compiled(1, 0);
    find_entry(path, sizeof(path)); /* and nothing is left beside it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_program, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_place_to_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_in_the_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, leave_drivers_alone, NULL);
}
