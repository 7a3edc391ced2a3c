/*
 * What sharing a calibration among many processes costs, by its parts: processor time per picture,
 * and how large packed statistics are and how long one step of the tree computes. More pictures
 * than there are at hand are had by merging the statistics with themselves.
 *
 *     build/tests/team_cost PROTOTXT CAFFEMODEL PICTURES [LIMIT]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/model.h"
#include "calib/packed.h"

enum { MOST_PICTURES = 1 << 20 };

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Packs, unpacks and merges with itself, which doubles the pictures. */
static q8_code step(q8_calibration *cal, const q8_graph *graph, q8_err *err)
{
    q8_buf bytes = {0};
    q8_calibration other = {0};
    const double start = seconds(CLOCK_THREAD_CPUTIME_ID);
    q8_calibration_pack(cal, &bytes);
    const double packed = seconds(CLOCK_THREAD_CPUTIME_ID);
    q8_code code = q8_calibration_unpack(&other, bytes.data, bytes.size, graph, err);
    printf("%9zu pictures: %7.3f MB, packed in %5.2f ms", cal->used, (double)bytes.size / 1e6,
           1e3 * (packed - start));
    if (!code)
        code = q8_calibration_merge(cal, &other, err);
    printf(", unpacked and merged in %5.2f ms\n",
           1e3 * (seconds(CLOCK_THREAD_CPUTIME_ID) - packed));
    q8_calibration_free(&other);
    q8_buf_free(&bytes);
    return code;
}

static q8_code measure(char **argv, size_t limit, q8_err *err)
{
    const q8_env env = {.threads = 1};
    const char *images = argv[3];
    const q8_model_opts open = {.proto = argv[1], .model = argv[2]};
    const q8_calib_opts calib = {.images = &images, .n_images = 1, .limit = limit};
    q8_model *model;
    q8_calib_result result;
    const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    q8_code code = q8_model_open(&model, &open, &env, err);
    const double opened = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!code)
        code = q8_calibrate(model, &calib, &env, &result, err);
    if (!code)
        printf("model read in %.0f ms, %zu pictures calibrated on in %.2f ms each, on one core\n",
               1e3 * (opened - start), result.used,
               1e3 * (seconds(CLOCK_PROCESS_CPUTIME_ID) - opened) / (double)result.used);
    while (!code && model->calibration.used < MOST_PICTURES)
        code = step(&model->calibration, model->graph, err);
    if (model)
        q8_model_close(&model);
    return code;
}

int main(int argc, char **argv)
{
    static q8_err err;
    char text[sizeof(err)];
    if (argc < 4) {
        fprintf(stderr, "usage: %s PROTOTXT CAFFEMODEL PICTURES [LIMIT]\n", argv[0]);
        return 2;
    }
    if (measure(argv, argc > 4 ? strtoul(argv[4], NULL, 10) : 0, &err) == Q8_OK)
        return 0;
    q8_err_format(&err, "error", text, sizeof(text));
    fprintf(stderr, "%s\n", text);
    return 1;
}
