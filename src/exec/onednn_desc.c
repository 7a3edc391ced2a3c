/* In 2.x an operation descriptor is filled and made into a primitive descriptor; 3.x does both in
 * one call and hides memory descriptors behind handles. */
#ifdef Q8_HAVE_ONEDNN

#include "exec/onednn_desc.h"

#include <math.h>
#include <string.h>

#define V3 (DNNL_VERSION_MAJOR >= 3)

/* --- memory descriptors ----------------------------------------------------------------------- */

enum { MAX_TENSORS = 4 };

/* The memory descriptors of one primitive; absent tensors have a NULL `ref`. */
struct descs {
    dnnl_memory_desc_t md[MAX_TENSORS];
    q8_dnnl_md ref[MAX_TENSORS];
};

static void close_descs(struct descs *d)
{
#if V3
    for (int i = 0; i < MAX_TENSORS; i++)
        if (d->md[i])
            dnnl_memory_desc_destroy(d->md[i]);
#else
    (void)d;
#endif
}

static dnnl_status_t open_desc(struct descs *d, int i, const q8_dnnl_tensor *tensor)
{
    const dnnl_data_type_t type = tensor->bf16 ? dnnl_bf16 : dnnl_f32;
#if V3
    dnnl_status_t status = dnnl_memory_desc_create_with_tag(&d->md[i], tensor->rank, tensor->dim,
                                                            type, tensor->format);
    d->ref[i] = d->md[i];
#else
    dnnl_status_t status =
        dnnl_memory_desc_init_by_tag(&d->md[i], tensor->rank, tensor->dim, type, tensor->format);
    d->ref[i] = &d->md[i];
#endif
    return status;
}

/* Up to MAX_TENSORS of them, in the order given. */
static dnnl_status_t open_descs(struct descs *d, int n, const q8_dnnl_tensor *const *tensor)
{
    memset(d, 0, sizeof(*d));
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < n && status == dnnl_success; i++)
        if (tensor[i])
            status = open_desc(d, i, tensor[i]);
    return status;
}

bool q8_dnnl_is(q8_dnnl_md md, const q8_dnnl_tensor *tensor)
{
    struct descs d;
    const bool is =
        open_descs(&d, 1, &tensor) == dnnl_success && dnnl_memory_desc_equal(md, d.ref[0]);
    close_descs(&d);
    return is;
}

/* --- attributes ------------------------------------------------------------------------------- */

static bool is_hswish(const q8_activation *act, q8_dnnl_eltwise *e)
{
    const float alpha = act->params.v[0], beta = act->params.v[1];
#if V3
    *e = (q8_dnnl_eltwise){dnnl_eltwise_hardswish, alpha, beta};
    return true;
#else
    /* Only the usual one; alpha is 1/6 as far as a text file's digits go. */
    *e = (q8_dnnl_eltwise){dnnl_eltwise_hardswish, 0, 0};
    return fabsf(alpha - 1.F / 6) < 1e-6F && beta == 0.5F;
#endif
}

bool q8_dnnl_activation(const q8_activation *act, q8_dnnl_eltwise *e)
{
    const float *v = act->params.v;
    switch (act->type) {
    case Q8_ACT_RELU:
        *e = (q8_dnnl_eltwise){dnnl_eltwise_relu, 0, 0};
        return true;
    case Q8_ACT_LEAKY:
        *e = (q8_dnnl_eltwise){dnnl_eltwise_relu, v[0], 0};
        return true;
    case Q8_ACT_CLIP:
        *e = (q8_dnnl_eltwise){dnnl_eltwise_clip, v[0], v[1]};
        return v[0] <= v[1];
    case Q8_ACT_SIGMOID:
        *e = (q8_dnnl_eltwise){dnnl_eltwise_logistic, 0, 0};
        return true;
    case Q8_ACT_MISH:
        *e = (q8_dnnl_eltwise){dnnl_eltwise_mish, 0, 0};
        return true;
    case Q8_ACT_HSWISH:
        return is_hswish(act, e);
    default:
        return false;
    }
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
#if V3
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(ops, 1);
#endif
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, const q8_dnnl_eltwise *e)
{
#if V3
    return dnnl_post_ops_append_eltwise(ops, e->kind, e->alpha, e->beta);
#else
    return dnnl_post_ops_append_eltwise(ops, 1, e->kind, e->alpha, e->beta);
#endif
}

