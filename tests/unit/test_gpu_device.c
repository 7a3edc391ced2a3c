/* What is said where there is no device, no driver, no backend; and opening one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/gpu.h"

static void test_messages(void **state)
{
    (void)state;
    q8_err err = {0};
    assert_int_equal(q8_gpu_fail_not_built(&err), Q8_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "libclblast-dev"));
    assert_non_null(strstr(err.text, "--gpu 0"));
    err = (q8_err){0};
    assert_int_equal(q8_gpu_fail_no_device(0, &err), Q8_EDEVICE);
    assert_non_null(strstr(err.text, "no OpenCL driver is installed"));
    err = (q8_err){0};
    assert_int_equal(q8_gpu_fail_no_device(2, &err), Q8_EDEVICE);
    assert_non_null(strstr(err.text, "2 drivers but no device"));
}

#ifdef Q8_HAVE_OPENCL
#include "exec/opencl.h"

static cl_uint fake_platforms;

static cl_int fake_get_platforms(cl_uint n, cl_platform_id *platform, cl_uint *count)
{
    static int any[4];
    for (cl_uint i = 0; platform && i < n; i++)
        platform[i] = (cl_platform_id)(void *)&any[i];
    if (count)
        *count = fake_platforms;
    return CL_SUCCESS;
}

static cl_int fake_get_no_devices(cl_platform_id platform, cl_device_type type, cl_uint n,
                                  cl_device_id *device, cl_uint *count)
{
    (void)platform;
    (void)type;
    (void)n;
    (void)device;
    *count = 0;
    return CL_DEVICE_NOT_FOUND;
}

static cl_context fake_create_no_context(const cl_context_properties *properties, cl_uint n,
                                         const cl_device_id *device,
                                         void(CL_CALLBACK *notify)(const char *, const void *,
                                                                   size_t, void *),
                                         void *user, cl_int *status)
{
    (void)properties;
    (void)n;
    (void)device;
    (void)notify;
    (void)user;
    *status = CL_DEVICE_NOT_AVAILABLE;
    return NULL;
}

static int restore_calls(void **state)
{
    static q8_cl_calls real;
    static bool kept;
    (void)state;
    if (!kept)
        real = q8_cl;
    kept = true;
    q8_cl = real;
    return 0;
}

static void test_none(void **state)
{
    (void)state;
    q8_gpu *gpu;
    q8_gpu_info *list;
    size_t n;
    for (fake_platforms = 0; fake_platforms < 2; fake_platforms++) {
        q8_err err = {0};
        q8_cl.clGetPlatformIDs = fake_get_platforms;
        q8_cl.clGetDeviceIDs = fake_get_no_devices;
        assert_int_equal(q8_gpu_open(&gpu, Q8_GPU_ANY, &err), Q8_EDEVICE);
        assert_null(gpu);
        assert_non_null(strstr(err.text, fake_platforms ? "1 driver but" : "no OpenCL driver"));
        assert_int_equal(q8_gpu_list(&list, &n, NULL), Q8_EDEVICE);
        assert_int_equal(n, 0);
        free(list);
    }
}

static void test_not_available(void **state)
{
    (void)state;
    q8_gpu *gpu;
    q8_err err = {0};
    q8_cl.clCreateContext = fake_create_no_context;
    assert_int_equal(q8_gpu_open(&gpu, 0, &err), Q8_EDEVICE);
    assert_non_null(strstr(err.text, "CL_DEVICE_NOT_AVAILABLE"));
    assert_null(gpu);
}

static void test_open(void **state)
{
    (void)state;
    q8_gpu *gpu;
    q8_gpu_info *list;
    size_t n;
    q8_err err = {0};
    assert_int_equal(q8_gpu_list(&list, &n, &err), Q8_OK);
    assert_true(n > 0);
    assert_int_equal(q8_gpu_open(&gpu, 0, &err), Q8_OK);
    assert_string_equal(q8_gpu_describe(gpu).name, list[0].name);
    assert_true(list[0].memory > 0);
    q8_gpu_close(&gpu);
    assert_null(gpu);
    assert_int_equal(q8_gpu_open(&gpu, (int)n, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "--device list"));
    assert_null(gpu);
    free(list);
}
#else
static void test_not_built(void **state)
{
    (void)state;
    q8_gpu *gpu;
    q8_gpu_info *list;
    size_t n;
    q8_err err = {0};
    assert_false(q8_gpu_is_built());
    assert_int_equal(q8_gpu_open(&gpu, 0, &err), Q8_EUNSUPPORTED);
    assert_null(gpu);
    assert_int_equal(q8_gpu_list(&list, &n, NULL), Q8_EUNSUPPORTED);
    assert_null(list);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
#ifdef Q8_HAVE_OPENCL
        cmocka_unit_test_setup_teardown(test_none, restore_calls, restore_calls),
        cmocka_unit_test_setup_teardown(test_not_available, restore_calls, restore_calls),
        cmocka_unit_test_setup_teardown(test_open, restore_calls, restore_calls),
#else
        cmocka_unit_test(test_not_built),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
