/** How pictures become one input of the network: worked out once, used for each picture. */
#ifndef Q8_CALIB_PREPROCESS_H
#define Q8_CALIB_PREPROCESS_H

#include "caffe/net.h"
#include "calib/picture.h"
#include "graph/graph.h"

typedef struct q8_prep {
    int channels, height, width;
    bool rgb;                /**< not BGR */
    int resize;              /**< one of Q8_RESIZE_… */
    float mean[4], norm[4];  /**< by channel */
    const float *mean_plane; /**< channels x height x width, instead of `mean`; NULL: none */
} q8_prep;

/**
 * Checks that pictures can become an input of this shape, reads the mean's file, and takes mean and
 * norm from the prototxt (with a note) where `pre` does not give them.
 *
 * A mean picture larger than the input loses its border, as Caffe crops it with the picture; a
 * smaller one is an error.
 * @param transform NULL: the prototxt says nothing of this input
 * @param arena keeps the mean
 */
q8_code q8_prep_open(q8_prep *prep, const q8_preprocess *pre, const q8_caffe_transform *transform,
                     const q8_shape *shape, q8_arena *arena, const q8_env *env, q8_err *err);

/** What there is to know of it without the mean's file, to be kept and compared. */
typedef struct q8_prep_id {
    bool pictures; /**< some samples are pictures; if none is, nothing below counts */
    int channels;
    bool rgb;
    int resize;             /**< one of Q8_RESIZE_…, not auto */
    float mean[4], norm[4]; /**< by channel; 0 and 1 where there are fewer channels */
    uint64_t mean_plane;    /**< hash of a mean by pixel, which counts instead of `mean`; 0: none */
} q8_prep_id;

q8_prep_id q8_prep_identify(const q8_prep *prep);
/** No samples of the one are preprocessed otherwise than samples of the other. */
bool q8_prep_id_agree(const q8_prep_id *a, const q8_prep_id *b);
/** "mean 104 117 123, norm 1, bgr, stretch" as flags would say it. */
const char *q8_prep_id_text(const q8_prep_id *id, char buf[256]);

/** What the prototxt says of this input's pictures; NULL: nothing. `transform` may be NULL. */
const q8_caffe_transform *q8_prep_transform(const q8_caffe_transform *transform, const char *input);

/**
 * @param resized memory for the picture in between, kept for the next call; q8_picture_free() is
 * the caller's to call
 * @param out channels x height x width floats
 */
q8_code q8_prep_picture(const q8_prep *prep, const q8_picture *picture, q8_picture *resized,
                        float *out, q8_err *err);

#endif
