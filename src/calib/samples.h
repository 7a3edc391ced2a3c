/**
 * What calibration runs over. A sample gives every input of the network either a picture, which is
 * preprocessed, or a tensor of an .npy file, which is used as it is.
 */
#ifndef Q8_CALIB_SAMPLES_H
#define Q8_CALIB_SAMPLES_H

#include "caffe/net.h"
#include "calib/preprocess.h"
#include "graph/graph.h"

typedef struct q8_samples q8_samples;

/**
 * Finds the files of each input and works out the preprocessing.
 * @param transform what the prototxt says of preprocessing, NULL: nothing
 */
q8_code q8_samples_open(q8_samples **samples, const q8_graph *graph, const q8_calib_opts *opts,
                        const q8_caffe_transform *transform, const q8_env *env, q8_err *err);
void q8_samples_close(q8_samples **samples);

/**
 * Keeps `limit` samples (0: all), evenly spaced over those that opening with `used` as the limit
 * would have left out; over all, if those are fewer than a quarter of `limit`. To be called once,
 * on samples opened without a limit.
 * @return true when none of `used` samples is kept
 */
bool q8_samples_choose_others(q8_samples *samples, size_t limit, size_t used);

/** Keeps `limit` of the samples, evenly spaced; all, if there are not more or it is 0. */
void q8_samples_thin_out(q8_samples *samples, size_t limit);

size_t q8_samples_count(const q8_samples *samples);
/** Writes the file of a sample, of the first input. Returns `path`. */
const char *q8_samples_path(const q8_samples *samples, size_t index, char path[Q8_MAX_PATH]);
int q8_samples_inputs(const q8_samples *samples);

/** Memory for pictures, kept by a thread from one to the next. Zero-initialised is empty. */
typedef struct q8_sample_room {
    q8_picture picture, resized;
} q8_sample_room;

void q8_sample_room_free(q8_sample_room *room);

/**
 * Reads one input's part of a sample; may be called from many threads. An error that is the file's
 * fault names it.
 * @param input counted as in q8_run_input()
 * @param out as many floats as the input has elements
 * @param room of the thread's own; NULL: none is kept
 */
q8_code q8_samples_read(const q8_samples *samples, size_t index, int input, float *out,
                        q8_sample_room *room, q8_err *err);

/** How an input's pictures are preprocessed. */
q8_prep_id q8_samples_prep_id(const q8_samples *samples, int input);
/** Tells lists of samples apart, by the paths as they were given and the files' sizes. */
uint64_t q8_samples_id(const q8_samples *samples);

/** The fault is the file's, not ours or the machine's. */
bool q8_sample_unreadable(q8_code code);

#endif