static dnnl_status_t set_post_ops(dnnl_primitive_attr_t attr, bool adds,
                                  const q8_dnnl_eltwise *post)
{
    dnnl_post_ops_t ops;
    dnnl_status_t status = dnnl_post_ops_create(&ops);
    if (status)
        return status;
    if (adds)
        status = append_sum(ops);
    if (!status && post)
        status = append_eltwise(ops, post);
    if (!status)
        status = dnnl_primitive_attr_set_post_ops(attr, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

dnnl_status_t q8_dnnl_attr(dnnl_primitive_attr_t *attr, bool adds, const q8_dnnl_eltwise *post)
{
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status)
        return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (!status && (adds || post))
        status = set_post_ops(*attr, adds, post);
    if (status)
        dnnl_primitive_attr_destroy(*attr);
    return status;
}

/* --- constants -------------------------------------------------------------------------------- */

dnnl_status_t q8_dnnl_reorder(dnnl_engine_t engine, const q8_dnnl_tensor *src,
                              const float *src_data, q8_dnnl_md dst, dnnl_memory_t dst_memory)
{
    struct descs d;
    dnnl_memory_t src_memory = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_status_t status = open_descs(&d, 1, &src);
    if (!status) /* read only, whatever the type says */
        status = dnnl_memory_create(&src_memory, d.ref[0], engine, (void *)(uintptr_t)src_data);
    if (!status)
        status = dnnl_reorder_primitive_desc_create(&pd, d.ref[0], engine, dst, engine, NULL);
    if (!status)
        status = dnnl_primitive_create(&primitive, pd);
    if (!status)
        status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    if (!status) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, src_memory}, {DNNL_ARG_TO, dst_memory}};
        status = dnnl_primitive_execute(primitive, stream, 2, args);
    }
    if (!status)
        status = dnnl_stream_wait(stream);
    if (stream)
        dnnl_stream_destroy(stream);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (src_memory)
        dnnl_memory_destroy(src_memory);
    close_descs(&d);
    return status;
}

/* --- primitives ------------------------------------------------------------------------------- */

/* The operation descriptor is borrowed only during the call, as no iterator outlives it. */
#if !V3
static dnnl_status_t create(dnnl_primitive_desc_t *pd, const_dnnl_op_desc_t op,
                            dnnl_engine_t engine, dnnl_primitive_attr_t attr)
{
    return dnnl_primitive_desc_create(pd, op, attr, engine, NULL);
}
#endif

dnnl_status_t q8_dnnl_convolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                  dnnl_primitive_attr_t attr, dnnl_alg_kind_t kind,
                                  const q8_dnnl_tensor *src, const q8_dnnl_tensor *weights,
                                  const q8_dnnl_tensor *bias, const q8_dnnl_tensor *dst,
                                  const q8_dnnl_window *w)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 4, (const q8_dnnl_tensor *[]){src, weights, bias, dst});
#if V3
    if (!status)
        status = dnnl_convolution_forward_primitive_desc_create(
            pd, engine, dnnl_forward_inference, kind, d.ref[0], d.ref[1], d.ref[2], d.ref[3],
            w->stride, w->dilation, w->before, w->after, attr);
#else
    dnnl_convolution_desc_t op;
    if (!status)
        status = dnnl_dilated_convolution_forward_desc_init(
            &op, dnnl_forward_inference, kind, d.ref[0], d.ref[1], d.ref[2], d.ref[3], w->stride,
            w->dilation, w->before, w->after);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_deconvolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                    dnnl_primitive_attr_t attr, const q8_dnnl_tensor *src,
                                    const q8_dnnl_tensor *weights, const q8_dnnl_tensor *bias,
                                    const q8_dnnl_tensor *dst, const q8_dnnl_window *w)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 4, (const q8_dnnl_tensor *[]){src, weights, bias, dst});
#if V3
    if (!status)
        status = dnnl_deconvolution_forward_primitive_desc_create(
            pd, engine, dnnl_forward_inference, dnnl_deconvolution_direct, d.ref[0], d.ref[1],
            d.ref[2], d.ref[3], w->stride, w->dilation, w->before, w->after, attr);
