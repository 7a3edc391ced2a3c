/* Layers with filters: products of matrices by CLBlast, and kernels of our own where an output is a
 * sum over few channels. */
#ifdef Q8_HAVE_OPENCL

#include <pthread.h>

#include "exec/opencl.h"
#include "ops/conv.h"
#include "ops/innerproduct.h"
#include "ops/rows.h"

enum { WEIGHT, BIAS }; /* constants; without a bias the second is the first again */

/* With fewer a product of matrices is no gain over adding up windows one by one. */
enum { MIN_INPUTS = 8 };

static q8_code add_weights(q8_cl_node *k, bool bias, q8_err *err)
{
    const q8_weight *w = k->node->weight;
    q8_code code = q8_cl_add_constant(k, w[0].data, w[0].count * sizeof(float), err);
    if (!code && bias)
        code = q8_cl_add_constant(k, w[1].data, w[1].count * sizeof(float), err);
    return code;
}

static cl_mem bias_of(const q8_cl_node *k)
{
    return k->constant[k->n_constants > 1 ? BIAS : WEIGHT];
}

/* Adds the bias and applies the activation, in place. */
static q8_code finish_sums(const q8_cl_node *k, q8_gpu_run *run, cl_mem y, int channels,
                           int spatial, int n, q8_err *err)
{
    const cl_int no = 0, has_bias = k->n_constants > 1;
    if (!has_bias && k->f.kind == Q8_ACT_NONE)
        return Q8_OK;
    const cl_mem bias = bias_of(k);
    const q8_cl_grid grid = {.x = (size_t)n, .y = 1, .group = Q8_CL_GROUP};
    const q8_cl_arg arg[] = {
        Q8_CL_ARG(y),    Q8_CL_ARG(y),  Q8_CL_ARG(n),    Q8_CL_ARG(channels), Q8_CL_ARG(spatial),
        Q8_CL_ARG(bias), Q8_CL_ARG(no), Q8_CL_ARG(bias), Q8_CL_ARG(has_bias), Q8_CL_ARG(k->f)};
    return q8_cl_launch(run, Q8_CL_affine, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

/* C = A * B or A * B^T for each of a batch, row-major and without gaps. */
struct product {
    size_t m, n, k;
    bool b_transposed;
    cl_mem a, b, c;
    size_t a_offset, b_offset, c_offset;
    size_t a_stride, b_stride, c_stride; /* from one of the batch to the next */
    size_t batch;
};

/* One thread at a time hands work to CLBlast (1.5.3): when its tables are read for the first time
 * they are freed under the feet of other threads. The work itself does not wait. */
static q8_code multiply(q8_gpu_run *run, const struct product *p, q8_err *err)
{
    static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&alone);
    const CLBlastStatusCode status = q8_cl.CLBlastSgemmStridedBatched(
        CLBlastLayoutRowMajor, CLBlastTransposeNo,
        p->b_transposed ? CLBlastTransposeYes : CLBlastTransposeNo, p->m, p->n, p->k, 1, p->a,
        p->a_offset, p->k, p->a_stride, p->b, p->b_offset, p->b_transposed ? p->k : p->n,
        p->b_stride, 0, p->c, p->c_offset, p->n, p->c_stride, p->batch, &run->queue, NULL);
    pthread_mutex_unlock(&alone);
    return status ? q8_cl_fail(run->gpu, "multiply matrices with CLBlast", (cl_int)status, err)
                  : Q8_OK;
}

/* --- convolutions ----------------------------------------------------------------------------- */

static bool is_pointwise(const q8_cl_conv *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->top == 0 && g->left == 0 && g->out_h == g->h && g->out_w == g->w;
}

static q8_code make_columns(const q8_cl_node *k, q8_gpu_run *run, cl_mem x, int group, q8_err *err)
{
    const q8_cl_conv *g = &k->as.conv;
    const q8_cl_grid grid = {.x = (size_t)g->out_h * (size_t)g->out_w,
                             .y = (size_t)g->batch * (size_t)(g->channels / g->groups),
                             .group = Q8_CL_GROUP};
    const q8_cl_arg arg[] = {Q8_CL_ARG(x), Q8_CL_ARG(run->scratch), Q8_CL_ARG(*g),
                             Q8_CL_ARG(group)};
    return q8_cl_launch(run, Q8_CL_im2col, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

/* Each picture of a group is one product, so its results do not depend on the others. */
static q8_code multiply_group(const q8_cl_node *k, q8_gpu_run *run, cl_mem x, cl_mem y,
                              size_t group, q8_err *err)
{
    const q8_cl_conv *g = &k->as.conv;
    const size_t inputs = (size_t)(g->channels / g->groups),
                 taps = (size_t)g->kernel_h * g->kernel_w;
    const size_t area = (size_t)g->out_h * g->out_w, outputs = (size_t)(g->outputs / g->groups);
    const bool pointwise = is_pointwise(g);
    const struct product p = {
        .m = outputs,
        .n = area,
        .k = inputs * taps,
        .a = k->constant[WEIGHT],
        .b = pointwise ? x : run->scratch,
        .c = y,
        .a_offset = group * outputs * inputs * taps,
        .b_offset = pointwise ? group * inputs * area : 0,
        .c_offset = group * outputs * area,
        .b_stride = pointwise ? (size_t)g->channels * area : inputs * taps * area,
        .c_stride = (size_t)g->outputs * area,
        .batch = (size_t)g->batch,
    };
    return multiply(run, &p, err);
}

static q8_code run_product(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                           const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_cl_conv *g = &k->as.conv;
    q8_code code = Q8_OK;
    for (int i = 0; i < g->groups && !code; i++) {
        if (!is_pointwise(g))
            code = make_columns(k, run, in[0].gpu, i, err);
        if (!code)
            code = multiply_group(k, run, in[0].gpu, out[0].gpu, (size_t)i, err);
    }
    const int area = g->out_h * g->out_w;
    return code ? code
                : finish_sums(k, run, out[0].gpu, g->outputs, area, g->batch * g->outputs * area,
                              err);
}

static q8_code run_windows(const q8_cl_node *k, q8_cl_id id, q8_gpu_run *run, cl_mem x, cl_mem y,
                           q8_err *err)
{
    const q8_cl_conv *g = &k->as.conv;
    const cl_int has_bias = k->n_constants > 1;
    const cl_mem bias = bias_of(k);
    const q8_cl_grid grid = {.x = (size_t)g->out_h * (size_t)g->out_w,
                             .y = (size_t)g->batch * (size_t)g->outputs,
                             .group = Q8_CL_GROUP};
    const q8_cl_arg arg[] = {Q8_CL_ARG(x),    Q8_CL_ARG(y),        Q8_CL_ARG(k->constant[WEIGHT]),
                             Q8_CL_ARG(bias), Q8_CL_ARG(has_bias), Q8_CL_ARG(*g),
                             Q8_CL_ARG(k->f)};
    return q8_cl_launch(run, id, &grid, arg, sizeof(arg) / sizeof(arg[0]), err);
}

static q8_code run_direct(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    return run_windows((const q8_cl_node *)base, Q8_CL_conv, run, in[0].gpu, out[0].gpu, err);
}

static q8_code run_deconv(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                          const q8_spot *out, q8_err *err)
{
    return run_windows((const q8_cl_node *)base, Q8_CL_deconv, run, in[0].gpu, out[0].gpu, err);
}

static void set_conv(q8_cl_node *k)
{
    const q8_conv_attr *a = k->node->attr;
    const int *in = q8_cl_in(k, 0)->dim, *out = q8_cl_out(k, 0)->dim;
    k->as.conv = (q8_cl_conv){
        .batch = k->batch,
        .groups = a->group,
        .channels = in[0],
        .h = in[1],
        .w = in[2],
        .outputs = out[0],
        .out_h = out[1],
        .out_w = out[2],
        .kernel_h = a->kernel_h,
        .kernel_w = a->kernel_w,
        .stride_h = a->stride_h,
        .stride_w = a->stride_w,
        .dilation_h = a->dilation_h,
        .dilation_w = a->dilation_w,
        .top = a->pad_top,
        .left = a->pad_left,
        .pad = a->pad_value,
    };
    k->f = q8_cl_activation(&a->activation);
}

static q8_code make_conv(q8_cl_node *k, q8_err *err)
{
    const q8_conv_attr *a = k->node->attr;
    set_conv(k);
    const q8_cl_conv *g = &k->as.conv;
    const bool product = g->channels / g->groups >= MIN_INPUTS || g->groups == 1;
    k->base.enqueue = product ? run_product : run_direct;
    if (product && !is_pointwise(g))
        k->base.gpu_scratch = (size_t)g->batch * (size_t)(g->channels / g->groups) *
                              (size_t)g->kernel_h * (size_t)g->kernel_w * (size_t)g->out_h *
                              (size_t)g->out_w * sizeof(float);
    return add_weights(k, a->bias_term, err);
}

static q8_code make_deconv(q8_cl_node *k, q8_err *err)
{
    const q8_conv_attr *a = k->node->attr;
    set_conv(k);
    k->base.enqueue = run_deconv;
    return add_weights(k, a->bias_term, err);
}

/* Columns are counted in 32 bits; infer() has refused padding by a negative number of pixels only
 * where nothing is left. */
static bool fits_conv(const q8_graph *graph, const q8_node *node)
{
    const q8_conv_attr *a = node->attr;
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    const size_t area = q8_shape_spatial(&graph->tensor[node->out[0]].shape);
    const size_t rows = (size_t)(in->dim[0] / a->group) * (size_t)a->kernel_h * (size_t)a->kernel_w;
    return rows <= ((size_t)1 << 27) / area && !node->quant;
}

/* --- InnerProduct ----------------------------------------------------------------------------- */

static q8_code run_inner(const q8_kernel *base, q8_gpu_run *run, const q8_spot *in,
                         const q8_spot *out, q8_err *err)
{
    const q8_cl_node *k = (const q8_cl_node *)base;
    const q8_innerproduct_attr *a = k->node->attr;
    const size_t outputs = (size_t)a->num_output, inputs = (size_t)a->weight_data_size / outputs;
    const size_t rows = (size_t)k->batch * q8_shape_count(q8_cl_in(k, 0)) / inputs;
    const struct product p = {.m = rows,
                              .n = outputs,
                              .k = inputs,
                              .b_transposed = true,
                              .a = in[0].gpu,
                              .b = k->constant[WEIGHT],
                              .c = out[0].gpu,
                              .a_stride = rows * inputs,
                              .b_stride = outputs * inputs,
                              .c_stride = rows * outputs,
                              .batch = 1};
    const q8_code code = multiply(run, &p, err);
    return code ? code
                : finish_sums(k, run, out[0].gpu, a->num_output, 1, (int)(rows * outputs), err);
}

static q8_code make_inner(q8_cl_node *k, q8_err *err)
{
    const q8_innerproduct_attr *a = k->node->attr;
    k->f = q8_cl_activation(&a->activation);
    k->base.enqueue = run_inner;
    return add_weights(k, a->bias_term, err);
}

const q8_cl_maker q8_cl_conv_makers[] = {
    {&q8_op_convolution, fits_conv, make_conv}, {&q8_op_convolutiondepthwise, fits_conv, make_conv},
    {&q8_op_deconvolution, NULL, make_deconv},  {&q8_op_deconvolutiondepthwise, NULL, make_deconv},
    {&q8_op_innerproduct, NULL, make_inner},    {NULL, NULL, NULL},
};

#endif
