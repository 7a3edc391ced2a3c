/* Layers with weights by oneDNN: the four convolutions and InnerProduct. */
#ifdef Q8_HAVE_ONEDNN

#include "exec/onednn.h"

#include <stdlib.h>
#include <string.h>

#include "exec/blocked.h"
#include "exec/layout.h"
#include "ops/conv.h"
#include "ops/innerproduct.h"

/* --- what the kinds share --------------------------------------------------------------------- */

/* A fused activation, or an addition and the one behind it, as attributes; NULL where oneDNN has no
 * such function. */
static q8_code make_attr(const q8_dnnl_job *job, const q8_activation *act,
                         dnnl_primitive_attr_t *attr)
{
    const q8_activation *last = job->residual ? job->residual : act;
    q8_dnnl_eltwise post;
    *attr = NULL;
    if (job->residual && act->type != Q8_ACT_NONE) /* it would come before the addition */
        return Q8_OK;
    if (last->type != Q8_ACT_NONE && !q8_dnnl_activation(last, &post))
        return Q8_OK;
    dnnl_status_t status =
        q8_dnnl_attr(attr, job->residual != NULL, last->type == Q8_ACT_NONE ? NULL : &post);
    return status ? q8_dnnl_fail(job, "fuse the activation", status) : Q8_OK;
}

/* The same, with the primitive run picture by picture. */
static q8_dnnl_job one_by_one(const q8_dnnl_job *job)
{
    q8_dnnl_job one = *job;
    one.batch = 1;
    one.times = job->batch;
    return one;
}

static q8_dnnl_tensor vector(int n)
{
    return (q8_dnnl_tensor){.rank = 1, .dim = {n}, .format = dnnl_a};
}

static q8_dnnl_tensor any_format(q8_dnnl_tensor tensor)
{
    tensor.format = dnnl_format_tag_any;
    return tensor;
}

/* --- convolutions ----------------------------------------------------------------------------- */

struct convolution {
    bool transposed;
    bool padded; /* the input holds its padding already */
    q8_dnnl_tensor weights, bias;
    q8_dnnl_window window;
    bool has_bias;
    dnnl_primitive_attr_t attr;
};

/* One axis, 0 for height and 1 for width. The padding after is what this output size needs. */
static void set_axis(struct convolution *c, int axis, int in, int out, int kernel, int stride,
                     int dilation, int before)
{
    const dnnl_dim_t extent = (dnnl_dim_t)dilation * (kernel - 1) + 1;
    c->window.kernel[axis] = kernel;
    c->window.stride[axis] = stride;
    c->window.dilation[axis] = dilation - 1;
    c->window.before[axis] = before;
    const dnnl_dim_t small = c->transposed ? in : out, large = c->transposed ? out : in;
    c->window.after[axis] = (small - 1) * stride + extent - large - before;
}

static void describe(struct convolution *c, const q8_dnnl_job *job)
{
    const q8_conv_attr *a = job->node->attr;
    const dnnl_dim_t g = a->group, outputs = a->num_output / g, inputs = job->in->dim[0] / g;
    c->weights =
        g > 1
            ? (q8_dnnl_tensor){5, {g, outputs, inputs, a->kernel_h, a->kernel_w}, dnnl_goihw, false}
            : (q8_dnnl_tensor){4, {outputs, inputs, a->kernel_h, a->kernel_w}, dnnl_oihw, false};
    c->bias = vector(a->num_output);
    c->has_bias = a->bias_term && !c->transposed; /* a deconvolution's is appended */
    set_axis(c, 0, job->in->dim[1], job->out->dim[1], a->kernel_h, a->stride_h, a->dilation_h,
             c->padded ? 0 : a->pad_top);
    set_axis(c, 1, job->in->dim[2], job->out->dim[2], a->kernel_w, a->stride_w, a->dilation_w,
             c->padded ? 0 : a->pad_left);
}

/* Grows with the picture; every thread has its own. */
#define MAX_WINOGRAD_SCRATCH ((size_t)64 << 20)

