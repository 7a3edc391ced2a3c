/**
 * The layer table's row type: everything the rest of the program knows about a layer type.
 *
 * Adding a layer is one row in ops.def, one file here, one case in tests/corpus. No switch over
 * types exists anywhere: passes, the writer, the backends and the calibrator ask these members.
 */
#ifndef Q8_OPS_OP_H
#define Q8_OPS_OP_H

#include "graph/graph.h"

/** A list of numbers in an attribute struct; from the arena. */
typedef struct q8_ints {
    int n;
    const int *v;
} q8_ints;

typedef struct q8_floats {
    int n;
    const float *v;
} q8_floats;

/** ncnn's activation_type, the numbers of key 9. */
typedef enum q8_act_type {
    Q8_ACT_NONE = 0,
    Q8_ACT_RELU = 1,
    Q8_ACT_LEAKY = 2, /**< slope */
    Q8_ACT_CLIP = 3,  /**< min, max */
    Q8_ACT_SIGMOID = 4,
    Q8_ACT_MISH = 5,
    Q8_ACT_HSWISH = 6, /**< alpha, beta: x * clip(alpha * x + beta, 0, 1) */
} q8_act_type;

typedef struct q8_activation {
    int type;         /**< a ::q8_act_type (int, since it is also ncnn's key 9) */
    q8_floats params; /**< ncnn's key 10 */
} q8_activation;

/** One ncnn parameter, `key=value` in a .param line; one table serves reading and writing. */
typedef struct q8_field {
    int key;
    enum { Q8_INT, Q8_FLOAT, Q8_INTS, Q8_FLOATS } kind;
    size_t offset; /**< of an int, float, q8_ints or q8_floats in the attribute struct */
    double value;  /**< default of a number; lists default to empty */
    int same_as;   /**< key whose value is the default instead, -1 none; listed before this one */
    const char *name; /**< the member's, for the documentation */
} q8_field;

#define Q8_FIELD_INT(type, member, key, value)                                                     \
    {                                                                                              \
        key, Q8_INT, offsetof(type, member), value, -1, #member                                    \
    }
#define Q8_FIELD_FLOAT(type, member, key, value)                                                   \
    {                                                                                              \
        key, Q8_FLOAT, offsetof(type, member), value, -1, #member                                  \
    }
#define Q8_FIELD_INTS(type, member, key)                                                           \
    {                                                                                              \
        key, Q8_INTS, offsetof(type, member), 0, -1, #member                                       \
    }
#define Q8_FIELD_FLOATS(type, member, key)                                                         \
    {                                                                                              \
        key, Q8_FLOATS, offsetof(type, member), 0, -1, #member                                     \
    }
/** An int whose default is the value of another key. */
#define Q8_FIELD_SAME(type, member, key, as)                                                       \
    {                                                                                              \
        key, Q8_INT, offsetof(type, member), 0, as, #member                                        \
    }

/** One weight in the order of the .bin file. */
typedef struct q8_weight_spec {
    const char *name;                  /**< for messages: "weight", "bias", "slope" */
    bool tagged;                       /**< carries the 4-byte tag and may be fp16 or int8 */
    size_t (*count)(const void *attr); /**< elements; 0: absent */
} q8_weight_spec;

/**
 * A layer that computes, per group, out[o] = sum over i,k of weight[o][i][k] * in[i][...] +
 * bias[o]. Folding, quantising and equalising all work on this view. Weight 0 is [groups *
 * outputs][inputs][kernel], weight 1 is the bias.
 */
typedef struct q8_linear {
    int groups;
    int outputs; /**< per group */
    int inputs;  /**< channels per group */
    int kernel; /**< weights per (output, input): taps, or columns per channel of an InnerProduct */
    bool pads;  /**< padding enters the sum, so a shift of the input is not a bias */
    float pad_value; /**< what the padding holds; a scale of the input is one of the weights if 0 */
} q8_linear;

/** One picture's forward pass in plain C. */
typedef struct q8_forward {
    const q8_node *node;
    const q8_shape *in_shape, *out_shape; /**< by input / output index */
    const float *const *in;               /**< NCHW, one picture */
    float *const *out;
} q8_forward;

/**
 * What a layer does with a change of its inputs' channels (along dim[0]), x[c] -> a[c] * x[c] + b
 * with a[c] != 0. Where elements MOVE, running the layer on channel numbers tells which channels
 * an output channel is made of. All other rules keep channel c at c, and of several inputs they
 * ask for the same change in each, but for the b of a SUM.
 */
