/** Attributes of the layers without filters that backends and passes read too. */
#ifndef Q8_OPS_SIMPLE_H
#define Q8_OPS_SIMPLE_H

#include "ops/op.h"

enum { Q8_LRN_ACROSS_CHANNELS = 0, Q8_LRN_WITHIN_CHANNEL = 1 };

/** y = x * (bias + alpha / n * sum of x^2 over n neighbours)^-beta, n = size or size^2. */
typedef struct q8_lrn_attr {
    int region; /**< one of the above */
    int size;   /**< odd */
    float alpha, beta, bias;
} q8_lrn_attr;

typedef struct q8_softmax_attr {
    int axis;       /**< index into q8_shape.dim; negative counts from the end */
    int fixed_axis; /**< ncnn's key 1: the axis means what it says; always 1 */
} q8_softmax_attr;

enum { Q8_ELTWISE_PROD = 0, Q8_ELTWISE_SUM = 1, Q8_ELTWISE_MAX = 2 };

typedef struct q8_eltwise_attr {
    int type;         /**< one of the above */
    q8_floats coeffs; /**< one per input, of a sum only; empty: all 1 */
} q8_eltwise_attr;

typedef struct q8_concat_attr {
    int axis; /**< as q8_softmax_attr.axis */
} q8_concat_attr;

/** out[j*g + i] = in[i*n/g + j] of n channels, with g = group, or n/group if `reverse`. */
typedef struct q8_shufflechannel_attr {
    int group;
    int reverse;
} q8_shufflechannel_attr;

/** A dim is a number, -1 (what remains), 0 (as the input's) or ::Q8_RESHAPE_NONE. */
enum { Q8_RESHAPE_NONE = -233 };

typedef struct q8_reshape_attr {
    int w, h, d, c;
    int permute;             /**< old files' key 3; must be 0 */
    int batch_in, batch_out; /**< must be 233, their default */
} q8_reshape_attr;

/** Attributes of a Reshape to these dims, outermost first; `rank` is 1 to 3. */
q8_reshape_attr q8_reshape_dims(int rank, const int *dim);

/** Attributes of a Reshape to exactly this shape of rank 1 to 3. */
q8_reshape_attr q8_reshape_to(const q8_shape *shape);

/** Mean and deviation of a channel, or of the picture, are removed. */
typedef struct q8_mvn_attr {
    int normalize_variance; /**< 0: remove the mean only */
    int across_channels;
    float eps; /**< added to the standard deviation */
} q8_mvn_attr;

/** How eps keeps Normalize's norm from 0. Caffe has the first. */
enum { Q8_EPS_ADDED = 0, Q8_EPS_BOUNDS_NORM = 1, Q8_EPS_BOUNDS_SUM = 2 };

/** Weight 0: the scale. */
typedef struct q8_normalize_attr {
    int across_spatial, across_channel; /**< at least one */
    int channel_shared;                 /**< one scale for all channels */
    int scale_data_size;
    float eps;
    int eps_mode;
} q8_normalize_attr;

/** Constant border; types other than 0 and borders over channels are refused by infer(). */
typedef struct q8_padding_attr {
    int top, bottom, left, right;
    int type;
    float value;
    int per_channel;
    int front, behind;
} q8_padding_attr;

#endif
