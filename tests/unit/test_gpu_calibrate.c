/* Calibration of a whole network on the GPU: less memory means smaller batches, and what fails in
 * the middle of it ends in an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "exec/gpu.h"
#include "q8/q8.h"

#include "exec/opencl.h"

enum { PICTURES = 11 };

static q8_cl_calls real;

struct fixture {
    q8_gpu *gpu;
    q8_model *model;
    int threads;
    char notes[4096];
};

static void keep_note(void *user, const q8_err *what)
{
    struct fixture *f = user;
    const size_t used = strlen(f->notes);
    snprintf(f->notes + used, sizeof(f->notes) - used, "%s\n", what->text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const q8_model_opts opts = {.proto = Q8_SOURCE_DIR "/examples/shapes.prototxt",
                                .model = Q8_SOURCE_DIR "/examples/shapes.caffemodel"};
    const q8_env env = {.threads = 2};
    q8_err err = {0};
    assert_non_null(f);
    if (q8_gpu_open(&f->gpu, Q8_GPU_ANY, &err) || q8_model_open(&f->model, &opts, &env, &err))
        fail_msg("%s", err.text);
    q8_model_use_gpu(f->model, f->gpu);
    f->threads = 2;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    q8_cl = real;
    q8_model_close(&f->model);
    q8_gpu_close(&f->gpu);
    free(f);
    return 0;
}

/* @param batch 0: as many as there is memory for */
static q8_code calibrate(struct fixture *f, int batch, q8_err *err)
{
    const char *images[] = {Q8_SOURCE_DIR "/examples/calib"};
    const q8_calib_opts opts = {
        .images = images,
        .n_images = 1,
        .limit = PICTURES,
        .batch = batch,
        .preprocess = {.n_mean = 3, .mean = {104, 117, 123}, .n_norm = 1, .norm = {0.017f}}};
    const q8_env env = {.user = f, .note = keep_note, .threads = f->threads};
    q8_calib_result result = {0};
    *err = (q8_err){0};
    f->notes[0] = '\0';
    const q8_code code = q8_calibrate(f->model, &opts, &env, &result, err);
    assert_int_equal(result.used, code ? 0 : PICTURES);
    return code;
}

/* --- memory ----------------------------------------------------------------------------------- */

static atomic_size_t largest;
static size_t most_bytes;

