/** What pictures can still improve in a quantised network, layer by layer. */
#ifndef Q8_QUANT_REFINE_H
#define Q8_QUANT_REFINE_H

#include "calib/samples.h"

typedef struct q8_refine_opts {
    const q8_samples *samples;
    /** By tensor id, as for q8_correct_bias_graph(): for the biases of newly rounded weights. */
    const float *const *mean;
    bool strict;       /**< a sample that cannot be read is an error, not left out with a warning */
    bool compensate;   /**< round weights anew, see quant/compensate.h */
    bool correct_bias; /**< take each output channel's mean error off its bias */
    q8_gpu *gpu;       /**< runs both networks' layers; NULL: the CPU does */
} q8_refine_opts;

/**
 * Runs the float and the int8 network side by side on some of the samples, each layer refined on
 * what the refined layers before it make: first its weights' rounding, then its biases by the mean
 * difference of what goes into its activation (M. Nagel et al., ICCV 2019, section 4.2, empirical
 * form).
 * @param exact what `graph` was before it was quantised and its biases corrected
 */
q8_code q8_refine_graph(q8_graph *graph, const q8_graph *exact, const q8_refine_opts *opts,
                        const q8_env *env, q8_err *err);

#endif
