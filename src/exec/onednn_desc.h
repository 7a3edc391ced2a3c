/**
 * oneDNN's descriptors, alike for 2.x and 3.x: a tensor is dims and a format, and each kind of
 * primitive is made into a primitive descriptor by one call. Only onednn*.c include this.
 */
#ifndef Q8_EXEC_ONEDNN_DESC_H
#define Q8_EXEC_ONEDNN_DESC_H

#include <oneapi/dnnl/dnnl.h>

#include "ops/op.h"

/** A tensor. `format` may be dnnl_format_tag_any where oneDNN is to choose. */
typedef struct q8_dnnl_tensor {
    int rank;
    dnnl_dims_t dim;
    dnnl_format_tag_t format;
    bool bf16; /**< fp32 if not */
} q8_dnnl_tensor;

/** What a window does over height and width, in this order. */
typedef struct q8_dnnl_window {
    dnnl_dims_t kernel, stride;
    dnnl_dims_t dilation; /**< steps beyond 1, as oneDNN counts */
    dnnl_dims_t before, after;
} q8_dnnl_window;

/** A function of each element. */
typedef struct q8_dnnl_eltwise {
    dnnl_alg_kind_t kind;
    float alpha, beta;
} q8_dnnl_eltwise;

/** A borrowed memory descriptor. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t q8_dnnl_md;
#else
typedef const dnnl_memory_desc_t *q8_dnnl_md;
#endif

/** The activation as oneDNN computes it; false where it has no such function. */
bool q8_dnnl_activation(const q8_activation *act, q8_dnnl_eltwise *eltwise);

/** Attributes of every primitive here: scratch memory from the caller, and a function of the result
 *  if `post` is not NULL; with `adds`, what the output holds is added to the result before. */
dnnl_status_t q8_dnnl_attr(dnnl_primitive_attr_t *attr, bool adds, const q8_dnnl_eltwise *post);

/** Reorders constant data into `dst`, perhaps as another type; `src` is a plain format. */
dnnl_status_t q8_dnnl_reorder(dnnl_engine_t engine, const q8_dnnl_tensor *src,
                              const float *src_data, q8_dnnl_md dst, dnnl_memory_t dst_memory);
/** Whether `md` is this tensor, format and all. */
bool q8_dnnl_is(q8_dnnl_md md, const q8_dnnl_tensor *tensor);

/* Inference primitive descriptors; each takes the first implementation oneDNN offers. `bias` may be
 * NULL. */

dnnl_status_t q8_dnnl_convolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                  dnnl_primitive_attr_t attr, dnnl_alg_kind_t kind,
                                  const q8_dnnl_tensor *src, const q8_dnnl_tensor *weights,
                                  const q8_dnnl_tensor *bias, const q8_dnnl_tensor *dst,
                                  const q8_dnnl_window *window);
dnnl_status_t q8_dnnl_deconvolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                    dnnl_primitive_attr_t attr, const q8_dnnl_tensor *src,
                                    const q8_dnnl_tensor *weights, const q8_dnnl_tensor *bias,
                                    const q8_dnnl_tensor *dst, const q8_dnnl_window *window);
dnnl_status_t q8_dnnl_inner_product(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                    dnnl_primitive_attr_t attr, const q8_dnnl_tensor *src,
                                    const q8_dnnl_tensor *weights, const q8_dnnl_tensor *bias,
                                    const q8_dnnl_tensor *dst);
dnnl_status_t q8_dnnl_pooling(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                              dnnl_primitive_attr_t attr, dnnl_alg_kind_t kind,
                              const q8_dnnl_tensor *src, const q8_dnnl_tensor *dst,
                              const q8_dnnl_window *window);
dnnl_status_t q8_dnnl_eltwise_pd(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                 dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor,
                                 const q8_dnnl_eltwise *eltwise);
dnnl_status_t q8_dnnl_lrn(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                          dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor, int size,
                          float alpha, float beta, float bias);
dnnl_status_t q8_dnnl_softmax(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                              dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor, int axis);
dnnl_status_t q8_dnnl_shuffle(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                              dnnl_primitive_attr_t attr, const q8_dnnl_tensor *tensor, int axis,
                              int group_size);

#endif
