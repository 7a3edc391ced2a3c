/**
 * @file q8.h
 * libq8: a float Caffe model and calibration pictures in, an int8 ncnn model out.
 *
 * The stages are calls, made in this order:
 *
 *     q8_model_open()   read a deploy prototxt and its caffemodel, fold and fuse
 *     q8_calibrate()    run pictures through the float network, gather statistics
 *                       (or q8_stats_read(): read those of earlier runs)
 *     q8_quantize()     int8 weights and scales, layer by layer
 *     q8_write()        ncnn .param and .bin, written atomically and read back
 *     q8_model_close()
 *
 * Every call returns a ::q8_code and, when it is not ::Q8_OK, has filled the caller's ::q8_err.
 * Nothing here prints, exits, or keeps global state; different models may be used from different
 * threads at the same time, one model from one thread at a time.
 */
#ifndef Q8_Q8_H
#define Q8_Q8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Marks what the shared library exports. */
#define Q8_API __attribute__((visibility("default")))

/** How a call ended. */
typedef enum q8_code {
    Q8_OK = 0,
    Q8_ENOMEM,       /**< out of memory */
    Q8_EIO,          /**< a file could not be opened, read, written or renamed */
    Q8_EFORMAT,      /**< a file is not what it claims to be: syntax, truncation, corruption */
    Q8_EMODEL,       /**< well formed but wrong: shapes, missing weights, impossible values */
    Q8_EUNSUPPORTED, /**< a layer or feature that this library does not have */
    Q8_EINVAL,       /**< a wrong argument or option */
    Q8_EINTR,        /**< the caller asked to stop */
    Q8_EDEVICE,      /**< there is no such GPU, or it failed */
    Q8_EINTERNAL,    /**< a broken promise inside the library: please report it */
} q8_code;

/** What went wrong and where. Owned by the caller; fixed buffers, so filling it cannot fail. */
typedef struct q8_err {
    q8_code code;
    int line;        /**< 1-based, 0 when unknown */
    int column;      /**< 1-based, 0 when unknown */
    char file[1024]; /**< empty when unknown */
    char layer[128]; /**< layer name, empty when none */
    char text[6144]; /**< the message, without the parts above */
} q8_err;

/**
 * Writes `file:line:column: error: layer 'x': text` as compilers do, leaving out what is unknown.
 * @param label "error" or "warning"
 * @return the length it needs, as snprintf() does
 */
Q8_API int q8_err_format(const q8_err *err, const char *label, char *buf, size_t size);

/**
 * Names in files are anybody's: copies text for a terminal, with control characters, marks that
 * turn the direction of writing and what is not UTF-8 as \xHH.
 * @return the length it needs, as snprintf() does
 */
Q8_API int q8_printable(const char *text, char *buf, size_t size);

/**
 * Processes that share the work on one model: each makes the same calls with the same arguments, on
 * files that are the same for all, and does its share of the samples. Every member's calls then
 * return the same and leave the same model, to the bit what a process alone would make, whatever
 * the size: let member 0 write it. (All are to be of one kind of machine: bytes are sent as they
 * are in memory.)
 *
 * Calls of the library that have a ::q8_env wait for each other. When one fails on any member it
 * fails on all, with the same error; the team has then come to its end, and so do further calls.
 */
typedef struct q8_team {
    void *user;     /**< passed to the callbacks */
    int rank, size; /**< members are 0 to size - 1 */
    /** Moves `size` bytes to or from a member; what one sends to another arrives in order. False:
     *  it cannot be reached any more. Called from the thread that called the library. */
    bool (*send)(void *user, int to, const void *data, size_t size);
    bool (*receive)(void *user, int from, void *data, size_t size);
    /** Perhaps NULL, both: spreads the news that samples from number `from` on need not be done,
     *  without waiting; and the lowest such number that has been heard, SIZE_MAX: none. Without it
     *  a failure is learned when all have done their share. Called from any thread. */
    void (*stop)(void *user, size_t from);
    size_t (*stopped)(void *user);
    q8_code failed; /**< private */
} q8_team;

/** What the library asks of its surroundings. Zero-initialised is valid: silent, all cores, alone.
 */
