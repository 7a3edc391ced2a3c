/**
 * A network's int8 layers with ncnn's arithmetic, as a float network: each becomes Quantize, the
 * same layer on integers, and Dequantize with the bias and the activation (see ops/int8.h). Sums of
 * integers are exact in fp32 as long as they stay below 2^24, so what this computes is what ncnn
 * computes, but for the last bit of a dequantised value (some of ncnn's kernels round twice).
 */
#ifndef Q8_VERIFY_SIMULATE_H
#define Q8_VERIFY_SIMULATE_H

#include "ops/op.h"

/** What several nodes of a simulated layer have in common. */
typedef struct q8_simulated {
    const q8_node *node; /**< the int8 one */
    q8_shape in, out;
    const float *scale; /**< from sums to values, by output channel */
    const float *bias;  /**< likewise */
    const float
        *weight; /**< the int8 weights; NULL for InnerProduct, which reads them as they are */
    /** What `weight` is short of, in multiples of ::Q8_SIMULATE_DIGIT: only where sums of the whole
     * could reach 2^24; else NULL. */
    const float *high;
} q8_simulated;

enum { Q8_SIMULATE_DIGIT = 16 };

/** Works out what is needed to simulate an int8 node; memory is the arena's. */
q8_code q8_simulate_prepare(q8_simulated *layer, const q8_graph *graph, const q8_node *node,
                            q8_arena *arena, q8_err *err);

/** Appends a Quantize of tensor `in`. `*codes` is its output, `*beyond` the count of values that
 *  were cut off (may be NULL). */
q8_code q8_simulate_quantize(q8_graph *graph, const q8_node *node, int in, int *codes, int *beyond,
                             q8_err *err);
/** Appends the rest of the layer: from codes to its output, which becomes tensor `out`. */
q8_code q8_simulate_layer(q8_graph *graph, const q8_simulated *layer, int codes, int out,
                          q8_err *err);

/**
 * The whole network: a copy of `graph` in `arena`, with the same tensor ids and with nodes in place
 * of each int8 one.
 */
q8_code q8_simulate_graph(q8_graph **simulation, const q8_graph *graph, q8_arena *arena,
                          q8_err *err);

#endif
