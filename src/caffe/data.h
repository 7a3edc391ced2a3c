/** Layers that read data, as the Inputs that take their place. */
#ifndef Q8_CAFFE_DATA_H
#define Q8_CAFFE_DATA_H

#include "caffe.pb-c.h"
#include "caffe/net.h"

/** True for a layer that brings data into the network by itself, other than an Input. */
bool q8_data_is(const q8_caffe_layer *layer);

/** True when all its tops but the first are labels. */
bool q8_data_has_labels(const q8_caffe_layer *layer);

/**
 * Makes it an Input of those tops whose `keep` is true, of the sizes that its parameters tell; a
 * height and width of 0 are for the caller to give. Also takes tops off an Input.
 */
q8_code q8_data_to_input(q8_caffe_net *net, q8_caffe_layer *layer, const bool *keep,
                         q8_arena *arena, q8_err *err);

/** Notes what the prototxt says about preparing pictures. */
void q8_data_find_transform(q8_caffe_net *net);

/** The caffemodel knows how many channels a guessed Input has: the first convolution's. */
void q8_data_fix_channels(q8_caffe_net *net);

#endif