typedef struct q8_env {
    void *user;                                   /**< passed to the callbacks */
    void (*warn)(void *user, const q8_err *what); /**< something was odd, work goes on */
    void (*note)(void *user, const q8_err *what); /**< something was decided for the user */
    /** Work advances: `done` of `total` items of `stage` ("calibrate", …). Called from one thread
     *  at a time, though not always the same one. */
    void (*progress)(void *user, const char *stage, size_t done, size_t total);
    const volatile int *cancel; /**< set non-zero (a signal handler may) to end with ::Q8_EINTR */
    int threads;                /**< 0: every core this process may use */
    /**
     * Bytes to have at once, at most, of what can be planned: weights, activations, statistics,
     * samples of layers' inputs, decoded pictures; 0: any. What is too much is made less (a batch,
     * threads, pictures to refine on), with a note; what then still is too much is ::Q8_ENOMEM
     * before it is allocated.
     */
    size_t max_memory;
    q8_team *team; /**< NULL: alone */
} q8_env;

/**
 * Members of a team tell each other how something ended that they did between calls of the library,
 * so that nobody waits for one that has given up: all return an error if one brings it, of several
 * that of the lowest rank. Alone it returns `code`.
 * @param err holds the error, if `code` is one; becomes the team's
 */
Q8_API q8_code q8_agree(const q8_env *env, q8_code code, q8_err *err);

/**
 * How a picture becomes the network's input: turned as its EXIF data says, resized, its channels
 * put in order, minus the mean, times the norm. A mean or norm that is not given here is taken from
 * the prototxt's `transform_param`, with a note; where that has none either they are 0 and 1.
 */
typedef struct q8_preprocess {
    int n_mean, n_norm;    /**< 0 (not given), 1 (all channels) or the number of channels */
    float mean[4];         /**< subtracted, in the model's channel order */
    float norm[4];         /**< multiplied after that */
    const char *mean_file; /**< .binaryproto or .npy, per channel or per pixel; NULL: not given */
    enum {
        Q8_PIXEL_AUTO,
        Q8_PIXEL_BGR,
        Q8_PIXEL_RGB,
        Q8_PIXEL_GRAY
    } pixel; /**< auto: by channels */
    /** Sizes are rounded to the nearest pixel, what is cut off or added is halved rounding down on
     *  the left and at the top. */
    enum {
        Q8_RESIZE_AUTO,    /**< stretch */
        Q8_RESIZE_STRETCH, /**< to the input's size, whatever the picture's form */
        Q8_RESIZE_CROP, /**< keep the form: scale until it covers the input, cut out the middle */
        Q8_RESIZE_LETTERBOX /**< keep the form: scale until it fits, put the mean's colour around */
    } resize;
} q8_preprocess;

/** A device that OpenCL knows: a GPU, or whatever else there is a driver for. */
typedef struct q8_gpu q8_gpu;

typedef struct q8_gpu_info {
    char name[128], platform[128], driver[64];
    uint64_t memory; /**< bytes */
    bool is_gpu;     /**< not a processor or an accelerator of another kind */
} q8_gpu_info;

/** All devices, in the order that q8_gpu_open() counts them. `*list` is for free(). Having none is
 *  an error of ::Q8_EDEVICE, whose text says what to install. */
Q8_API q8_code q8_gpu_list(q8_gpu_info **list, size_t *n, q8_err *err);

/** For q8_gpu_open(): the first that is a GPU, else the first. */
#define Q8_GPU_ANY (-1)

/** Opens a device for any number of models and threads. On failure `*gpu` is NULL.
 *  @param device from 0, or ::Q8_GPU_ANY; one that is not there is ::Q8_EINVAL */
Q8_API q8_code q8_gpu_open(q8_gpu **gpu, int device, q8_err *err);
Q8_API void q8_gpu_close(q8_gpu **gpu);
/** What it is; strings are copies. */
Q8_API q8_gpu_info q8_gpu_describe(const q8_gpu *gpu);

typedef struct q8_model q8_model;

/** What q8_model_open() reads. */
typedef struct q8_model_opts {
    const char *proto; /**< deploy prototxt */
    const char *model; /**< caffemodel */
    int width, height; /**< replace the prototxt's input size; 0: keep it */
    /** A float ncnn model instead of a Caffe one; NULL: `proto` and `model` are given. Its Input
     *  layers have to tell their sizes. */
    const char *param, *bin;
} q8_model_opts;

/** Reads, checks and optimises a model. On failure `*model` is NULL. */
Q8_API q8_code q8_model_open(q8_model **model, const q8_model_opts *opts, const q8_env *env,
                             q8_err *err);
Q8_API void q8_model_close(q8_model **model);

