/* primitives PROTOTXT CAFFEMODEL [BATCH...]: each layer of a network as it runs in a forward pass
 * of the program, and alone, on one core: milliseconds per picture in the network, of oneDNN's
 * direct and winograd convolutions (fp32, and bf16 direct) at each batch, with bias and ReLU as the
 * network has them, warm caches and blocks of 16 channels, and of what runs the other layers, for
 * one picture; a Concat need not cost anything. A layer whose output calibration does not look at
 * ("-") counts with the next that it does, as one kernel may do both. Passes and single layers take
 * turns, as the machine's speed changes from second to second. The last lines are sums over the
 * network: of the best per layer, and of what the layers take in it. Tells how near the program's
 * forward is to what the library can do; see bench/speed.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <oneapi/dnnl/dnnl.h>

#include "api/model.h"
#include "base/pages.h"
#include "calib/calibrate.h"
#include "exec/layout.h"
#include "exec/onednn.h"
#include "exec/plan.h"
#include "ops/conv.h"
#include "ops/rows.h"
#include "quant/quant.h"

void omp_set_num_threads(int n);

enum { MOST_BATCHES = 8, KINDS = 3, MOST_EDGES = 64, ARGS = 5 };

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
    bool relu; /* fused, as the program does */
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
        .relu = a->activation.type == Q8_ACT_RELU,
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

/* --- the network ------------------------------------------------------------------------------ */

/* Forward passes, of which the time of every layer is known. */
struct network {
    q8_exec *exec;
    q8_run *run;
    int batch;
    double last; /* when the latest tensor was there */
    int n_tensors;
    int *shown;    /* by tensor: how often in this pass, once for each picture or for all */
    double *spent; /* [tensor][time it is shown]: seconds since the one before, the least there
                      were, as of single layers; 0: it is not shown so often */
};

static q8_code note_time(void *user, int tensor, const q8_view *view, q8_err *err)
{
    (void)view, (void)err;
    struct network *n = user;
    const double t = now();
    double *spent = &n->spent[tensor * n->batch + n->shown[tensor]++];
    *spent = *spent > 0 ? fmin(*spent, t - n->last) : t - n->last;
    n->last = t;
    return Q8_OK;
}

/* Plans it as calibration does.
 * @param observed by tensor */
static q8_code open_network(struct network *n, const q8_graph *graph, const bool *observed,
                            q8_err *err)
{
    n->batch = q8_exec_best_batch(graph);
    n->n_tensors = graph->n_tensors;
    n->spent = calloc((size_t)graph->n_tensors * (size_t)n->batch + 1, sizeof(*n->spent));
    n->shown = calloc((size_t)graph->n_tensors + 1, sizeof(*n->shown));
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU, .batch = n->batch, .wanted = observed};
    q8_code code =
        n->spent && n->shown ? q8_exec_open(&n->exec, graph, &opts, err) : q8_fail_nomem(err);
    if (!code)
        code = q8_run_open(&n->run, n->exec, err);
    for (int i = 0; !code && i < n->batch; i++) {
        const size_t count = q8_shape_count(&graph->tensor[graph->node[0]->out[0]].shape);
        float *picture = q8_run_input(n->run, 0, i);
        for (size_t k = 0; k < count; k++)
            picture[k] = (float)(k % 251) - 125.F;
    }
    return code;
}

static void close_network(struct network *n)
{
    q8_run_close(&n->run);
    q8_exec_close(&n->exec);
    free(n->spent);
    free(n->shown);
}

