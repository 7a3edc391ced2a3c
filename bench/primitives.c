/* primitives PROTOTXT CAFFEMODEL [BATCH...]: each layer of a network alone, on one core, with warm
 * caches: milliseconds per picture of oneDNN's direct and winograd convolutions (fp32, and bf16
 * direct) at each batch, in blocks of 16 channels, and of what runs the other layers, for one
 * picture; a Concat need not cost anything. The last lines are sums over the network of the best
 * per layer. Tells how near the program's forward is to what the library can do; see
 * bench/speed.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <oneapi/dnnl/dnnl.h>

#include "api/model.h"
#include "exec/layout.h"
#include "exec/onednn.h"
#include "exec/plan.h"
#include "ops/conv.h"
#include "ops/rows.h"
#include "quant/quant.h"

void omp_set_num_threads(int n);

enum { MOST_BATCHES = 8, KINDS = 3 };

static const char *const kinds[KINDS] = {"direct", "winograd", "bf16"};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(dnnl_status_t status)
{
    if (status) {
        fprintf(stderr, "oneDNN: error %d\n", status);
        exit(1);
    }
}

/* A layer's dims as oneDNN takes them. */
struct shape {
    dnnl_dims_t src, dst, weights, stride, dilation, before, after;
    int weights_rank;
};

static struct shape shape_of(const q8_graph *graph, const q8_node *node, int batch)
{
    const q8_conv_attr *a = node->attr;
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    const q8_shape *out = &graph->tensor[node->out[0]].shape;
    struct shape s = {
        .src = {batch, in->dim[0], in->dim[1], in->dim[2]},
        .dst = {batch, out->dim[0], out->dim[1], out->dim[2]},
        .stride = {a->stride_h, a->stride_w},
        .dilation = {a->dilation_h - 1, a->dilation_w - 1},
        .before = {a->pad_top, a->pad_left},
    };
    const dnnl_dim_t g = a->group;
    const dnnl_dims_t whole = {out->dim[0], in->dim[0], a->kernel_h, a->kernel_w};
    const dnnl_dims_t grouped = {g, out->dim[0] / g, in->dim[0] / g, a->kernel_h, a->kernel_w};
    memcpy(s.weights, g > 1 ? grouped : whole, sizeof(s.weights));
    s.weights_rank = g > 1 ? 5 : 4;
    for (int i = 0; i < 2; i++) {
        const dnnl_dim_t kernel = i ? a->kernel_w : a->kernel_h;
        const dnnl_dim_t extent = (kernel - 1) * (s.dilation[i] + 1) + 1;
        s.after[i] = (s.dst[2 + i] - 1) * s.stride[i] + extent - s.src[2 + i] - s.before[i];
    }
    return s;
}

/* Memory of a described tensor, filled with small numbers where it is fp32. */
static dnnl_memory_t new_memory(dnnl_engine_t engine, const dnnl_memory_desc_t *md, void **data)
{
    dnnl_memory_t memory;
    const size_t size = dnnl_memory_desc_get_size(md);
    *data = aligned_alloc(64, (size + 64) / 64 * 64);
    if (!*data)
        exit(1);
    memset(*data, 0, (size + 64) / 64 * 64);
    for (size_t i = 0; md->data_type == dnnl_f32 && i < size / 4; i++)
        ((float *)*data)[i] = (float)(i % 13) * 0.01F;
    check(dnnl_memory_create(&memory, md, engine, *data));
    return memory;
}