/** Later calls of q8_calibrate(), q8_quantize(), q8_verify() and q8_reach() run the float and the
 *  int8 network there, layers it has no kernels for on the CPU. On the same device results are the
 *  same every time; between devices, and the CPU, sums of floats differ in the last bits.
 *  @param gpu outlives the model; NULL: all on the CPU */
Q8_API void q8_model_use_gpu(q8_model *model, q8_gpu *gpu);

/**
 * What to calibrate on: pictures, and `.npy` tensors (C, H, W), or (N, C, H, W) for N samples, of
 * float32, float64 or uint8, which are used as they are; one with a NaN or an infinity counts as
 * unreadable. A network with several inputs needs
 * `INPUT=PATH` for each; sample i is then the i-th of every input, so there must be equally many.
 */
typedef struct q8_calib_opts {
    /** Folders (searched recursively), list files (.txt), pictures or tensors; each perhaps behind
     *  the name of a network input and a '='. */
    const char *const *images;
    size_t n_images;
    size_t limit; /**< at most so many samples, evenly spaced over the sorted list; 0: all */
    bool strict;  /**< an unreadable picture is an error, not a counted warning */
    /** Samples that q8_calibrate() runs at once on each thread; 0: as is fastest. With another
     * batch oneDNN may take other kernels, whose sums differ in the last bits. */
    int batch;
    /** A picture with more counts as unreadable; 0: 2^28, which is the most in any case. */
    size_t max_pixels;
    /** q8_calibrate() may round inputs and weights of convolutions to bf16, which processors with
     *  AMX or AVX512-BF16 are faster at (on others a note says so and nothing changes);
     *  q8_model_fast() tells what that did. Not with `checkpoint`, nor for `compat` or statistics
     * files later. */
    bool fast;
    /** Leave out histograms by channel, which take some 4 % of the time: only equalising and
     *  ::Q8_METHOD_AUTO choose by them, and statistics files hold them, so those are errors then.
     */
    bool no_channel_histograms;
    q8_preprocess preprocess;
    /**
     * A file in which q8_calibrate() keeps what it has done so far: written about every
     * `checkpoint_seconds` (0: after every few samples), when it is cancelled, and at its end. If
     * it is there, calibration goes on from it, with a note, and the result is that of one run over
     * all samples; if it is of another network, other samples or other preprocessing, that is an
     * error. It is left for the caller to remove. NULL: none.
     */
    const char *checkpoint;
    double checkpoint_seconds;
} q8_calib_opts;

/** What calibration saw. */
typedef struct q8_calib_result {
    size_t used, skipped; /**< samples: pictures, tensors, or one of each input */
    double seconds;
} q8_calib_result;

/** Runs the pictures through the float network once and keeps the statistics in the model. */
Q8_API q8_code q8_calibrate(q8_model *model, const q8_calib_opts *opts, const q8_env *env,
                            q8_calib_result *result, q8_err *err);

/** Which statistics to read, and what they are to agree with. */
typedef struct q8_stats_opts {
    const char *const *paths; /**< made by q8_stats_write() or q8_write() for this network */
    size_t n_paths;           /**< at least 1 */
    /** What is given of it (not auto, not 0 values) must be what the files say. */
    q8_preprocess preprocess;
    /** These will be given to q8_quantize() or q8_verify(): they, `preprocess` in them included,
     *  must become the network's input as those did that the statistics are of. NULL: none. */
    const q8_calib_opts *pictures;
} q8_stats_opts;

/**
 * Reads statistics instead of running pictures through the network: the model is as q8_calibrate()
 * over all the files' pictures would have left it, to the bit. Wrong networks, weights and
 * preprocessing, damaged and unfinished files are errors; files that share pictures for certain
 * (the same file twice) are warned about. A note tells how the pictures were preprocessed. On
 * failure the model is not calibrated.
 */
Q8_API q8_code q8_stats_read(q8_model *model, const q8_stats_opts *opts, const q8_env *env,
                             q8_calib_result *result, q8_err *err);

/** Writes the statistics that the model has, from q8_calibrate() or merged by q8_stats_read(), as
 *  one file, which appears complete and checked or not at all. */
Q8_API q8_code q8_stats_write(const q8_model *model, const char *path, q8_err *err);

