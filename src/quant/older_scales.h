/** Scales as older tools compute them. */
#ifndef Q8_QUANT_OLDER_SCALES_H
#define Q8_QUANT_OLDER_SCALES_H

#include "quant/quant.h"

/**
 * The scales of every layer that can run in int8, from thresholds and the weights' largest |w|. As
 * the older tools do, for each output (group of a ConvolutionDepthWise): 127 / absmax. ncnn2table
 * takes 31 instead of 127 for 3x3 Convolutions of stride 1; the original 0 where absmax < 0.0001.
 *
 * Unlike them, 1 where all weights are 0 (ncnn2table: infinity), and in a ConvolutionDepthWise
 * instead of 0, which some of ncnn's kernels make NaN of: either way all codes are 0.
 * @param given by node, set here, memory from the graph's arena
 * @param threshold by tensor id; 0 or less: not observed
 */
q8_code q8_older_scales(q8_given *given, q8_graph *graph, const float *threshold,
                        const q8_quant_opts *opts, q8_err *err);

#endif
