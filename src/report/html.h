/** The report as one HTML page, from plain data: what to say is decided here, not what is so. */
#ifndef Q8_REPORT_HTML_H
#define Q8_REPORT_HTML_H

#include "base/buf.h"
#include "base/err.h"

enum { Q8_REPORT_BARS = 96 };

/** Of the weights of a layer in int8, by output channel. */
typedef struct q8_report_weights {
    float absmax_min, absmax_max; /**< of the rewritten float weights */
    float scale_min, scale_max;
    int code_min;     /**< the least of the channels' largest codes: 127 is all of int8 */
    size_t count;     /**< weights */
    size_t moved;     /**< of them not rounded to the nearest code */
    size_t biases;    /**< output channels */
    size_t corrected; /**< of them whose bias differs from the float network's */
} q8_report_weights;

/** One layer of the network that runs, in order. */
typedef struct q8_report_layer {
    const char *name, *type, *shape; /**< `shape` of its first output */
    bool linear;                     /**< has filters, so that all that follows means something */
    bool int8;
    const char *reason; /**< why it is float */
    double threshold;
    uint64_t macs;
    const q8_verify_layer *measured;  /**< NULL: was not */
    const q8_report_weights *weights; /**< NULL: float */
} q8_report_layer;

/** A tensor that int8 layers read, as they see it: equalised, but before a shift. */
typedef struct q8_report_tensor {
    const char *name, *shape;
    const char *reader; /**< the first */
    size_t n_readers;
    bool seen; /**< there are statistics */
    double min, max;
    double top;                 /**< |x| at the histogram's right end */
    double bar[Q8_REPORT_BARS]; /**< log of counts, 0 to 1 */
    double threshold;           /**< the |x| beyond which codes end; 0: no reader is int8 */
    double zeros, beyond;       /**< shares of all values */
    bool shifted, negated;      /**< `threshold` then has all codes, not half of them */
    size_t channels, equalised; /**< channels with a factor that is not 1 */
    double factor_min, factor_max;
    const q8_fast_tensor *fast; /**< NULL: was not looked at */
} q8_report_tensor;

/** A picture as the network saw it; see q8_report_channel. */
typedef struct q8_report_picture {
    const char *name;
    int width, height;
    q8_buf png;
} q8_report_picture;

/** A channel of the network's input, over the pictures shown. */
typedef struct q8_report_channel {
    const char *name;
    double min, max, mean;
} q8_report_channel;

typedef struct q8_report_data {
    const char *title, *proto, *model;
    uint64_t float_bytes, int8_bytes; /**< 0: not known */
    double seconds;                   /**< 0: not to be told */
    const q8_calib_result *calibrated;
    const q8_verify_result *verified;
    const q8_fast_info *fast; /**< NULL: calibration was in fp32 */
    const q8_trade_off *curve;
    size_t n_curve;
    q8_report_layer *layer;
    size_t n_layers;
    q8_report_tensor *tensor;
    size_t n_tensors;
    q8_report_picture *picture;
    size_t n_pictures;
    q8_report_channel channel[4];
    int n_channels;
} q8_report_data;

/** Appends the page; out of memory shows in `buf`. */
void q8_report_html(q8_buf *buf, const q8_report_data *data);

#endif