/** How the value at which an activation saturates is chosen; docs/accuracy.md says more. */
typedef enum q8_method {
    Q8_METHOD_MSE, /**< least squared error */
    /** Least error at the outputs of the layers that read the tensor, simulated in int8; as nearly
     *  as statistics tell where there are no pictures for that. */
    Q8_METHOD_AUTO,
    Q8_METHOD_KL,         /**< least Kullback-Leibler divergence of the histogram */
    Q8_METHOD_MINMAX,     /**< the largest |x| */
    Q8_METHOD_PERCENTILE, /**< what 99.99 % of the values do not exceed */
    Q8_METHOD_ACIQ,       /**< least squared error of a Laplace or normal distribution alike */
    Q8_METHOD_EQ,         /**< greatest cosine, from half to twice that of kl */
} q8_method;

/** Older tools whose results are to be reproduced: docs/accuracy.md says how far. */
typedef enum q8_compat {
    Q8_COMPAT_NONE,
    Q8_COMPAT_ORIGINAL, /**< the Python caffe-int8-to-ncnn */
    Q8_COMPAT_NCNN,     /**< ncnn2table's kl and ncnn2int8 */
} q8_compat;

/** How large int8 weights of 3x3 stride-1 convolutions may be, which ncnn may run as winograd. */
typedef enum q8_weight_bits {
    Q8_WEIGHT_BITS_AUTO, /**< 8 bits; channels whose sum could overflow there are scaled down */
    Q8_WEIGHT_BITS_8,    /**< 8 bits, whatever the sum: only for builds of ncnn without winograd */
    Q8_WEIGHT_BITS_6,    /**< as ncnn2table has them: 31 / the largest |w| */
} q8_weight_bits;

/** How weights and activations are quantised. */
typedef struct q8_quant_opts {
    q8_method method;
    /** Not ::Q8_COMPAT_NONE: that tool's thresholds and scales instead of `method`, which takes a
     *  second pass over `pictures`. The network stays as it is: no equalising, no shift, no bias
     *  correction, and weights to the nearest integer. */
    q8_compat compat;
    /** All scales from this calibration table in ncnn's format, made for this network (layers have
     *  the names that they get in the .param file); what it lacks stays float. Then too the network
     *  stays as it is, and q8_calibrate() is not needed. NULL: none. */
    const char *table;
    bool no_equalise;        /**< leave the channels of activations as large as they are */
    bool no_shift;           /**< leave tensors that are never negative as they are */
    bool no_requantise;      /**< every layer's output is float, even if only int8 layers read it */
    bool no_bias_correction; /**< leave the mean error of rounded weights in the outputs */
    q8_weight_bits weight_bits;
    bool per_layer;     /**< one weight scale per layer instead of one per output channel */
    bool round_nearest; /**< weights to the nearest integer, whatever the errors add up to */
    /** Some of these are run through the float and the int8 network side by side, to round weights
     *  and correct biases on what each layer really sees. NULL: from statistics alone. */
    const q8_calib_opts *pictures;
    /** Layers that are not to be quantised, by the names that the prototxt has for them. An unknown
     *  name is an error, which tells the nearest. */
    const char *const *keep_float;
    size_t n_keep_float;
    size_t n_for_accuracy; /**< the last of them are for the accuracy's sake, as reasons tell */
} q8_quant_opts;

/** What became of one layer that could run in int8. */
typedef struct q8_layer_info {
    const char *name, *type; /**< owned by the model */
    bool int8;
    const char *reason; /**< why it stays float; "" when it is int8 */
    float threshold;    /**< of the input, 0 when float */
} q8_layer_info;

/** Thresholds of one tensor that layers with weights read, both over the same pictures. */
typedef struct q8_fast_tensor {
    const char *name; /**< owned by the model */
    float fp32, bf16; /**< by the method in use, as the float network has the tensor; above 0 */
} q8_fast_tensor;

/** What bf16 changed in calibration: some of the pictures were run both ways. */
typedef struct q8_fast_info {
    bool used;                    /**< convolutions were in bf16 */
    size_t pictures;              /**< run both ways; 0: none, and nothing below is set */
    const q8_fast_tensor *tensor; /**< owned by the model, until the next q8_quantize() */
    size_t n_tensors;
    double median, largest; /**< over the tensors, of |bf16 - fp32| / fp32 */
    const char *where;      /**< the tensor with the largest; "" without tensors */
} q8_fast_info;

/** Of the latest q8_calibrate() with `fast` and q8_quantize(). */
Q8_API q8_fast_info q8_model_fast(const q8_model *model);

/** Chooses scales, makes int8 weights and corrects biases for them, all beside the float model.
 * Needs q8_calibrate() before it. May be called again with other options. */
Q8_API q8_code q8_quantize(q8_model *model, const q8_quant_opts *opts, const q8_env *env,
                           q8_err *err);