static bool takes_too_much(const q8_dnnl_way *way, dnnl_primitive_desc_t pd)
{
    q8_dnnl_md scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    return way->kind == dnnl_convolution_winograd &&
           dnnl_memory_desc_get_size(scratch) > MAX_WINOGRAD_SCRATCH;
}

static q8_code try_way(const q8_dnnl_job *job, const struct convolution *c, const q8_dnnl_way *way,
                       q8_kernel **kernel)
{
    q8_dnnl_tensor src = q8_dnnl_batch(job->in, job->batch, way->in_block);
    const q8_dnnl_tensor dst = q8_dnnl_batch(job->out, job->batch, way->out_block);
    q8_dnnl_tensor weights = any_format(c->weights);
    src.bf16 = weights.bf16 = way->bf16;
    const q8_dnnl_tensor *bias = c->has_bias ? &c->bias : NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = c->transposed
                               ? q8_dnnl_deconvolution(&pd, job->engine, c->attr, &src, &weights,
                                                       bias, &dst, &c->window)
                               : q8_dnnl_convolution(&pd, job->engine, c->attr, way->kind, &src,
                                                     &weights, bias, &dst, &c->window);
    q8_code code = q8_dnnl_offer(job, status, &pd);
    if (code || !pd)
        return code;
    if (takes_too_much(way, pd)) {
        dnnl_primitive_desc_destroy(pd);
        return Q8_OK;
    }
    const q8_dnnl_constant constant[] = {
        {DNNL_ARG_WEIGHTS, c->weights, job->node->weight[0].data},
        {DNNL_ARG_BIAS, c->bias, job->node->weight[1].data},
    };
    return q8_dnnl_kernel_new(job, pd, way->in_block, way->out_block, constant, c->has_bias ? 2 : 1,
                              kernel);
}

/* Small maps do not repay what winograd costs: larger weights to read for each picture, and 0.15 us
 * for each kernel to transform once. */
enum { MIN_WINOGRAD_CHANNELS = 16, MIN_WINOGRAD_AREA = 100 };

/* Measured on the 3x3 shapes of the usual networks, one thread: winograd is 1.2 to 3 times as fast
 * as direct, with a relative squared error around 1e-12. oneDNN's `auto` never takes it. The rule
 * looks at the shape alone, never at a clock, so results are the same in every run. */
static bool suits_winograd(const q8_dnnl_job *job, const struct convolution *c)
{
    const q8_dnnl_window *w = &c->window;
    const bool is_3x3 = w->kernel[0] == 3 && w->kernel[1] == 3 && w->stride[0] == 1 &&
                        w->stride[1] == 1 && w->dilation[0] == 0 && w->dilation[1] == 0;
    return is_3x3 && !c->transposed && !job->node->exact && c->weights.rank == 4 &&
           job->in->dim[0] >= MIN_WINOGRAD_CHANNELS && job->out->dim[0] >= MIN_WINOGRAD_CHANNELS &&
           q8_shape_spatial(job->out) >= MIN_WINOGRAD_AREA;
}

/* Pictures of 1 to 3 channels are best read as they are, all else in blocks. Adding in the kernel
 * is not worth another way than the best. */
static q8_code try_ways(const q8_dnnl_job *job, const struct convolution *c, q8_kernel **kernel)
{
    const int b = job->block;
    const bool flat = job->in->dim[0] < 4;
    const q8_dnnl_way winograd = {dnnl_convolution_winograd, b, b, false};
    const bool depthwise = c->weights.rank == 5 && job->in->dim[0] == c->weights.dim[0];
    const int here = depthwise && job->in_block == Q8_CHANNELS_LAST ? job->in_block : b;
    const q8_dnnl_way direct[] = {
        {dnnl_convolution_direct, here, here, false},
        {dnnl_convolution_direct, flat ? 1 : b, b, false},
        {dnnl_convolution_direct, flat ? b : 1, b, false},
        {dnnl_convolution_direct, 1, 1, false},
    };
    q8_code code = Q8_OK;
    if (suits_winograd(job, c)) {
        /* A batch shares the transformed weights, four times as large as the layer's own. */
        code = try_way(job, c, &winograd, kernel);
        const q8_dnnl_job one = one_by_one(job);
        if (!code && !*kernel) /* it may have taken too much scratch memory */
            code = try_way(&one, c, &winograd, kernel);
    }
    const int first = here == b, end = job->residual ? first + 1 : 4;
    if (job->residual && suits_winograd(job, c))
        return code;
    for (int i = first; !code && !*kernel && i < end; i++)
        code = try_way(job, c, &direct[i], kernel);
    return code;
}

