/**
 * @file q8.h
 * libq8: a float Caffe model and calibration pictures in, an int8 ncnn model out.
 *
 * The stages are calls, made in this order:
 *
 *     q8_model_open()   read a deploy prototxt and its caffemodel, fold and fuse
 *     q8_calibrate()    run pictures through the float network, choose thresholds
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

/** What the library asks of its surroundings. Zero-initialised is valid: silent, all cores. */
typedef struct q8_env {
    void *user;                                   /**< passed to the callbacks */
    void (*warn)(void *user, const q8_err *what); /**< something was odd, work goes on */
    /** Work advances: `done` of `total` items of `stage` ("calibrate", …). Called from one thread
     *  at a time, though not always the same one. */
    void (*progress)(void *user, const char *stage, size_t done, size_t total);
    const volatile int *cancel; /**< set non-zero (a signal handler may) to end with ::Q8_EINTR */
    int threads;                /**< 0: every core this process may use */
} q8_env;

/** How a picture becomes the network's input: stretch to the size, channel order, mean, norm. */
typedef struct q8_preprocess {
    int n_mean, n_norm; /**< 0 (mean 0, norm 1), 1 (all channels) or the number of channels */
    float mean[4];      /**< subtracted, in the model's channel order */
    float norm[4];      /**< multiplied after that */
    enum {
        Q8_PIXEL_AUTO,
        Q8_PIXEL_BGR,
        Q8_PIXEL_RGB,
        Q8_PIXEL_GRAY
    } pixel; /**< auto: by channels */
} q8_preprocess;

typedef struct q8_model q8_model;

/** What q8_model_open() reads. */
typedef struct q8_model_opts {
    const char *proto; /**< deploy prototxt */
    const char *model; /**< caffemodel */
    int width, height; /**< replace the prototxt's input size; 0: keep it */
} q8_model_opts;

/** Reads, checks and optimises a model. On failure `*model` is NULL. */
Q8_API q8_code q8_model_open(q8_model **model, const q8_model_opts *opts, const q8_env *env,
                             q8_err *err);
Q8_API void q8_model_close(q8_model **model);

/** Pictures to calibrate on and how to read them. */
typedef struct q8_calib_opts {
    const char *const *images; /**< folders (searched recursively), list files (.txt) or pictures */
    size_t n_images;
    size_t limit; /**< at most so many, evenly spaced over the sorted list; 0: all */
    bool strict;  /**< an unreadable picture is an error, not a counted warning */
    q8_preprocess preprocess;
} q8_calib_opts;

/** What calibration saw. */
typedef struct q8_calib_result {
    size_t used, skipped; /**< pictures */
    double seconds;
} q8_calib_result;

/** Runs the pictures through the float network once and keeps the statistics in the model. */
Q8_API q8_code q8_calibrate(q8_model *model, const q8_calib_opts *opts, const q8_env *env,
                            q8_calib_result *result, q8_err *err);

/** How weights are quantised. */
typedef struct q8_quant_opts {
    bool per_layer; /**< one weight scale per layer instead of one per output channel */
} q8_quant_opts;

/** What became of one layer that could run in int8. */
typedef struct q8_layer_info {
    const char *name, *type; /**< owned by the model */
    bool int8;
    const char *reason; /**< why it stays float; "" when it is int8 */
    float threshold;    /**< of the input, 0 when float */
} q8_layer_info;

/** Chooses scales and makes int8 weights. Needs q8_calibrate() before it. */
Q8_API q8_code q8_quantize(q8_model *model, const q8_quant_opts *opts, const q8_env *env,
                           q8_err *err);
/** Layers that have weights, in network order. */
Q8_API size_t q8_model_layer_count(const q8_model *model);
Q8_API q8_layer_info q8_model_layer(const q8_model *model, size_t index);

typedef enum q8_precision { Q8_INT8, Q8_FP16, Q8_FP32 } q8_precision;

/** Sizes of what was written, in bytes. */
typedef struct q8_write_result {
    uint64_t param_bytes, bin_bytes;
} q8_write_result;

/**
 * Writes the ncnn model. Both files appear complete and checked, or neither does and what stood
 * there before is untouched.
 */
Q8_API q8_code q8_write(const q8_model *model, q8_precision precision, const char *param_path,
                        const char *bin_path, q8_write_result *result, q8_err *err);

/** "1.2.3" */
Q8_API const char *q8_version(void);

#ifdef __cplusplus
}
#endif
#endif