static void pass(struct network *n)
{
    q8_err err = {0};
    for (int t = 0; t < n->n_tensors; t++)
        n->shown[t] = 0;
    n->last = now();
    if (q8_run_forward(n->run, n->batch, note_time, n, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

/* --- layers alone ----------------------------------------------------------------------------- */

/* A layer at one batch, ready to be run: a primitive with its memory, or a kernel with its edges.
 */
struct candidate {
    dnnl_primitive_desc_t pd; /* NULL: a kernel, or nothing at all */
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[ARGS];
    void *data[ARGS];
    q8_kernel *kernel;
    float *edge[MOST_EDGES];
    int n_in, n_edges;
    void *scratch, *constants;
    int batch;
    double best; /* seconds per picture; infinite where there is no such primitive */
};

static void open_primitive(struct candidate *c, dnnl_engine_t engine, dnnl_primitive_desc_t pd)
{
    static const int arg[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST,
                              DNNL_ARG_SCRATCHPAD};
    c->pd = pd;
    check(dnnl_primitive_create(&c->primitive, pd));
    check(dnnl_stream_create(&c->stream, engine, dnnl_stream_default_flags));
    for (int i = 0; i < ARGS; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg[i]);
        c->args[i] = (dnnl_exec_arg_t){arg[i], new_memory(engine, md, &c->data[i])};
    }
}

static void close_candidate(struct candidate *c)
{
    if (c->pd) {
        for (int i = 0; i < ARGS; i++) {
            dnnl_memory_destroy(c->args[i].memory);
            free(c->data[i]);
        }
        dnnl_stream_destroy(c->stream);
        dnnl_primitive_destroy(c->primitive);
        dnnl_primitive_desc_destroy(c->pd);
    }
    if (c->kernel)
        c->kernel->close(c->kernel);
    for (int i = 0; i < c->n_edges; i++)
        free(c->edge[i]);
    free(c->scratch);
    free(c->constants);
}

/* The first execution warms the caches. */
static void run_candidate(struct candidate *c)
{
    enum { TIMES = 4 };
    q8_err err = {0};
    for (int i = 0; i < TIMES && (c->pd || c->kernel); i++) {
        const double start = now();
        if (c->pd) {
            check(dnnl_primitive_execute(c->primitive, c->stream, ARGS, c->args));
            check(dnnl_stream_wait(c->stream));
        } else if (c->kernel->run(c->kernel, (const float *const *)c->edge, c->edge + c->n_in,
                                  c->scratch, &err)) {
            exit(1);
        }
        c->best = fmin(c->best, (now() - start) / c->batch);
    }
}

/* Milliseconds per picture. */
static double spent_on(const struct network *n, int tensor)
{
    double sum = 0;
    for (int i = 0; i < n->batch; i++)
        sum += n->spent[tensor * n->batch + i];
    return 1000 * sum / n->batch;
}

static void print_spent(double milliseconds)
{
    if (milliseconds > 0)
        printf("network %.3f", milliseconds);
    else
        printf("network     -");
}

/* Passes of the network and the candidates in turns for some time. */
static void take_turns(struct network *network, const q8_graph *graph, struct candidate *c, int n)
{
    for (int i = 0; i < graph->n_tensors * network->batch; i++)
        network->spent[i] = 0;
    enum { PASSES = 3 }; /* the first has what the candidates left in the caches */
    const double end = now() + 0.5;
    for (int round = 0; round < 6 || now() < end; round++) {
        for (int i = 0; i < PASSES; i++)
            pass(network);
        for (int i = 0; i < n; i++)
            run_candidate(&c[i]);
    }
}

/* --- convolutions ----------------------------------------------------------------------------- */

static void open_convolution(struct candidate *c, dnnl_engine_t engine, const struct shape *s,
                             int kind)
{
    const dnnl_data_type_t type = kind == 2 ? dnnl_bf16 : dnnl_f32;
    const dnnl_alg_kind_t alg = kind == 1 ? dnnl_convolution_winograd : dnnl_convolution_direct;
    dnnl_memory_desc_t src, dst, weights, bias;
    dnnl_post_ops_t ops;
    dnnl_convolution_desc_t op;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
    const dnnl_format_tag_t format = kind == 2       ? dnnl_format_tag_any
                                     : s->src[1] < 4 ? dnnl_nchw
                                                     : dnnl_nChw16c;
    *c = (struct candidate){.batch = (int)s->src[0], .best = INFINITY};
    check(dnnl_memory_desc_init_by_tag(&src, 4, s->src, type, format));
    check(dnnl_memory_desc_init_by_tag(&dst, 4, s->dst, dnnl_f32,
                                       kind == 2 ? dnnl_format_tag_any : dnnl_nChw16c));
    check(dnnl_memory_desc_init_by_tag(&weights, s->weights_rank, s->weights, type,
                                       dnnl_format_tag_any));
    const dnnl_dims_t outputs = {s->dst[1]};
    check(dnnl_memory_desc_init_by_tag(&bias, 1, outputs, dnnl_f32, dnnl_a));
    check(dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_inference, alg, &src,
                                                     &weights, &bias, &dst, s->stride, s->dilation,
                                                     s->before, s->after));
    check(dnnl_primitive_attr_create(&attr));
    check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    check(dnnl_post_ops_create(&ops));
    if (s->relu)
        check(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0));
    check(dnnl_primitive_attr_set_post_ops(attr, ops));
    const dnnl_status_t status = dnnl_primitive_desc_create(&pd, &op, attr, engine, NULL);
    dnnl_post_ops_destroy(ops);
    dnnl_primitive_attr_destroy(attr);
    if (status)
        return;
    const char *name;
    check(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
    if (strstr(name, "ref"))
        dnnl_primitive_desc_destroy(pd);
    else
        open_primitive(c, engine, pd);
}

/* Milliseconds per picture: the best in fp32, the best at all, in the network. */
struct sums {
    double fp32, any, network;
};

static void time_layer(struct network *network, const q8_graph *graph, const q8_node *node,
                       const int *batch, int n, struct sums *sums)
{
    struct candidate candidate[KINDS * MOST_BATCHES];
    double least[KINDS] = {INFINITY, INFINITY, INFINITY};
    dnnl_engine_t engine;
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    const struct shape one = shape_of(graph, node, 1);
    for (int i = 0; i < KINDS * n; i++) {
        const struct shape s = shape_of(graph, node, batch[i % n]);
        open_convolution(&candidate[i], engine, &s, i / n);
    }
    take_turns(network, graph, candidate, KINDS * n);
    const double spent = spent_on(network, node->out[0]);
    printf("%4dx%-4dx%-4d to %4d  ", (int)one.src[1], (int)one.src[2], (int)one.src[3],
           (int)one.dst[1]);
    print_spent(spent);
    for (int i = 0; i < KINDS * n; i++) {
        const double ms = 1000 * candidate[i].best;
        if (i % n == 0)
            printf("  %s", kinds[i / n]);
        printf(" %.3f", ms);
        least[i / n] = fmin(least[i / n], ms);
        close_candidate(&candidate[i]);
    }
    printf("  %s\n", node->name);
    sums->fp32 += fmin(least[0], least[1]);
    sums->any += fmin(fmin(least[0], least[1]), least[2]);
    sums->network += spent;
    dnnl_engine_destroy(engine);
}

/* --- other layers ----------------------------------------------------------------------------- */

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

/* By the kernel that the program would take. Tells its backend's name. */
static const char *open_other(struct candidate *c, const q8_graph *graph, const q8_node *node)
{
    int block[MOST_EDGES];
    q8_err err = {0};
    const char *backend;
    *c = (struct candidate){
        .batch = 1, .best = INFINITY, .n_in = node->n_in, .n_edges = node->n_in + node->n_out};
    if (c->n_edges > MOST_EDGES)
        exit(1);
    for (int i = 0; i < node->n_in; i++)
        block[i] = graph->tensor[node->in[i]].shape.rank == 3 ? 16 : 1;
    const q8_exec_opts opts = {.backend = Q8_BACKEND_CPU};
    if (q8_plan_kernel(graph, node, &opts, NULL, block, 1, &c->kernel, &backend, &err))
        exit(1);
    c->constants = q8_pages_alloc(c->kernel->constants);
    if (!c->constants || q8_kernel_prepare(c->kernel, c->constants, &err))
        exit(1);
    for (int i = 0; i < c->n_edges; i++) {
        const bool in = i < node->n_in;
        const int tensor = in ? node->in[i] : node->out[i - node->n_in];
        c->edge[i] = new_picture(&graph->tensor[tensor].shape,
                                 in ? c->kernel->in_block : c->kernel->out_block);
    }
    c->scratch = aligned_alloc(64, (c->kernel->scratch + 64) / 64 * 64);
    return backend;
}

static void time_other(struct network *network, const q8_graph *graph, const q8_node *node,
                       struct sums *sums)
{
    struct candidate c;
    const char *backend = open_other(&c, graph, node);
    take_turns(network, graph, &c, 1);
    double spent = 0;
    for (int i = 0; i < node->n_out; i++)
        spent += spent_on(network, node->out[i]);
    printf("%s, %s  ", node->op->type, backend);
    print_spent(spent);
    printf("  alone %.3f  %s\n", 1000 * c.best, node->name);
    sums->fp32 += 1000 * c.best;
    sums->any += 1000 * c.best;
    sums->network += spent;
    close_candidate(&c);
}

/* A layer without a step of its own: whatever it takes is too much. */
static void time_rest(struct network *network, const q8_graph *graph, const q8_node *node,
                      struct sums *sums)
{
    take_turns(network, graph, NULL, 0);
    for (int i = 0; i < node->n_out; i++)
        sums->network += spent_on(network, node->out[i]);
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
static void mark_needed(const q8_graph *graph, const bool *observed, bool *needed)
{
    memcpy(needed, observed, (size_t)graph->n_tensors * sizeof(*needed));
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        const q8_node *node = graph->node[i];
        bool is = false;
        for (int k = 0; k < node->n_out; k++)
            is = is || needed[node->out[k]];
        for (int k = 0; is && k < node->n_in; k++)
            needed[node->in[k]] = true;
    }
}

static void time_node(struct network *network, const q8_graph *graph, const q8_node *node,
                      const int *batch, int n, struct sums *sums)
{
    if (node->op == &q8_op_convolution || node->op == &q8_op_convolutiondepthwise)
        time_layer(network, graph, node, batch, n, sums);
    else if (has_step(graph, node))
        time_other(network, graph, node, sums);
    else
        time_rest(network, graph, node, sums);
}

int main(int argc, char **argv)
{
    static q8_err err;
    int batch[MOST_BATCHES] = {1, 8}, n = argc > 3 ? 0 : 2;
    q8_model *model;
    struct network network = {0};
    struct sums sums = {0};
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
    bool *observed = calloc((size_t)graph->n_tensors + 1, sizeof(*observed));
    bool *needed = calloc((size_t)graph->n_tensors + 1, sizeof(*needed));
    if (!observed || !needed)
        return 1;
    q8_quant_wanted(graph, observed);
    mark_needed(graph, observed, needed);
    if (open_network(&network, graph, observed, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->node[i]->op != &q8_op_input && needed[graph->node[i]->out[0]])
            time_node(&network, graph, graph->node[i], batch, n, &sums);
    printf("sum_of_best %.4f ms/picture\nsum_of_best_with_bf16 %.4f ms/picture\n"
           "network %.4f ms/picture\nnetwork_to_best %.4f ratio\n",
           sums.fp32, sums.any, sums.network, sums.network / sums.fp32);
    close_network(&network);
    free(observed);
    free(needed);
    q8_model_close(&model);
    return 0;
}