/* The least seconds of one execution within some time. */
static double time_primitive(dnnl_engine_t engine, dnnl_primitive_desc_t pd)
{
    static const int arg[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[4];
    void *data[4];
    double best = INFINITY;
    check(dnnl_primitive_create(&primitive, pd));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    for (int i = 0; i < 4; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg[i]);
        args[i] = (dnnl_exec_arg_t){arg[i], new_memory(engine, md, &data[i])};
    }
    const double end = now() + 0.06;
    for (int i = 0; i < 4 || now() < end; i++) {
        const double start = now();
        check(dnnl_primitive_execute(primitive, stream, 4, args));
        check(dnnl_stream_wait(stream));
        best = fmin(best, now() - start);
    }
    for (int i = 0; i < 4; i++) {
        dnnl_memory_destroy(args[i].memory);
        free(data[i]);
    }
    dnnl_stream_destroy(stream);
    dnnl_primitive_destroy(primitive);
    return best;
}

/* Milliseconds per picture; infinite where there is no such primitive. */
static double time_kind(dnnl_engine_t engine, const struct shape *s, int kind)
{
    const dnnl_data_type_t type = kind == 2 ? dnnl_bf16 : dnnl_f32;
    const dnnl_alg_kind_t alg = kind == 1 ? dnnl_convolution_winograd : dnnl_convolution_direct;
    dnnl_memory_desc_t src, dst, weights;
    dnnl_convolution_desc_t op;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
    const dnnl_format_tag_t format = kind == 2       ? dnnl_format_tag_any
                                     : s->src[1] < 4 ? dnnl_nchw
                                                     : dnnl_nChw16c;
    check(dnnl_memory_desc_init_by_tag(&src, 4, s->src, type, format));
    check(dnnl_memory_desc_init_by_tag(&dst, 4, s->dst, dnnl_f32,
                                       kind == 2 ? dnnl_format_tag_any : dnnl_nChw16c));
    check(dnnl_memory_desc_init_by_tag(&weights, s->weights_rank, s->weights, type,
                                       dnnl_format_tag_any));
    check(dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_inference, alg, &src,
                                                     &weights, NULL, &dst, s->stride, s->dilation,
                                                     s->before, s->after));
    check(dnnl_primitive_attr_create(&attr));
    check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    const dnnl_status_t status = dnnl_primitive_desc_create(&pd, &op, attr, engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    if (status)
        return INFINITY;
    const char *name;
    check(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
    const double seconds = strstr(name, "ref") ? (double)INFINITY : time_primitive(engine, pd);
    dnnl_primitive_desc_destroy(pd);
    return 1000 * seconds / (double)s->src[0];
}

static void time_layer(const q8_graph *graph, const q8_node *node, const int *batch, int n,
                       double *best)
{
    dnnl_engine_t engine;
    double least[KINDS] = {INFINITY, INFINITY, INFINITY};
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    const struct shape one = shape_of(graph, node, 1);
    printf("%4dx%-4dx%-4d to %4d", (int)one.src[1], (int)one.src[2], (int)one.src[3],
           (int)one.dst[1]);
    for (int kind = 0; kind < KINDS; kind++) {
        printf("  %s", kinds[kind]);
        for (int i = 0; i < n; i++) {
            const struct shape s = shape_of(graph, node, batch[i]);
            const double ms = time_kind(engine, &s, kind);
            least[kind] = fmin(least[kind], ms);
            printf(" %.3f", ms);
        }
    }
    printf("  %s\n", node->name);
    best[0] += fmin(least[0], least[1]);
    best[1] += fmin(fmin(least[0], least[1]), least[2]);
    dnnl_engine_destroy(engine);
}

/* A picture in the layout that `block` asks for. */
static float *new_picture(const q8_shape *shape, int block)
{
    const size_t count = q8_layout_count(shape, block);
    float *data = aligned_alloc(64, (count * sizeof(*data) + 64) / 64 * 64);
    if (!data)
        exit(1);
    for (size_t i = 0; i < count; i++)
        data[i] = (float)(i % 13) * 0.01F;
    return data;
}

/* The least seconds of one run within some time. */
static double time_kernel(const q8_kernel *kernel, const float *const *in, float *const *out)
{
    q8_err err = {0};
    double best = INFINITY;
    void *scratch = aligned_alloc(64, (kernel->scratch + 64) / 64 * 64);
    const double end = now() + 0.06;
    for (int i = 0; scratch && (i < 4 || now() < end); i++) {
        const double start = now();
        if (kernel->run(kernel, in, out, scratch, &err))
            exit(1);
        best = fmin(best, now() - start);
    }
    free(scratch);
    return best;
}

/* A layer that is no convolution. */
static double time_other(const q8_graph *graph, const q8_node *node)
{
    enum { MOST_EDGES = 64 };
    int block[MOST_EDGES];
    float *edge[MOST_EDGES];
    q8_kernel *kernel;
    q8_err err = {0};
    const char *backend;
    if (node->n_in + node->n_out > MOST_EDGES)
        return 0;
    for (int i = 0; i < node->n_in; i++)
        block[i] = graph->tensor[node->in[i]].shape.rank == 3 ? 16 : 1;
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU, .batch = 1};
    if (q8_plan_kernel(graph, node, &opts, block, &kernel, &backend, &err))
        exit(1);
    for (int i = 0; i < node->n_in; i++)
        edge[i] = new_picture(&graph->tensor[node->in[i]].shape, kernel->in_block);
    for (int i = 0; i < node->n_out; i++)
        edge[node->n_in + i] = new_picture(&graph->tensor[node->out[i]].shape, kernel->out_block);
    const double ms = 1000 * time_kernel(kernel, (const float *const *)edge, edge + node->n_in);
    printf("%s, %s: %.3f  %s\n", node->op->type, backend, ms, node->name);
    for (int i = 0; i < node->n_in + node->n_out; i++)
        free(edge[i]);
    kernel->close(kernel);
    return ms;
}