typedef enum q8_channel_rule {
    Q8_CHANNELS_FIXED,  /**< the change would change more than the output's channels */
    Q8_CHANNELS_MOVE,   /**< each output element is an input element: the change moves with it */
    Q8_CHANNELS_MAX,    /**< the largest of some of a channel's elements: as a move where a > 0 */
    Q8_CHANNELS_MEAN,   /**< a sum of some of a channel's elements, weights add to 1: as a move */
    Q8_CHANNELS_LINEAR, /**< the same with any weights, or 0 (padding): a moves, b must be 0 */
    Q8_CHANNELS_SUM,    /**< of inputs, with weights: a moves; b is what inputs of b would give */
    Q8_CHANNELS_EACH,   /**< f of each element, f(a x) = a f(x) for a > 0; b must be 0 */
} q8_channel_rule;

struct q8_caffe_import;

typedef struct q8_op {
    const char *type;               /**< ncnn's name */
    const char *const *caffe_types; /**< Caffe's names it is read from, NULL-ended; NULL: none */
    int min_in, max_in;             /**< inputs; max -1: any number */
    int min_out, max_out;
    size_t attr_size;
    const q8_field *fields;
    int n_fields;
    const q8_weight_spec *weights;
    int n_weights;

    /** Turns the Caffe layer at hand into one or more nodes (see ops/caffe_import.h). */
    q8_code (*from_caffe)(struct q8_caffe_import *im);

    /** Output shapes; checks attributes against the inputs. Never overflows, whatever the
     * attributes. */
    q8_code (*infer)(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err);

    /** The oracle. Accumulates in double where a sum is long. */
    q8_code (*forward)(const q8_forward *f, q8_err *err);

    /* Optional traits; NULL: the layer does not have them. */

    /** Its linear view on inputs of these shapes. A layer with it can run in int8 if `int8`. */
    bool (*linear)(const q8_node *node, const q8_shape *in, q8_linear *view);
    /** The inputs * kernel values of which the outputs of `group` at output position `at` (of one
     * channel's) are sums, in the order of the weights. NULL: not known. */
    void (*window)(const q8_node *node, const q8_shape *in, const float *x, size_t at, int group,
                   float *row);
    /** Sums of the windows over all output positions, for all groups one after the other. NULL
     * where `window` is. */
    void (*window_sums)(const q8_node *node, const q8_shape *in, const float *x, double *sum);
    /** Its activation slot, to fuse a following activation into. */
    q8_activation *(*activation)(q8_node *node);
    /** The same function as an activation, if it is one. False: not with these attributes. */
    bool (*as_activation)(const q8_node *node, q8_arena *arena, q8_activation *act);
    /** y[c] = a[c] * x[c] + b[c] for `channels` values of dim[0]; false: not with these attributes.
     */
    bool (*as_affine)(const q8_node *node, int channels, float *a, float *b);
    /** The output is the input, element for element (shapes may differ only if infer says so). */
    bool (*is_identity)(const q8_node *node, const q8_shape *in, const q8_shape *out);
    /** Only the shapes of its inputs count, not their values. */
    bool shapes_only;
    /** NULL: ::Q8_CHANNELS_FIXED. */
    q8_channel_rule (*channels)(const q8_node *node, const q8_shape *in);
    /** Sets the flag that says a bias is present (weight 1), when one was added. */
    void (*set_bias)(q8_node *node);
    /** Sets ncnn's int8_scale_term from node->quant; NULL: cannot run in int8. */
    void (*set_int8)(q8_node *node);
    /** ncnn hands a global pooling's result on as {c}, not {c,1,1}; true: this reader minds. */
    bool needs_rank3;
    /** Multiply-adds for one picture, from the attributes alone (a node may have no weights at
     * hand); NULL: every weight of the linear view once per element of an output channel, or none
     * without a linear view. */
    long long (*macs)(const q8_node *node, const q8_shape *in, const q8_shape *out);
    /** What of the Caffe layer is refused or ignored, in a few sentences for docs/layers.md; NULL:
     * nothing. */
    const char *limits;
} q8_op;

/** All rows, in ops.def's order. */
extern const q8_op *const q8_ops[];
extern const int q8_n_ops;

/** By ncnn's name / by Caffe's name; NULL: unknown. */
const q8_op *q8_op_by_type(const char *type);
const q8_op *q8_op_by_caffe_type(const char *caffe_type);

/** Makes a node with its attributes at their defaults that is in no graph yet. NULL when out of
 * memory. */
q8_node *q8_node_new(q8_arena *arena, const q8_op *op, const char *name, int n_in, int n_out);

/** The bias of a node with this linear view (zeros if it had none) as memory that may be written.
 *  NULL when out of memory. */
float *q8_own_bias(q8_arena *arena, q8_node *node, const q8_linear *linear);

/** Fails if an attribute's number is not finite, by the field's key: ncnn cannot read such. */
q8_code q8_node_check_float(const q8_node *node, int key, float value, q8_err *err);

/** Runs op->infer after checking the numbers of inputs and outputs and that no attribute is NaN or
 * infinite; stores the outputs' shapes. */
q8_code q8_infer_node(q8_graph *graph, q8_node *node, q8_err *err);

#endif