#else
    dnnl_deconvolution_desc_t op;
    if (!status)
        status = dnnl_dilated_deconvolution_forward_desc_init(
            &op, dnnl_forward_inference, dnnl_deconvolution_direct, d.ref[0], d.ref[1], d.ref[2],
            d.ref[3], w->stride, w->dilation, w->before, w->after);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_inner_product(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                    dnnl_primitive_attr_t attr, const q8_dnnl_tensor *src,
                                    const q8_dnnl_tensor *weights, const q8_dnnl_tensor *bias,
                                    const q8_dnnl_tensor *dst)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 4, (const q8_dnnl_tensor *[]){src, weights, bias, dst});
#if V3
    if (!status)
        status = dnnl_inner_product_forward_primitive_desc_create(
            pd, engine, dnnl_forward_inference, d.ref[0], d.ref[1], d.ref[2], d.ref[3], attr);
#else
    dnnl_inner_product_desc_t op;
    if (!status)
        status = dnnl_inner_product_forward_desc_init(&op, dnnl_forward_inference, d.ref[0],
                                                      d.ref[1], d.ref[2], d.ref[3]);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_pooling(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                              dnnl_primitive_attr_t attr, dnnl_alg_kind_t kind,
                              const q8_dnnl_tensor *src, const q8_dnnl_tensor *dst,
                              const q8_dnnl_window *w)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 2, (const q8_dnnl_tensor *[]){src, dst});
#if V3
    if (!status)
        status = dnnl_pooling_forward_primitive_desc_create(
            pd, engine, dnnl_forward_inference, kind, d.ref[0], d.ref[1], w->stride, w->kernel,
            w->dilation, w->before, w->after, attr);
#else
    dnnl_pooling_desc_t op;
    if (!status)
        status =
            dnnl_pooling_forward_desc_init(&op, dnnl_forward_inference, kind, d.ref[0], d.ref[1],
                                           w->stride, w->kernel, w->before, w->after);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_eltwise_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                 dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor,
                                 const q8_dnnl_eltwise *e)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 1, &tensor);
#if V3
    if (!status)
        status =
            dnnl_eltwise_forward_primitive_desc_create(pd, engine, dnnl_forward_inference, e->kind,
                                                       d.ref[0], d.ref[0], e->alpha, e->beta, attr);
#else
    dnnl_eltwise_desc_t op;
    if (!status)
        status = dnnl_eltwise_forward_desc_init(&op, dnnl_forward_inference, e->kind, d.ref[0],
                                                e->alpha, e->beta);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_lrn(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                          dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor, int size,
                          float alpha, float beta, float bias)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 1, &tensor);
#if V3
    if (!status)
        status = dnnl_lrn_forward_primitive_desc_create(pd, engine, dnnl_forward_inference,
                                                        dnnl_lrn_across_channels, d.ref[0],
                                                        d.ref[0], size, alpha, beta, bias, attr);
#else
    dnnl_lrn_desc_t op;
    if (!status)
        status = dnnl_lrn_forward_desc_init(&op, dnnl_forward_inference, dnnl_lrn_across_channels,
                                            d.ref[0], size, alpha, beta, bias);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_softmax(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                              dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor, int axis)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 1, &tensor);
#if V3
    if (!status)
        status = dnnl_softmax_forward_primitive_desc_create(pd, engine, dnnl_forward_inference,
                                                            dnnl_softmax_accurate, d.ref[0],
                                                            d.ref[0], axis, attr);
#else
    dnnl_softmax_desc_t op;
    if (!status)
        status = dnnl_softmax_forward_desc_init(&op, dnnl_forward_inference, d.ref[0], axis);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

dnnl_status_t q8_dnnl_shuffle(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                              dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor, int axis,
                              int group_size)
{
    struct descs d;
    dnnl_status_t status = open_descs(&d, 1, &tensor);
#if V3
    if (!status)
        status = dnnl_shuffle_forward_primitive_desc_create(
            pd, engine, dnnl_forward_inference, d.ref[0], d.ref[0], axis, group_size, attr);
#else
    dnnl_shuffle_desc_t op;
    if (!status)
        status =
            dnnl_shuffle_forward_desc_init(&op, dnnl_forward_inference, d.ref[0], axis, group_size);
    if (!status)
        status = create(pd, &op, engine, attr);
#endif
    close_descs(&d);
    return status;
}

#endif