static cl_mem create_buffer(cl_context context, cl_mem_flags flags, size_t size, void *host,
                            cl_int *status)
{
    size_t seen = largest;
    while (size > seen && !atomic_compare_exchange_weak(&largest, &seen, size))
        continue;
    if (!most_bytes || size <= most_bytes)
        return real.clCreateBuffer(context, flags, size, host, status);
    *status = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

/* What the largest piece of memory has to be. */
static size_t needs(struct fixture *f, int batch)
{
    q8_err err;
    largest = most_bytes = 0;
    q8_cl.clCreateBuffer = create_buffer;
    if (calibrate(f, batch, &err))
        fail_msg("%s", err.text);
    assert_null(strstr(f->notes, "for want of memory"));
    return largest;
}

static void get_thresholds(struct fixture *f, float *threshold, size_t n)
{
    const q8_quant_opts opts = {.method = Q8_METHOD_MSE, .no_equalise = true, .no_shift = true};
    const q8_env env = {.threads = 2};
    q8_err err = {0};
    if (q8_quantize(f->model, &opts, &env, &err))
        fail_msg("%s", err.text);
    assert_int_equal(q8_model_layer_count(f->model), n);
    for (size_t i = 0; i < n; i++)
        threshold[i] = q8_model_layer(f->model, i).threshold;
}

static void test_halves_the_batch(void **state)
{
    enum { LAYERS = 10 };
    struct fixture *f = *state;
    float whole[LAYERS], halved[LAYERS];
    q8_err err;
    const size_t of_8 = needs(f, 0), of_2 = needs(f, 2);
    assert_true(of_2 < of_8);
    assert_int_equal(calibrate(f, 0, &err), Q8_OK);
    get_thresholds(f, whole, LAYERS);
    most_bytes = of_2;
    assert_int_equal(calibrate(f, 0, &err), Q8_OK);
    assert_non_null(strstr(f->notes, "in batches of 2 on 2 threads, for want of memory"));
    get_thresholds(f, halved, LAYERS);
    for (int i = 0; i < LAYERS; i++)
        assert_true(whole[i] > 0 && fabsf(halved[i] - whole[i]) <= 1e-5f * whole[i]);
}

static void test_not_even_one(void **state)
{
    struct fixture *f = *state;
    q8_err err;
    most_bytes = needs(f, 1) - 1;
    assert_int_equal(calibrate(f, 0, &err), Q8_ENOMEM);
    assert_non_null(strstr(err.text, "too little memory to hold a batch"));
    assert_non_null(strstr(err.text, "--gpu 0"));
    most_bytes = 16;
    assert_int_equal(calibrate(f, 0, &err), Q8_ENOMEM);
    assert_non_null(strstr(err.text, "too little memory to hold the weights"));
}

/* --- a device that is lost in the middle ------------------------------------------------------ */

static atomic_int left; /* calls that go well */

static bool is_lost(void)
{
    return atomic_fetch_sub(&left, 1) <= 0;
}

static cl_int finish(cl_command_queue queue)
{
    const cl_int status = real.clFinish(queue);
    return is_lost() ? CL_OUT_OF_RESOURCES : status;
}

static cl_int start(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
                    const size_t *items, const size_t *group, cl_uint n, const cl_event *wait,
                    cl_event *event)
{
    return is_lost() ? CL_INVALID_COMMAND_QUEUE
                     : real.clEnqueueNDRangeKernel(queue, kernel, dims, offset, items, group, n,
                                                   wait, event);
}

static cl_int read_buffer(cl_command_queue queue, cl_mem mem, cl_bool wait, size_t offset,
                          size_t size, void *data, cl_uint n, const cl_event *events,
                          cl_event *event)
{
    return is_lost()
               ? CL_OUT_OF_RESOURCES
               : real.clEnqueueReadBuffer(queue, mem, wait, offset, size, data, n, events, event);
}

static cl_int write_buffer(cl_command_queue queue, cl_mem mem, cl_bool wait, size_t offset,
                           size_t size, const void *data, cl_uint n, const cl_event *events,
                           cl_event *event)
{
    return is_lost()
               ? CL_OUT_OF_RESOURCES
               : real.clEnqueueWriteBuffer(queue, mem, wait, offset, size, data, n, events, event);
}

static void test_lost_device(void **state)
{
    struct fixture *f = *state;
    static const int after[] = {0, 1, 2, 5, 9};
    q8_err err;
    for (size_t i = 0; i < 4 * sizeof(after) / sizeof(after[0]); i++) {
        q8_cl = real;
        left = after[i / 4];
        if (i % 4 == 0)
            q8_cl.clFinish = finish;
        else if (i % 4 == 1)
            q8_cl.clEnqueueNDRangeKernel = start;
        else if (i % 4 == 2)
            q8_cl.clEnqueueReadBuffer = read_buffer;
        else
            q8_cl.clEnqueueWriteBuffer = write_buffer;
        assert_int_equal(calibrate(f, 2, &err), Q8_EDEVICE);
        assert_non_null(strstr(err.text, "if it was lost"));
    }
    /* And then it is there again. */
    q8_cl = real;
    assert_int_equal(calibrate(f, 2, &err), Q8_OK);
}

/* --- one batch goes up while another is computed ---------------------------------------------- */

enum { PICTURE = 3 * 48 * 48 * sizeof(float) };

static atomic_int uploads;    /* of pictures */
static atomic_int overlapped; /* forwards that saw another batch go up before they were done */

static cl_int count_upload(cl_command_queue queue, cl_mem mem, cl_bool wait, size_t offset,
                           size_t size, const void *data, cl_uint n, const cl_event *events,
                           cl_event *event)
{
    const cl_int status =
        real.clEnqueueWriteBuffer(queue, mem, wait, offset, size, data, n, events, event);
    uploads += size == PICTURE;
    return status;
}

/* A batch's work does not end before another has gone up, but for the last ones and if that takes
 * seconds: then nothing goes up meanwhile. */
static cl_int wait_for_upload(cl_command_queue queue)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    const int before = uploads;
    for (int i = 0; i < 3000 && uploads == before && before > 0 && !overlapped; i++)
        nanosleep(&moment, NULL);
    if (uploads > before && before > 0)
        overlapped++;
    return real.clFinish(queue);
}

/* Even if there is only one thread for all else. */
static void test_overlaps(void **state)
{
    struct fixture *f = *state;
    q8_err err;
    uploads = overlapped = 0;
    q8_cl.clEnqueueWriteBuffer = count_upload;
    q8_cl.clFinish = wait_for_upload;
    f->threads = 1;
    assert_int_equal(calibrate(f, 1, &err), Q8_OK);
    assert_true(overlapped > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_halves_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_even_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlaps, setup, teardown),
    };
    real = q8_cl;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
