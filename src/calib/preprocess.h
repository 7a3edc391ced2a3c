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

/** @param out channels x height x width floats */
q8_code q8_prep_picture(const q8_prep *prep, const q8_picture *picture, float *out, q8_err *err);

#endif
