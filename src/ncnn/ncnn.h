/** ncnn's model files: the text .param and the binary .bin, to and from a graph. */
#ifndef Q8_NCNN_NCNN_H
#define Q8_NCNN_NCNN_H

#include "base/buf.h"
#include "ops/op.h"

/** The .param text. Every tensor must be read at most once (q8_pass_insert_splits()). */
q8_code q8_ncnn_param(const q8_graph *graph, q8_buf *text, q8_err *err);

/** The .bin bytes: nodes with `quant` as int8, others fp32 or, with `fp16`, tagged weights in
 *  fp16. */
q8_code q8_ncnn_bin(const q8_graph *graph, bool fp16, q8_buf *bytes, q8_err *err);

/** Reads a pair back into a graph (types of the layer table only). An int8 layer's weights are in
 *  its `quant` alone. Names are for messages; no `bin_name`: the structure alone. */
q8_code q8_ncnn_read(q8_graph **graph, const char *param_name, const char *param, size_t param_size,
                     const char *bin_name, const unsigned char *bin, size_t bin_size,
                     q8_arena *arena, q8_err *err);

/** Reads a pair of files; with `bin` NULL the structure alone, without weights. */
q8_code q8_ncnn_load(q8_graph **graph, const char *param, const char *bin, q8_arena *arena,
                     q8_err *err);

/** A file that is written with a model. */
typedef struct q8_beside {
    const char *path; /**< NULL: none */
    /** Its bytes; `size` is the model's. */
    q8_code (*make)(void *user, const q8_write_result *size, q8_buf *bytes, q8_err *err);
    void *user;
} q8_beside;

/** Writes all files as one step (base/file.h) after reading the temporary pair of param and bin
 *  back and comparing it with `graph`. `graph` is changed: splits and rank restores are inserted,
 * and in the float precisions its int8 nodes give way to float ones.
 * @param beside `n_beside` more files */
q8_code q8_ncnn_write(q8_graph *graph, q8_precision precision, const q8_output *output,
                      const q8_beside *beside, int n_beside, q8_write_result *result, q8_err *err);

#endif
