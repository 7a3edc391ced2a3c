/**
 * A sample of what int8 layers' outputs are sums of: windows of their inputs in the float network,
 * at some positions of some pictures. With it such a layer can be run with any scales, and with its
 * input rewritten in any way, without running the network again.
 *
 * Its size does not depend on the number of pictures, and it is the same whatever the threads.
 */
#ifndef Q8_CALIB_WINDOWS_H
#define Q8_CALIB_WINDOWS_H

#include "caffe/net.h"
#include "exec/exec.h"
#include "ops/op.h"

enum {
    /** Rows of a layer begin their columns on multiples of so many. */
    Q8_WINDOWS_PAD = 32,
    Q8_WINDOWS_PICTURES = 32, /**< looked at, at most, evenly spaced */
    Q8_WINDOWS_ROWS = 512,    /**< of a layer, if it has as many output positions in these */
};

/** Bytes that all windows may take: of large networks there are fewer rows. */
#define Q8_WINDOWS_MEMORY ((size_t)64 << 20)

/** One layer's. Column k of group g holds op->window's row[k] at all sampled positions. */
typedef struct q8_layer_windows {
    int groups, columns; /**< columns: inputs * kernel of the linear view */
    int rows;            /**< sampled positions */
    int stride;          /**< floats from column to column; those beyond `rows` are 0 */
    float *x;            /**< [groups][columns][stride]; NULL: nothing was sampled */
} q8_layer_windows;

typedef struct q8_windows {
    int n_nodes;
    q8_layer_windows *layer; /**< by node */
} q8_windows;

/** Where windows come from. All borrowed. */
typedef struct q8_windows_of {
    const q8_graph *graph;
    const bool *wanted; /**< by tensor id: inputs of layers that may run in int8 */
    const q8_calib_opts *opts;
    const q8_caffe_transform *transform; /**< as in q8_calibration_of */
    q8_backend_kind backend;
    q8_gpu *gpu; /**< of ::Q8_BACKEND_GPU */
} q8_windows_of;

/**
 * Runs some of the pictures through the network, each member of a team the same ones, and takes
 * windows. Without any picture that can be read, or memory for it all, there are no windows.
 * @param windows to be freed by q8_windows_free(), also after a failure
 */
q8_code q8_windows_sample(q8_windows *windows, const q8_windows_of *what, const q8_env *env,
                          q8_err *err);

typedef struct q8_windows_capture q8_windows_capture;

/** For the nodes of `graph` that can run in int8 and read a tensor of `wanted`. */
q8_code q8_windows_open(q8_windows_capture **capture, const q8_graph *graph, const bool *wanted,
                        size_t samples, q8_err *err);
/** Takes what is wanted of a tensor in sample `index`. Different samples may come from different
 * threads at the same time. */
q8_code q8_windows_observe(q8_windows_capture *capture, size_t index, int tensor,
                           const q8_view *view, q8_err *err);
/** Gives out what was sampled, without the pictures that were not seen or held values that are not
 * finite; to be freed by q8_windows_free(). */
void q8_windows_take(q8_windows_capture *capture, q8_windows *windows);
void q8_windows_close(q8_windows_capture **capture);

void q8_windows_free(q8_windows *windows);

/** The k-th of `of` positions to look at in a picture of `positions`: one in each of as many equal
 *  stretches, at a place that differs from picture to picture. */
size_t q8_window_position(size_t positions, size_t picture, size_t k, size_t of);

#endif