/* `c` says which kind; with `act` fused into the primitive. `way` NULL: in the best way. */
static q8_code compile_conv(const q8_dnnl_job *job, struct convolution c, const q8_activation *act,
                            const q8_dnnl_way *way, q8_kernel **kernel)
{
    q8_code code = make_attr(job, act, &c.attr);
    if (code || !c.attr)
        return code;
    describe(&c, job);
    code = way ? try_way(job, &c, way, kernel) : try_ways(job, &c, kernel);
    dnnl_primitive_attr_destroy(c.attr);
    return code;
}

/* oneDNN pads with zeros only: the convolution of a copy of the input with its border written out.
 */
struct bordered {
    q8_kernel base;
    q8_kernel *conv;
    const q8_conv_attr *attr;
    q8_shape in, copy;
    size_t planes; /* of the batch, each of a channel or a block of them */
};

static float *fill(float *to, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        to[i] = value;
    return to + count;
}

static float *copy_bordered(const struct bordered *k, float *to, const float *from)
{
    const q8_conv_attr *a = k->attr;
    const size_t block = (size_t)k->base.in_block;
    const size_t row = (size_t)k->in.dim[2] * block, wide = (size_t)k->copy.dim[2] * block;
    to = fill(to, wide * (size_t)a->pad_top, a->pad_value);
    for (int y = 0; y < k->in.dim[1]; y++, from += row) {
        to = fill(to, block * (size_t)a->pad_left, a->pad_value);
        memcpy(to, from, row * sizeof(*to));
        to = fill(to + row, block * (size_t)a->pad_right, a->pad_value);
    }
    return fill(to, wide * (size_t)a->pad_bottom, a->pad_value);
}

static size_t bordered_bytes(const struct bordered *k)
{
    const size_t plane = q8_shape_spatial(&k->copy) * (size_t)k->base.in_block;
    return (k->planes * plane * sizeof(float) + 63) / 64 * 64;
}

static q8_code run_bordered(const q8_kernel *base, const float *const *in, float *const *out,
                            void *scratch, q8_err *err)
{
    const struct bordered *k = (const struct bordered *)base;
    const size_t plane = q8_shape_spatial(&k->in) * (size_t)k->base.in_block;
    float *to = scratch;
    for (size_t i = 0; i < k->planes; i++)
        to = copy_bordered(k, to, in[0] + i * plane);
    const float *const conv_in[] = {scratch};
    return k->conv->run(k->conv, conv_in, out, (char *)scratch + bordered_bytes(k), err);
}

static void close_bordered(q8_kernel *base)
{
    struct bordered *k = (struct bordered *)base;
    k->conv->close(k->conv);
    free(k);
}

static q8_code prepare_bordered(q8_kernel *base, void *constants, q8_err *err)
{
    return q8_kernel_prepare(((struct bordered *)base)->conv, constants, err);
}

/* Sizes are in range: infer() has checked the padded ones, and the copy is one more tensor. */
static q8_code compile_bordered(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_conv_attr *a = job->node->attr;
    struct bordered *k = calloc(1, sizeof(*k));
    if (!k)
        return q8_fail_nomem(job->err);
    k->attr = a;
    k->in = k->copy = *job->in;
    k->copy.dim[1] += a->pad_top + a->pad_bottom;
    k->copy.dim[2] += a->pad_left + a->pad_right;
    q8_dnnl_job bordered = *job;
    bordered.in = &k->copy;
    q8_code code = Q8_OK;
    if (q8_dnnl_fits(&k->copy, job->batch))
        code = compile_conv(&bordered, (struct convolution){.padded = true}, &a->activation, NULL,
                            &k->conv);
    if (code || !k->conv) {
        free(k);
        return code;
    }
    const int block = k->conv->in_block;
    k->base = (q8_kernel){.in_block = block,
                          .out_block = k->conv->out_block,
                          .constants = k->conv->constants,
                          .run = run_bordered,
                          .close = close_bordered,
                          .prepare = prepare_bordered};
    k->planes = (size_t)job->batch * (((size_t)k->in.dim[0] + (size_t)block - 1) / (size_t)block);
    k->base.scratch = bordered_bytes(k) + k->conv->scratch;
    *kernel = &k->base;
    return Q8_OK;
}