/** Layers that have weights, in network order. */
Q8_API size_t q8_model_layer_count(const q8_model *model);
Q8_API q8_layer_info q8_model_layer(const q8_model *model, size_t index);

/** What to compare the int8 network with the float one on. */
typedef struct q8_verify_opts {
    /** As for q8_calibrate(). With `limit` 0 all are used. */
    q8_calib_opts pictures;
    /**
     * These are the pictures that calibration was given, and of them it used `calibrated_on`: the
     * others are preferred, unless they are fewer than a quarter of `limit`. 0: they are other
     * pictures.
     */
    size_t calibrated_on;
    const char *labels; /**< file of lines "name label", the name perhaps with folders; or NULL */
    bool outputs_only;  /**< leave out what is measured layer by layer, which takes half the time */
} q8_verify_opts;

/** How far a layer's output is from the float network's. Figures that do not exist are NaN. */
typedef struct q8_verify_layer {
    const char *name, *type;
    bool int8;
    double sqnr;       /**< signal to noise in dB over all pictures; infinite: no difference */
    double cosine;     /**< mean over the pictures */
    double alone_sqnr; /**< the same two with only this layer in int8 */
    double alone_cosine;
    double saturation; /**< share of its inputs that are beyond the largest code */
} q8_verify_layer;

/** The same for an output of the network. */
typedef struct q8_verify_output {
    const char *name;
    double sqnr, cosine;
    size_t classes;   /**< of a distribution (of Softmax), or of a single vector; else 0 */
    double kl;        /**< mean Kullback-Leibler divergence of int8 from float; NaN: no Softmax */
    double agreement; /**< how often the same class is the first, 0 to 1; NaN: no classes */
} q8_verify_output;

typedef struct q8_verify_result {
    q8_verify_layer *layer; /**< as q8_model_layer() counts them; none with `outputs_only` */
    size_t n_layers;
    q8_verify_output *output;
    size_t n_outputs;
    size_t used, skipped;                 /**< samples */
    bool unseen;                          /**< none of them was calibrated on */
    size_t labelled;                      /**< pictures that have a label */
    double float_accuracy, int8_accuracy; /**< share of these, 0 to 1; NaN: no labels */
    double seconds;
    void *memory; /**< private */
} q8_verify_result;

/**
 * Runs the float network and the int8 one, with ncnn's int8 arithmetic, side by side. Needs
 * q8_quantize() before it. The result does not depend on the number of threads, and is independent
 * of the model; q8_verify_free() frees what it holds, also after a failure.
 */
Q8_API q8_code q8_verify(const q8_model *model, const q8_verify_opts *opts, const q8_env *env,
                         q8_verify_result *result, q8_err *err);
Q8_API void q8_verify_free(q8_verify_result *result);

/** What accuracy a model would have with only some of its layers in int8. */
typedef struct q8_trade_off {
    double int8_share; /**< of the multiply-adds that layers with weights need, 0 to 1 */
    double kl;         /**< as in q8_verify_output, of the worst output; NaN: not known */
    double agreement;  /**< likewise */
    double cosine;
    size_t n_float; /**< layers with weights that are float, whatever the reason */
} q8_trade_off;

/** What accuracy is to be reached. All of it must hold for every output that has such a figure. */
typedef struct q8_goals {
    double max_kl;        /**< 0: any will do */
    double min_cosine;    /**< 0: any will do */
    double min_agreement; /**< 0 to 1; 0: any will do */
} q8_goals;

typedef struct q8_reach_result {
    bool met;
    q8_trade_off *curve; /**< what was tried, by falling int8_share */
    size_t n_curve;
    size_t chosen; /**< which of them the model now is */
    size_t used;   /**< samples that the figures are of */
    void *memory;  /**< private */
} q8_reach_result;

/**
 * Quantises with as few layers in float, by multiply-adds, as the goals need, which takes some
 * dozens of q8_quantize() and q8_verify(). Agreement must be reached on
 * the pictures looked at, and also as expected from the size of the errors and the agreement of all
 * models tried, since one more or one fewer of some hundred pictures may be chance. Out of reach
 * (`met` false) is what would leave no layer in int8; the model is then the one with a single such
 * layer.
 * @param opts not with `table` or `compat`
 * @param on what to judge by; `outputs_only` and `labels` do not matter
 */
