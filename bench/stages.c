/* stages [--gpu DEVICE] [--pictures N] PROTOTXT CAFFEMODEL IMAGES THREADS [MEAN...]: where a
 * conversion's time goes. Prints lines "name value unit"; see bench/speed.py and bench/gpu.py.
 * Decoding, forward and statistics are run apart, each on all threads, then all together as
 * calibration does. On a GPU "first" is a forward that finds no kernel compiled yet. */
#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "api/macs.h"
#include "api/model.h"
#include "base/simd.h"
#include "base/thread.h"
#include "calib/samples.h"
#include "calib/stats_gpu.h"
#include "device_peak.h"
#include "ops/rows.h"
#include "quant/quant.h"

enum { MOST_PICTURES = 200 };

struct bench {
    const char *proto, *weights;
    int device; /* -1: the CPU */
    q8_gpu *gpu;
    q8_calib_opts opts;
    q8_env env;
    q8_model *model;
    q8_samples *samples;
    q8_exec *exec;
    int batch;
    atomic_size_t next;
    q8_err *err;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t pictures(const struct bench *b)
{
    return q8_samples_count(b->samples);
}

static void print_ms(const struct bench *b, const char *what, double seconds)
{
    printf("%s %.4f ms/picture\n", what, 1000 * seconds / (double)pictures(b));
}

static q8_code read_into(const struct bench *b, q8_run *run, size_t sample, int at,
                         q8_sample_room *room, q8_err *err)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < q8_samples_inputs(b->samples) && !code; i++)
        code = q8_samples_read(b->samples, sample, i, q8_run_input(run, i, at), room, err);
    return code;
}

static q8_code decode(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct bench *b = user;
    q8_run *run;
    q8_sample_room room = {0};
    q8_code code = q8_run_open(&run, b->exec, err);
    for (size_t i; !code && (i = atomic_fetch_add(&b->next, 1)) < pictures(b);)
        code = read_into(b, run, i, 0, &room, err);
    q8_sample_room_free(&room);
    q8_run_close(&run);
    return code;
}

static q8_code forward(const struct bench *b, q8_run *run, const float *picture, size_t count,
                       q8_observe_fn observe, void *user, q8_err *err)
{
    for (int i = 0; i < b->batch; i++)
        memcpy(q8_run_input(run, 0, i), picture, count * sizeof(*picture));
    return q8_run_forward(run, b->batch, observe, user, err);
}

/* The first sample's first input again and again. */
static q8_code compute(struct bench *b, q8_observe_fn observe, void *user, q8_err *err)
{
    q8_run *run;
    float *picture = NULL;
    const q8_graph *graph = b->model->graph;
    const size_t count = q8_shape_count(&graph->tensor[graph->node[0]->out[0]].shape);
    q8_code code = q8_run_open(&run, b->exec, err);
    if (!code && !(picture = malloc(count * sizeof(*picture))))
        code = q8_fail_nomem(err);
    if (!code)
        code = q8_samples_read(b->samples, 0, 0, picture, NULL, err);
    while (!code && atomic_fetch_add(&b->next, (size_t)b->batch) < pictures(b))
        code = forward(b, run, picture, count, observe, user, err);
    free(picture);
    q8_run_close(&run);
    return code;
}

static q8_code compute_only(void *user, int worker, q8_err *err)
{
    (void)worker;
    return compute(user, NULL, NULL, err);
}

struct observer {
    q8_stats *stats; /* by tensor */
    q8_channel_queue *queue;
    q8_stats_waiting *waiting;
};

static q8_code observe(void *user, int tensor, const q8_view *view, q8_err *err)
{
    struct observer *o = user;
    q8_stats *stats = &o->stats[tensor];
    const q8_code code = stats->channels ? Q8_OK : q8_stats_init(stats, view->shape.dim[0], err);
    if (!code && view->gpu)
        return q8_stats_add_on_gpu(stats, &o->waiting[tensor], true, view, err);
    return code ? code : q8_stats_queue(stats, &o->queue[tensor], view, err);
}