static bool pads_with_other_than_zeros(const q8_conv_attr *a)
{
    return a->pad_value != 0 && (a->pad_left || a->pad_right || a->pad_top || a->pad_bottom);
}

q8_code q8_dnnl_compile_convolution_in(const q8_dnnl_job *job, const q8_dnnl_way *way,
                                       q8_kernel **kernel)
{
    const q8_conv_attr *a = job->node->attr;
    *kernel = NULL;
    return pads_with_other_than_zeros(a)
               ? Q8_OK
               : compile_conv(job, (struct convolution){0}, &a->activation, way, kernel);
}

q8_code q8_dnnl_compile_convolution(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_conv_attr *a = job->node->attr;
    return pads_with_other_than_zeros(a)
               ? compile_bordered(job, kernel)
               : compile_conv(job, (struct convolution){0}, &a->activation, NULL, kernel);
}

/* --- deconvolutions --------------------------------------------------------------------------- */

/* Two kernels, the second in place on what the first made. */
struct pair {
    q8_kernel base;
    q8_kernel *first, *second;
};

static q8_code run_pair(const q8_kernel *base, const float *const *in, float *const *out,
                        void *scratch, q8_err *err)
{
    const struct pair *k = (const struct pair *)base;
    q8_code code = k->first->run(k->first, in, out, scratch, err);
    return code ? code : k->second->run(k->second, (const float *const *)out, out, scratch, err);
}

static void close_pair(q8_kernel *base)
{
    struct pair *k = (struct pair *)base;
    k->first->close(k->first);
    k->second->close(k->second);
    free(k);
}

static q8_code prepare_pair(q8_kernel *base, void *constants, q8_err *err)
{
    struct pair *k = (struct pair *)base;
    q8_code code = q8_kernel_prepare(k->first, constants, err);
    return code ? code : q8_kernel_prepare(k->second, (char *)constants + k->first->constants, err);
}

/* Puts `second`, which it takes over, behind `*kernel`. */
static q8_code append(q8_kernel **kernel, q8_kernel *second, q8_err *err)
{
    q8_kernel *first = *kernel;
    struct pair *k = malloc(sizeof(*k));
    if (!k) {
        second->close(second);
        return q8_fail_nomem(err);
    }
    const size_t scratch = first->scratch > second->scratch ? first->scratch : second->scratch;
    k->base = (q8_kernel){.in_block = first->in_block,
                          .out_block = first->out_block,
                          .scratch = scratch,
                          .constants = first->constants + second->constants,
                          .run = run_pair,
                          .close = close_pair,
                          .prepare = prepare_pair};
    k->first = first;
    k->second = second;
    *kernel = &k->base;
    return Q8_OK;
}

static q8_code append_bias(const q8_dnnl_job *job, q8_kernel **kernel)
{
    q8_kernel *second;
    q8_code code = q8_blocked_bias(job->graph, job->node, job->node->weight[1].data,
                                   (*kernel)->out_block, job->batch, &second, job->err);
    return code ? code : append(kernel, second, job->err);
}

static q8_code compile_own_activation(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_conv_attr *a = job->node->attr;
    q8_dnnl_eltwise eltwise;
    return q8_dnnl_activation(&a->activation, &eltwise)
               ? q8_dnnl_compile_eltwise(job, &eltwise, kernel)
               : Q8_OK;
}

