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

/** Tensors whose thresholds q8_quantize_graph() needs: `wanted` has n_tensors entries, set here. */
void q8_quant_wanted(const q8_graph *graph, bool *wanted);

/**
 * Quantises every layer that can run in int8, or says in node->float_reason why not. Weight scales
 * are 127 / the largest |w| of an output channel (of a group in ConvolutionDepthWise, of the layer
 * with `per_layer`), lowered where a sum could overflow.
 * @param threshold by tensor id: |x| that maps to 127; 0 or less: unknown
 */
q8_code q8_quantize_graph(q8_graph *graph, const float *threshold, const q8_quant_opts *opts,
                          q8_err *err);

/**
 * Takes the mean error that rounding the weights makes off each output's bias: with mean input m of
 * channel i, bias[o] -= sum over i,k of (w_q / scale - w)[o][i][k] * m[i] (M. Nagel et al.,
 * "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
 * section 4.2).
 * @param mean by tensor id: means by channel of the tensors that q8_quant_wanted() names
 */
q8_code q8_correct_bias_graph(q8_graph *graph, const float *const *mean, q8_err *err);

/** Round half away from zero, as ncnn does, clamped to -127..127. NaN becomes -127. */
signed char q8_round_int8(float x);

#endif
