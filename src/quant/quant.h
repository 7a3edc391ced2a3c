/** Which layers run in int8, their scales and their int8 weights. */
#ifndef Q8_QUANT_QUANT_H
#define Q8_QUANT_QUANT_H

#include "ops/op.h"

/**
 * ncnn may run an int8 3x3 stride-1 Convolution as winograd F(4,3), exact while every int32
 * accumulator stays below 2^31 / 576; as |x_q| <= 127 that holds when an output channel's sum of
 * |w_q| is at most this.
 */
#define Q8_WINOGRAD_SUM 29355

/** The same for layers that add up in plain int32: (2^31 - 1) / 127. */
#define Q8_INT32_SUM 16909320

/** A convolution that ncnn may run as winograd F(4,3). */
bool q8_may_be_winograd(const q8_node *node);

/** What the sum of |w_q| of each of the node's output channels may be. */
long long q8_quant_sum_limit(const q8_node *node);

/** Tensors whose thresholds q8_quantize_graph() needs: `wanted` has n_tensors entries, set here. */
void q8_quant_wanted(const q8_graph *graph, bool *wanted);

/**
 * Quantises every layer that can run in int8 and has no float_reason yet, or says in
 * node->float_reason why not. Weight scales are 127 / the largest |w| of an output channel (of a
 * group in ConvolutionDepthWise, of the layer with `per_layer`), lowered where a sum could
 * overflow.
 * @param threshold by tensor id: |x| that maps to 127; 0 or less: unknown
 */
q8_code q8_quantize_graph(q8_graph *graph, const float *threshold, const q8_quant_opts *opts,
                          const q8_env *env, q8_err *err);

/** How a layer's output channels share weight scales. */
typedef struct q8_scale_units {
    size_t units;          /**< each has a scale of its own */
    size_t rows, row_size; /**< of a unit; a row is an output channel */
    size_t scales;         /**< as stored: one per unit, or copies of a single one */
} q8_scale_units;

q8_scale_units q8_quant_units(const q8_node *node, const q8_linear *view, bool per_layer);

/** Sets weight_limit and sum_limit. */
void q8_quant_set_limits(q8_quant *quant, const q8_node *node, q8_weight_bits bits);

/**
 * Quantises the weights of one unit as q8_quantize_graph() does.
 * @param limits weight_limit and sum_limit
 * @param out rows * row_size of them
 * @return the scale; 0: none serves, and nothing was set
 */
float q8_quantize_unit(const float *weight, const q8_scale_units *units, float bottom_scale,
                       const q8_quant *limits, signed char *out);

/** How many weight scales ncnn stores for a node; 0: it cannot run in int8. */
size_t q8_quant_scales(const q8_graph *graph, const q8_node *node);

/** A layer's scales that are given, by a table or by an older tool's rules. */
typedef struct q8_given {
    const char *float_reason;   /**< why the layer is to stay float; NULL: it is not */
    const float *weight_scales; /**< q8_quant_scales() of them; 0: weights that count as 0 */
    float bottom_scale;         /**< above 0 and finite */
} q8_given;

/** Quantises with given scales, whatever sums they lead to. @param given by node */
q8_code q8_quantize_given(q8_graph *graph, const q8_given *given, const q8_env *env, q8_err *err);

/**
 * Takes the mean error that rounding the weights makes off each output's bias: with mean input m of
 * channel i, bias[o] -= sum over i,k of (w_q / scale - w)[o][i][k] * m[i] (M. Nagel et al.,
 * "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
 * section 4.2).
 * @param mean of the node's input, by channel; NULL: it stays as it is
 */
q8_code q8_correct_bias_node(q8_graph *graph, q8_node *node, const float *mean, q8_err *err);
/** The same for all nodes, with the means by tensor id. */
q8_code q8_correct_bias_graph(q8_graph *graph, const float *const *mean, const q8_env *env,
                              q8_err *err);

/** Round half away from zero, as ncnn does, clamped to -127..127. NaN becomes -127. */
signed char q8_round_int8(float x);

#endif