/* `*fits` becomes false where oneDNN has no such activation. */
static q8_code append_activation(const q8_dnnl_job *job, q8_kernel **kernel, bool *fits)
{
    q8_kernel *second = NULL;
    q8_dnnl_job after = *job;
    after.in = job->out;
    after.in_block = after.block = (*kernel)->out_block;
    q8_code code = q8_dnnl_compile(&after, compile_own_activation, &second);
    *fits = second && second->in_block == (*kernel)->out_block;
    if (*fits)
        return append(kernel, second, job->err);
    if (second)
        second->close(second);
    return code;
}

/* oneDNN 2.6 adds a deconvolution's bias and post-ops in its reference code, by way of a copy in
 * scratch memory: on a 3x3 depthwise layer that took 8 and 80 times as long as the rest. Passes of
 * their own over the output cost little. */
q8_code q8_dnnl_compile_deconvolution(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_conv_attr *a = job->node->attr;
    const q8_activation none = {.type = Q8_ACT_NONE};
    bool fits = true;
    q8_code code = compile_conv(job, (struct convolution){.transposed = true}, &none, NULL, kernel);
    if (code || !*kernel)
        return code;
    if (a->bias_term)
        code = append_bias(job, kernel);
    if (!code && a->activation.type != Q8_ACT_NONE)
        code = append_activation(job, kernel, &fits);
    if (code || !fits) {
        (*kernel)->close(*kernel);
        *kernel = NULL;
    }
    return code;
}

/* --- InnerProduct ----------------------------------------------------------------------------- */

/* oneDNN's batch-reduce kernels sum each row alike, wherever it is in a batch of any size. Its gemm
 * does not, so that has to take one picture at a time. */
static bool depends_on_batch(dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return status || !name || !strstr(name, "brgemm");
}

static q8_code try_inner_product(const q8_dnnl_job *job, dnnl_primitive_attr_t attr,
                                 q8_kernel **kernel)
{
    const q8_innerproduct_attr *a = job->node->attr;
    const dnnl_dim_t n_in = (dnnl_dim_t)q8_shape_count(job->in), n_out = a->num_output;
    const q8_dnnl_tensor src = {2, {job->batch, n_in}, dnnl_ab, false};
    const q8_dnnl_tensor dst = {2, {job->batch, n_out}, dnnl_ab, false};
    const q8_dnnl_tensor plain = {2, {n_out, n_in}, dnnl_ab, false};
    const q8_dnnl_tensor weights = any_format(plain), bias = vector(a->num_output);
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = q8_dnnl_inner_product(&pd, job->engine, attr, &src, &weights,
                                                 a->bias_term ? &bias : NULL, &dst);
    q8_code code = q8_dnnl_offer(job, status, &pd);
    if (code || !pd)
        return code;
    if (job->batch > 1 && depends_on_batch(pd)) {
        dnnl_primitive_desc_destroy(pd);
        return Q8_OK;
    }
    const q8_dnnl_constant constant[] = {
        {DNNL_ARG_WEIGHTS, plain, job->node->weight[0].data},
        {DNNL_ARG_BIAS, bias, job->node->weight[1].data},
    };
    return q8_dnnl_kernel_new(job, pd, 1, 1, constant, a->bias_term ? 2 : 1, kernel);
}

/* On the input as one row: next to the weights, putting it in plain order costs nothing. */
q8_code q8_dnnl_compile_innerproduct(const q8_dnnl_job *job, q8_kernel **kernel)
{
    const q8_innerproduct_attr *a = job->node->attr;
    const size_t n_in = q8_shape_count(job->in), n_out = q8_shape_count(job->out);
    if (n_out != (size_t)a->num_output || job->node->weight[0].count != n_in * n_out)
        return Q8_OK; /* a row per row of a matrix */
    dnnl_primitive_attr_t attr;
    q8_code code = make_attr(job, &a->activation, &attr);
    if (code || !attr)
        return code;
    const q8_dnnl_job one = one_by_one(job);
    code = try_inner_product(job, attr, kernel);
    if (!code && !*kernel)
        code = try_inner_product(&one, attr, kernel);
    dnnl_primitive_attr_destroy(attr);
    return code;
}

#endif
