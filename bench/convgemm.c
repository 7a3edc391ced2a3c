/* convgemm DEVICE BATCH PROTOTXT CAFFEMODEL: a network's convolutions without groups on an OpenCL
 * device, as the program runs them (im2col and CLBlast's strided-batched GEMM) and by CLBlast's
 * Convgemm, taking turns. Prints a line for each, the least milliseconds per picture, and how far
 * apart the results are. Convolutions that Convgemm cannot do are left out and counted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/model.h"
#include "exec/opencl.h"
#include "ops/conv.h"
#include "ops/rows.h"

enum { ROUNDS = 5 };

struct layer {
    q8_gpu *gpu;
    const q8_graph *graph;
    q8_node node; /* without bias and activation */
    q8_conv_attr attr;
    int batch;
    q8_kernel *kernel;
    q8_gpu_run *run;
    q8_spot spot[3]; /* input, output, Convgemm's output */
    cl_mem weight;
    size_t bytes[2];
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool fits(const q8_node *node)
{
    const q8_conv_attr *a = node->op == &q8_op_convolution ? node->attr : NULL;
    return a && a->pad_left == a->pad_right && a->pad_top == a->pad_bottom;
}

static size_t aligned(size_t bytes)
{
    return (bytes + Q8_GPU_ALIGN - 1) / Q8_GPU_ALIGN * Q8_GPU_ALIGN;
}

static q8_code fill(struct layer *l, q8_err *err)
{
    float *x = malloc(l->bytes[0]);
    if (!x)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < l->bytes[0] / sizeof(*x); i++)
        x[i] = (float)(i * 2654435761U % 1024) / 512 - 1;
    const cl_int status = clEnqueueWriteBuffer(l->run->queue, l->spot[0].gpu, CL_TRUE, 0,
                                               l->bytes[0], x, 0, NULL, NULL);
    free(x);
    return status ? q8_cl_fail(l->gpu, "take data", status, err) : Q8_OK;
}

static q8_code open_layer(struct layer *l, const q8_node *node, q8_err *err)
{
    l->attr = *(const q8_conv_attr *)node->attr;
    l->attr.bias_term = 0;
    l->attr.activation = (q8_activation){.type = Q8_ACT_NONE};
    l->node = *node;
    l->node.attr = &l->attr;
    l->node.weight[1] = (q8_weight){0};
    const int tensor[] = {node->in[0], node->out[0]};
    for (int i = 0; i < 2; i++)
        l->bytes[i] =
            q8_shape_count(&l->graph->tensor[tensor[i]].shape) * (size_t)l->batch * sizeof(float);
    const size_t out = aligned(l->bytes[0]), second = out + aligned(l->bytes[1]);
    const q8_slab_part part[] = {{.bytes = l->bytes[0], .on_gpu = true},
                                 {.bytes = l->bytes[1], .offset = out, .on_gpu = true},
                                 {.bytes = l->bytes[1], .offset = second, .on_gpu = true}};
    q8_code code = q8_gpu_compile(l->gpu, l->graph, &l->node, l->batch, &l->kernel, err);
    if (!code)
        code = q8_gpu_run_open(&l->run, l->gpu, part, 3, second + aligned(l->bytes[1]),
                               l->kernel->gpu_scratch, err);
    for (int i = 0; i < 3 && !code; i++)
        l->spot[i].gpu = q8_gpu_run_part(l->run, i);
    if (!code)
        code = q8_cl_constant(l->gpu, &l->weight, node->weight[0].data,
                              node->weight[0].count * sizeof(float), err);
    return code ? code : fill(l, err);
}

static void close_layer(struct layer *l)
{
    if (l->weight)
        clReleaseMemObject(l->weight);
    q8_gpu_run_close(&l->run);
    if (l->kernel)
        l->kernel->close(l->kernel);
}

static q8_code run_ours(struct layer *l, q8_err *err)
{
    return l->kernel->enqueue(l->kernel, l->run, &l->spot[0], &l->spot[1], err);
}

