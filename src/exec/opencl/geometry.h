/** What kernels are told of a layer: the same text for the host's compiler and for OpenCL's. */
#ifndef Q8_EXEC_OPENCL_GEOMETRY_H
#define Q8_EXEC_OPENCL_GEOMETRY_H

/** Work-items of a group, where they share nothing / where they add up something together. */
#define Q8_CL_GROUP 64
#define Q8_CL_TEAM  256

/** Functions of one element; those below 100 are a ::q8_act_type. */
#define Q8_CL_ABS       100
#define Q8_CL_BNLL      101
#define Q8_CL_ELU       102
#define Q8_CL_EXP       103
#define Q8_CL_LOG       104
#define Q8_CL_SWISH     105
#define Q8_CL_TANH      106
#define Q8_CL_THRESHOLD 107
#define Q8_CL_POWER     108

typedef struct q8_cl_function {
    int kind;
    float a, b, c; /**< its parameters, in the order of the layer's attributes */
} q8_cl_function;

/** A convolution, or a deconvolution the other way round, of one batch. */
typedef struct q8_cl_conv {
    int batch, groups;
    int channels, h, w;        /**< of the whole input */
    int outputs, out_h, out_w; /**< of the whole output */
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int top, left; /**< padding; cut off the output of a deconvolution */
    float pad;     /**< what the padding holds */
} q8_cl_conv;

/** A pooling; windows as in q8_pool_axis. */
typedef struct q8_cl_pool {
    int planes; /**< of the batch */
    int h, w, out_h, out_w;
    int kernel_h, kernel_w, stride_h, stride_w, top, left;
    int average; /**< else the largest */
    int whole;   /**< averages divide by the kernel's size */
} q8_cl_pool;

/** A dim of 1 that is repeated has a stride of 0. */
typedef struct q8_cl_pairs {
    int type; /**< a q8_binary_type */
    int rank, dim[4];
    int step[2][4];
    int count, in_count[2]; /**< elements of one picture */
    int all;                /**< elements of the batch */
} q8_cl_pairs;

typedef struct q8_cl_lrn {
    int batch, channels, h, w;
    int around_c, around_s; /**< neighbours on each side */
    float scale, beta, bias;
} q8_cl_lrn;

/** A bilinear Interp. */
typedef struct q8_cl_resize {
    int planes; /**< of the batch */
    int h, w, out_h, out_w;
} q8_cl_resize;

/** A Normalize: groups of elements that share a norm. */
typedef struct q8_cl_normalize {
    int channels, spatial;
    int group_channels, group_spatial; /**< of a group: all or one */
    int groups;                        /**< of the batch */
    int shared;                        /**< one scale */
    int eps_mode;                      /**< as q8_normalize_attr */
    float eps;
} q8_cl_normalize;

/** A walk over some dims of a tensor; those that are not there are 1. */
typedef struct q8_cl_walk {
    int count;
    int dim[4], step[4];
} q8_cl_walk;

/** A Reduction. */
typedef struct q8_cl_reduce {
    int type;  /**< a ::q8_reduce_type */
    int count; /**< elements of a picture */
    q8_cl_walk kept, inner;
    float coeff;
} q8_cl_reduce;

/** What Compare adds up: ops' ::Q8_COMPARE_SUMS. */
#define Q8_CL_COMPARE_SUMS 7

/** Bins of a histogram: calib's ::Q8_HIST_BINS. */
#define Q8_CL_HIST_BINS 4096

/** The state of a tensor's statistics: 32-bit words, in this order. */
#define Q8_CL_STATS_EXPONENT   0 /**< as q8_hist's */
#define Q8_CL_STATS_ABSMAX     1 /**< bits of the largest finite |x| */
#define Q8_CL_STATS_ZEROS      2
#define Q8_CL_STATS_NOT_FINITE 3
#define Q8_CL_STATS_BINS       4 /**< behind them come the channels' words, channel by channel */
#define Q8_CL_CHANNEL_LO       0 /**< sortable, as in q8_extent */
#define Q8_CL_CHANNEL_HI       1
#define Q8_CL_CHANNEL_SUM      2 /**< 4 words, lowest first: a number in units of 2^-40 */
#define Q8_CL_CHANNEL_TOP      6
#define Q8_CL_CHANNEL_SMALL    7
#define Q8_CL_CHANNEL_BINS     8

typedef struct q8_cl_stats {
    int batch, channels, spatial;
    int min_exponent;                    /**< of the histogram */
    int steps, octaves;                  /**< of the channels' bins */
    int first_pixel, pixel_step, pixels; /**< looked at for these */
} q8_cl_stats;

#endif