static q8_code compute_and_observe(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct bench *b = user;
    const size_t n = (size_t)b->model->graph->n_tensors + 1;
    struct observer o = {calloc(n, sizeof(*o.stats)), calloc(n, sizeof(*o.queue)),
                         calloc(n, sizeof(*o.waiting))};
    const bool open = o.stats && o.queue && o.waiting;
    q8_code code = open ? compute(b, observe, &o, err) : q8_fail_nomem(err);
    for (size_t i = 0; open && i < n; i++) {
        if (!code)
            code = q8_stats_collect(&o.stats[i], &o.waiting[i], err);
        q8_stats_free(&o.stats[i]);
        q8_channel_queue_close(&o.queue[i]);
        q8_stats_waiting_close(&o.waiting[i]);
    }
    free(o.stats);
    free(o.queue);
    free(o.waiting);
    return code;
}

/* Fused multiply-adds in registers, as many as a core can do. */
#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("avx512f", "fma", "default")))
#endif
static float
multiply_add(float x, int times)
{
    enum { WIDE = 192 };
    float sum[WIDE];
    for (int i = 0; i < WIDE; i++)
        sum[i] = (float)i;
    for (int k = 0; k < times; k++)
        for (int i = 0; i < WIDE; i++)
            sum[i] = __builtin_fmaf(sum[i], x, 1e-7F);
    for (int i = 1; i < WIDE; i++)
        sum[0] += sum[i];
    return sum[0] * 2 / WIDE;
}

static q8_code fill_core(void *user, int worker, q8_err *err)
{
    (void)worker, (void)err;
    volatile float *result = user;
    *result = multiply_add(0.999F, 1 << 20);
    return Q8_OK;
}

static void print_peak(int threads)
{
    enum { ROUNDS = 5, PER_ROUND = 1 << 20, WIDE = 192 };
    float result;
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now();
        q8_parallel(threads, fill_core, &result, NULL);
        best = now() - start < best ? now() - start : best;
    }
    printf("fma_peak %.1f GFLOP/s\n", 2.0 * WIDE * PER_ROUND * threads / best * 1e-9);
}

static q8_code time_threads(struct bench *b, const char *what, q8_worker_fn fn)
{
    atomic_store(&b->next, 0);
    const double start = now();
    const q8_code code = q8_parallel(b->env.threads, fn, b, b->err);
    print_ms(b, what, now() - start);
    return code;
}

static q8_code open_exec(struct bench *b)
{
    const q8_graph *graph = b->model->graph;
    bool *wanted = q8_arena_array(graph->arena, (size_t)graph->n_tensors + 1, sizeof(*wanted));
    if (!wanted)
        return q8_fail_nomem(b->err);
    q8_quant_wanted(graph, wanted);
    enum { GPU_BATCH = 8 }; /* as calibration has it */
    const q8_exec_opts opts = {.backend = b->gpu ? Q8_BACKEND_GPU : Q8_BACKEND_CPU,
                               .batch = b->gpu ? GPU_BATCH : q8_exec_best_batch(graph),
                               .gpu = b->gpu,
                               .gpu_views = true,
                               .wanted = wanted,
                               .threads = b->env.threads};
    b->batch = opts.batch;
    const double start = now();
    const q8_code code = q8_exec_open(&b->exec, graph, &opts, b->err);
    printf("plan %.4f s\nbatch %d pictures\n", now() - start, b->batch);
    uint64_t macs = 0;
    for (int i = 0; !code && i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (*q8_exec_node_backend(b->exec, i))
            macs += q8_node_macs(node, &graph->tensor[node->in[0]].shape,
                                 &graph->tensor[node->out[0]].shape);
    }
    printf("work %.4f GFLOP/picture\n", 2e-9 * (double)macs);
    return code;
}

static q8_code time_parts(struct bench *b)
{
    q8_code code = q8_samples_open(&b->samples, b->model->graph, &b->opts, NULL, &b->env, b->err);
    if (!code)
        code = open_exec(b);
    if (!code)
        code = time_threads(b, "decode", decode);
    if (!code && b->gpu)
        code = time_threads(b, "first", compute_only);
    if (!code)
        code = time_threads(b, "forward", compute_only);
    if (!code)
        code = time_threads(b, "forward+statistics", compute_and_observe);
    return code;
}