static q8_code run_convgemm(struct layer *l, q8_err *err)
{
    const q8_conv_attr *a = &l->attr;
    const int *in = l->graph->tensor[l->node.in[0]].shape.dim;
    const CLBlastStatusCode status = CLBlastSconvgemm(
        CLBlastKernelModeCrossCorrelation, (size_t)in[0], (size_t)in[1], (size_t)in[2],
        (size_t)a->kernel_h, (size_t)a->kernel_w, (size_t)a->pad_top, (size_t)a->pad_left,
        (size_t)a->stride_h, (size_t)a->stride_w, (size_t)a->dilation_h, (size_t)a->dilation_w,
        (size_t)a->num_output, (size_t)l->batch, l->spot[0].gpu, 0, l->weight, 0, l->spot[2].gpu, 0,
        &l->run->queue, NULL);
    return status ? q8_cl_fail(l->gpu, "run Convgemm", (cl_int)status, err) : Q8_OK;
}

static q8_code time_one(struct layer *l, q8_code (*run)(struct layer *, q8_err *), double *best,
                        q8_err *err)
{
    const double start = now();
    q8_code code = run(l, err);
    if (!code)
        code = q8_gpu_run_finish(l->run, err);
    *best = fmin(*best, 1000 * (now() - start) / l->batch);
    return code;
}

/* The largest difference of the two outputs over the largest value. */
static q8_code compare(const struct layer *l, double *apart, q8_err *err)
{
    const size_t n = l->bytes[1] / sizeof(float);
    float *y[] = {malloc(l->bytes[1]), malloc(l->bytes[1])};
    double difference = 0, largest = 0;
    cl_int status = y[0] && y[1] ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    for (int i = 0; i < 2 && !status; i++)
        status = clEnqueueReadBuffer(l->run->queue, l->spot[i + 1].gpu, CL_TRUE, 0, l->bytes[1],
                                     y[i], 0, NULL, NULL);
    for (size_t i = 0; i < n && !status; i++) {
        difference = fmax(difference, fabs((double)y[0][i] - (double)y[1][i]));
        largest = fmax(largest, fabs((double)y[0][i]));
    }
    *apart = difference / largest;
    free(y[0]);
    free(y[1]);
    return status ? q8_cl_fail(l->gpu, "hand data back", status, err) : Q8_OK;
}

static q8_code measure(struct layer *l, const q8_node *node, double total[2], q8_err *err)
{
    double best[2] = {INFINITY, INFINITY}, apart = 0;
    q8_code code = open_layer(l, node, err);
    for (int i = 0; i < ROUNDS && !code; i++) {
        code = time_one(l, run_ours, &best[0], err);
        if (!code)
            code = time_one(l, run_convgemm, &best[1], err);
    }
    if (!code)
        code = compare(l, &apart, err);
    if (!code)
        printf("%-28s %dx%d ours %.3f ms, Convgemm %.3f ms, apart %.1e\n", node->name,
               l->attr.kernel_h, l->attr.kernel_w, best[0], best[1], apart);
    total[0] += best[0];
    total[1] += best[1];
    close_layer(l);
    return code;
}

static q8_code run(char **word, q8_err *err)
{
    q8_gpu *gpu = NULL;
    q8_model *model = NULL;
    double total[2] = {0, 0};
    int left_out = 0;
    const q8_model_opts open = {.proto = word[3], .model = word[4]};
    q8_code code = q8_gpu_open(&gpu, atoi(word[1]), err);
    if (!code)
        code = q8_model_open(&model, &open, NULL, err);
    for (int i = 0; !code && i < model->graph->n_nodes; i++) {
        const q8_node *node = model->graph->node[i];
        struct layer l = {.gpu = gpu, .graph = model->graph, .batch = atoi(word[2])};
        if (fits(node))
            code = measure(&l, node, total, err);
        else
            left_out += node->op == &q8_op_convolution;
    }
    if (!code)
        printf("all: ours %.2f ms, Convgemm %.2f ms per picture; %d left out\n", total[0], total[1],
               left_out);
    q8_model_close(&model);
    q8_gpu_close(&gpu);
    return code;
}

int main(int argc, char **argv)
{
    static q8_err err;
    char text[8192];
    if (argc != 5 || atoi(argv[2]) < 1) {
        fputs("usage: convgemm DEVICE BATCH PROTOTXT CAFFEMODEL\n", stderr);
        return 2;
    }
    if (run(argv, &err) == Q8_OK)
        return 0;
    q8_err_format(&err, "error", text, sizeof(text));
    fprintf(stderr, "%s\n", text);
    return 1;
}
