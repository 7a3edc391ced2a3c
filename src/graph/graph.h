/**
 * The network: nodes in ncnn's vocabulary, single-assignment tensors, attributes and weights.
 *
 * Everything hangs in one arena. A graph is edited in place by passes; nodes stay in an order in
 * which every tensor is made before it is read.
 */
#ifndef Q8_GRAPH_GRAPH_H
#define Q8_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"

enum { Q8_MAX_RANK = 4, Q8_MAX_WEIGHTS = 4 };

/** One picture's tensor, outermost dimension first and without the batch: {c,h,w}, {h,w}, {w}. */
typedef struct q8_shape {
    int rank;
    int dim[Q8_MAX_RANK];
} q8_shape;

/** Elements of a shape; 0 when a dim is not positive or the product exceeds ::Q8_MAX_ELEMENTS. */
size_t q8_shape_count(const q8_shape *shape);
bool q8_shape_equal(const q8_shape *a, const q8_shape *b);
/** "3x227x227" into `buf`, which is returned. */
const char *q8_shape_text(const q8_shape *shape, char buf[64]);
/** Elements of one slice of dim[0], i.e. h*w of {c,h,w}, and 1 of {w}. */
size_t q8_shape_spatial(const q8_shape *shape);

/** What flows along an edge. */
typedef struct q8_tensor {
    const char *name;
    q8_shape shape;
    /** What rewrites for int8 did to its values: factor[c] * x + shift, with c along dim[0], of
     * what the float network has there. NULL: 1. */
    const float *factor;
    float shift;
} q8_tensor;

/** Constant fp32 data of a node, in ncnn's order. Replaced, never written through, by passes. */
typedef struct q8_weight {
    const float *data;
    size_t count;
} q8_weight;

/** The int8 form of a node's weights and its scales (facts: ncnn multiplies by a scale). */
typedef struct q8_quant {
    const signed char *weight; /**< same order and count as the node's weight 0 */
    const float *weight_scales;
    size_t n_weight_scales; /**< as stored: num_output, or group for depthwise, or 1 */
    int weight_limit;       /**< of |w_q|; 0: not known, as of a network that was read */
    long long sum_limit;    /**< of an output channel's sum of |w_q| */
    float bottom_scale;
    float top_scale; /**< 0: the output stays float */
} q8_quant;

struct q8_op;

typedef struct q8_node {
    const struct q8_op *op;
    const char *name;
    q8_loc loc; /**< of the Caffe layer it came from */
    void *attr; /**< op->attr_size bytes, the op's own struct */
    int n_in, n_out;
    int *in, *out;                    /**< tensor ids */
    q8_weight weight[Q8_MAX_WEIGHTS]; /**< by position in op->weights; count 0 when absent */
    const q8_quant *quant;            /**< NULL while float */
    const char *float_reason; /**< why a node that could be int8 stays float; NULL unknown */
    /** Inputs and weights are integers and no sum of them reaches 2^24: a backend is to add them up
     * exactly (no winograd, no narrower type). */
    bool exact;
} q8_node;

typedef struct q8_graph {
    q8_arena *arena; /**< borrowed */
    q8_node **node;
    int n_nodes;
    q8_tensor *tensor;
    int n_tensors;
    int *output; /**< ids of the tensors the network is run for */
    int n_outputs;
} q8_graph;

/** @return NULL when out of memory */
q8_graph *q8_graph_new(q8_arena *arena);

/** Adds a tensor; `name` is borrowed. @return its id, or -1 when out of memory */
int q8_graph_add_tensor(q8_graph *graph, const char *name, const q8_shape *shape);

/** Puts a node before position `at` (n_nodes: at the end). False when out of memory. */
bool q8_graph_insert(q8_graph *graph, q8_node *node, int at);

/** Drops nodes whose op was set to NULL. */
void q8_graph_sweep(q8_graph *graph);

/** How often and by whom each tensor is used; made anew by each pass that needs it. */
typedef struct q8_uses {
    int *producer; /**< node index that makes tensor t, -1 when none */
    int *
        readers; /**< how many inputs of nodes read tensor t; a network output counts as one more */
    int *reader; /**< one of the node indices that read it, -1 when none */
} q8_uses;

/** From the graph's arena. False when out of memory. */
bool q8_graph_uses(const q8_graph *graph, q8_uses *uses);

/** True when the tensor is one of the network's outputs. */
bool q8_graph_is_output(const q8_graph *graph, int tensor);

/** Every read and output of tensor `from` becomes one of tensor `to`. */
void q8_graph_replace_tensor(q8_graph *graph, int from, int to);

#endif