/* Does a plan give it a step of its own? */
static bool has_step(const q8_graph *graph, const q8_node *node)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    const q8_shape *out = &graph->tensor[node->out[0]].shape;
    return node->op != &q8_op_concat &&
           !(node->n_in == 1 && node->op->is_identity && node->op->is_identity(node, in, out));
}

/* Only what calibration runs: layers whose output something observed needs. */
static void mark_needed(const q8_graph *graph, bool *needed)
{
    q8_quant_wanted(graph, needed);
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        const q8_node *node = graph->node[i];
        bool is = false;
        for (int k = 0; k < node->n_out; k++)
            is = is || needed[node->out[k]];
        for (int k = 0; is && k < node->n_in; k++)
            needed[node->in[k]] = true;
    }
}

int main(int argc, char **argv)
{
    static q8_err err;
    int batch[MOST_BATCHES] = {1, 8}, n = argc > 3 ? 0 : 2;
    q8_model *model;
    double best[2] = {0, 0}, others = 0;
    if (argc < 3) {
        fputs("usage: primitives PROTOTXT CAFFEMODEL [BATCH...]\n", stderr);
        return 2;
    }
    for (int i = 3; i < argc && n < MOST_BATCHES; i++)
        batch[n++] = atoi(argv[i]);
    const q8_model_opts open = {.proto = argv[1], .model = argv[2]};
    if (q8_model_open(&model, &open, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    omp_set_num_threads(1);
    const q8_graph *graph = model->graph;
    bool *needed = calloc((size_t)graph->n_tensors + 1, sizeof(*needed));
    if (!needed)
        return 1;
    mark_needed(graph, needed);
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        if (node->op == &q8_op_input || !needed[node->out[0]])
            continue;
        if (node->op == &q8_op_convolution || node->op == &q8_op_convolutiondepthwise)
            time_layer(graph, node, batch, n, best);
        else if (has_step(graph, node))
            others += time_other(graph, node);
    }
    best[0] += others;
    best[1] += others;
    printf("sum_of_best %.4f ms/picture\nsum_of_best_with_bf16 %.4f ms/picture\n", best[0],
           best[1]);
    free(needed);
    q8_model_close(&model);
    return 0;
}