/* `how` names the quantising. */
static q8_code time_quantize(struct bench *b, const char *how, const q8_quant_opts *opts)
{
    const double start = now();
    const q8_code code = q8_quantize(b->model, opts, &b->env, b->err);
    printf("%s %.4f s\n", how, now() - start);
    return code;
}

static q8_code time_stages(struct bench *b)
{
    const q8_quant_opts plain = {.no_bias_correction = true, .round_nearest = true};
    const q8_quant_opts refined = {.pictures = &b->opts};
    const q8_verify_opts on = {.pictures = b->opts, .calibrated_on = pictures(b)};
    const q8_output output = {.param = "/tmp/q8-bench.param", .bin = "/tmp/q8-bench.bin"};
    q8_verify_opts some = on;
    q8_verify_result verified = {0};
    some.pictures.limit = 32;
    double start = now();
    q8_code code = q8_calibrate(b->model, &b->opts, &b->env, NULL, b->err);
    print_ms(b, "calibrate", now() - start);
    if (!code)
        code = time_quantize(b, "quantize", &plain);
    if (!code)
        code = time_quantize(b, "quantize+refine", &refined);
    start = now();
    if (!code)
        code = q8_verify(b->model, &some, &b->env, &verified, b->err);
    q8_verify_free(&verified);
    printf("verify %.4f s\n", now() - start);
    start = now();
    if (!code)
        code = q8_write(b->model, Q8_INT8, &output, NULL, b->err);
    printf("write %.4f s\n", now() - start);
    remove(output.param);
    remove(output.bin);
    return code;
}

static q8_code run(struct bench *b)
{
    const q8_model_opts open = {.proto = b->proto, .model = b->weights};
    const double start = now();
    q8_code code = q8_model_open(&b->model, &open, &b->env, b->err);
    printf("open %.4f s\n", now() - start);
    if (!code)
        q8_model_use_gpu(b->model, b->gpu);
    if (!code)
        code = time_parts(b);
    if (!code)
        code = time_stages(b);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("peak %.1f MiB\n", (double)usage.ru_maxrss / 1024);
    q8_exec_close(&b->exec);
    q8_samples_close(&b->samples);
    q8_model_close(&b->model);
    return code;
}

static bool parse(struct bench *b, int argc, char **argv)
{
    static const struct option flags[] = {{"gpu", required_argument, NULL, 'g'},
                                          {"pictures", required_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    for (int flag; (flag = getopt_long(argc, argv, "+", flags, NULL)) != -1;) {
        if (flag == 'g')
            b->device = atoi(optarg);
        else if (flag == 'p' && atoi(optarg) > 0)
            b->opts.limit = (size_t)atoi(optarg);
        else
            return false;
    }
    char **word = argv + optind;
    if (argc - optind < 4)
        return false;
    b->proto = word[0];
    b->weights = word[1];
    b->opts.images = (const char *const *)&word[2];
    b->env.threads = atoi(word[3]) > 0 ? atoi(word[3]) : q8_core_count();
    for (int i = 4; optind + i < argc && b->opts.preprocess.n_mean < 4; i++)
        b->opts.preprocess.mean[b->opts.preprocess.n_mean++] = strtof(word[i], NULL);
    return true;
}

/* On the device there is, with its peak. */
static q8_code run_there(struct bench *b)
{
    q8_code code = b->device < 0 ? Q8_OK : q8_gpu_open(&b->gpu, b->device, b->err);
    if (b->gpu)
        printf("fma_peak %.1f GFLOP/s\n", device_peak(b->gpu));
    else if (!code)
        print_peak(b->env.threads);
    if (!code)
        code = run(b);
    q8_gpu_close(&b->gpu);
    return code;
}

int main(int argc, char **argv)
{
    static q8_err err;
    struct bench b = {.device = -1, .err = &err};
    b.opts = (q8_calib_opts){.n_images = 1, .limit = MOST_PICTURES};
    if (!parse(&b, argc, argv)) {
        fputs("usage: stages [--gpu DEVICE] [--pictures N] PROTOTXT CAFFEMODEL IMAGES THREADS "
              "[MEAN...]\n",
              stderr);
        return 2;
    }
    char text[8192];
    if (run_there(&b) == Q8_OK)
        return 0;
    q8_err_format(&err, "error", text, sizeof(text));
    fprintf(stderr, "%s\n", text);
    return 1;
}
