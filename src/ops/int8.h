/**
 * The arithmetic of ncnn's int8 layers as layers of a float network. An int8 convolution becomes
 * Quantize, a Convolution whose inputs and weights are integers, and Dequantize; codes and their
 * sums are integers in fp32. Compare measures how far two such networks are apart.
 *
 * These are no rows of the layer table: a simulation is made of them, and no file holds them.
 */
#ifndef Q8_OPS_INT8_H
#define Q8_OPS_INT8_H

#include "ops/op.h"

/**
 * Out 0: codes, x * scale rounded half away from zero and limited to -127..127; NaN becomes -127.
 * Out 1, of one element: how many values lie beyond, |x * scale| > 127.5.
 */
typedef struct q8_quantize_attr {
    float scale;
} q8_quantize_attr;

/** Sums to values: activation(x * scale[c] + bias[c]), rounded once before the activation. Weight
 *  0: scales, weight 1: biases, both by channel. */
typedef struct q8_dequantize_attr {
    int channels;
    q8_activation activation;
} q8_dequantize_attr;

/** Codes to sums, which are exact in 32-bit integers. The shape is that of an InnerProduct. */
typedef struct q8_int8_innerproduct_attr {
    int outputs;
    const signed char *weight; /**< outputs x elements of the input */
} q8_int8_innerproduct_attr;

/** What Compare measures, each over all elements; `signal` and so on are sums of squares. */
enum {
    Q8_COMPARE_SIGNAL, /**< of the first input */
    Q8_COMPARE_NOISE,  /**< of the second, mapped back, minus the first */
    Q8_COMPARE_DOT,    /**< of the first and the second */
    Q8_COMPARE_POWER,  /**< of the second */
    Q8_COMPARE_ALONE,  /**< from here on the last three of a third input */
    Q8_COMPARE_SUMS = Q8_COMPARE_ALONE + 3,
};

/**
 * Inputs: float values, and one or two simulations of them, factor[c] * x + shift in place of x.
 * Output: ::Q8_COMPARE_SUMS numbers, each a float followed by what it leaves over.
 */
typedef struct q8_compare_attr {
    const float *factor; /**< by channel; NULL: 1 */
    float shift;
} q8_compare_attr;

extern const q8_op q8_op_int8_quantize, q8_op_int8_dequantize, q8_op_int8_innerproduct,
    q8_op_int8_compare;

/** Quantize's first output. */
void q8_int8_codes(const float *x, float scale, size_t n, float *code);

/** One of Compare's results. */
static inline double q8_compare_value(const float *out, int which)
{
    return (double)out[2 * which] + (double)out[2 * which + 1];
}

/**
 * Runs Quantize, Dequantize or Compare on one picture whose rank-3 tensors are in blocks of `block`
 * channels (1, 8 or 16; 1: NCHW, and for tensors of other ranks).
 * @param shape of the first input
 * @return false for any other layer
 */
bool q8_int8_forward(const q8_node *node, const q8_shape *shape, int block, const float *const *in,
                     float *const *out);

#endif