Q8_API q8_code q8_reach(q8_model *model, const q8_quant_opts *opts, const q8_verify_opts *on,
                        const q8_goals *goals, const q8_env *env, q8_reach_result *result,
                        q8_err *err);
Q8_API void q8_reach_free(q8_reach_result *result);

typedef enum q8_precision { Q8_INT8, Q8_FP16, Q8_FP32 } q8_precision;

/** What JSON and report are to tell besides what the model itself knows. Any pointer may be NULL.
 */
typedef struct q8_report_opts {
    const char *proto, *model; /**< the files' names, to be shown */
    const q8_calib_result *calibrated;
    const q8_verify_result *verified;
    const q8_reach_result *reached;
    uint64_t float_bytes;          /**< size of the float weights; 0: leave it out */
    double seconds;                /**< what all of it took; 0: leave it out */
    const q8_calib_opts *pictures; /**< some of these are shown as the network saw them */
} q8_report_opts;

/** Files to write. All but the first two may be NULL: not. */
typedef struct q8_output {
    const char *param, *bin;
    const char *table; /**< calibration table of the int8 layers */
    const char *stats; /**< what q8_stats_write() writes */
    /** What is known of every layer and of every tensor that int8 layers read, and the figures of
     *  `about`. Decibels that are infinite and figures that do not exist are null. */
    const char *json;
    /** One HTML page, which needs nothing else, with all that and more: histograms, ranges of
     *  weights, what the rewrites did, pictures as the network saw them. */
    const char *report;
    const q8_report_opts *about; /**< for `json` and `report` */
} q8_output;

/** Sizes of what was written, in bytes. */
typedef struct q8_write_result {
    uint64_t param_bytes, bin_bytes;
} q8_write_result;

/**
 * Writes the ncnn model. All files appear complete and checked, or none does and what stood there
 * before is untouched. Two that write the same files at once do so one after the other. While files
 * change `param` is not there under its name: who opens it, opens the others, and then finds that
 * its name still means the same file has files of one run. A table is refused where equalising or
 * shifting has rewritten the network: it would fit neither the float model nor any other tool.
 */
Q8_API q8_code q8_write(const q8_model *model, q8_precision precision, const q8_output *output,
                        q8_write_result *result, q8_err *err);

/** A network's structure, to look at: what q8_net_open() made. */
typedef struct q8_net_tensor {
    const char *name;
    int rank, dim[4]; /**< of one picture, outermost first: channels, height, width */
} q8_net_tensor;

typedef struct q8_net_layer {
    const char *name, *type;  /**< ncnn's type, in a raw view the Caffe layer's */
    const char *const *fused; /**< types of the layers whose work it does besides its own */
    size_t n_fused;
    const q8_net_tensor *in, *out;
    size_t n_in, n_out;
    uint64_t params; /**< weights and biases */
    uint64_t macs;   /**< multiply-adds of the layers with filters, for one picture */
    bool on_cpu;     /**< the GPU backend has no kernel for it; only where `gpu` asks */
    bool int8;
    float in_scale, out_scale, weight_scale_min, weight_scale_max; /**< of int8; 0: unknown, none */
} q8_net_layer;

typedef struct q8_net {
    const char *name; /**< "" if none */
    const q8_net_layer *layer;
    size_t n_layers, n_int8;
    size_t n_fused;        /**< Caffe's layers that became part of others */
    size_t n_dropped;      /**< Caffe's layers that do nothing, or that no output needs */
    uint64_t params, macs; /**< of all layers; 4 bytes per parameter in fp32 */
    void *memory;          /**< private */
} q8_net;

typedef struct q8_net_opts {
    const char *proto, *model; /**< Caffe; NULL `model`: as if it had the weights it needs */
    const char *param, *bin;   /**< or ncnn, float or int8; NULL `bin`: no scales */
    int width, height;         /**< replace the prototxt's input size; 0: keep it */
    bool raw; /**< a Caffe network as the file has it, not as it would be written */
    bool gpu; /**< tell which layers would run on the CPU all the same; needs no device */
} q8_net_opts;

/** Reads a network without running it. On failure `*net` is NULL. */
Q8_API q8_code q8_net_open(q8_net **net, const q8_net_opts *opts, const q8_env *env, q8_err *err);
Q8_API void q8_net_close(q8_net **net);
/** The same as JSON. `*text` is for free(). */
Q8_API q8_code q8_net_json(const q8_net *net, char **text, q8_err *err);

/** "1.2.3" */
Q8_API const char *q8_version(void);

#ifdef __cplusplus
}
#endif
#endif
