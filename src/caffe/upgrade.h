/** Networks in older notations brought to today's. */
#ifndef Q8_CAFFE_UPGRADE_H
#define Q8_CAFFE_UPGRADE_H

#include "base/err.h"
#include "caffe.pb-c.h"
#include "caffe/places.h"

/**
 * Afterwards `net->layer` holds every layer: V1 `layers` are turned into it, and each `input:` of
 * the header is an Input layer in front. Sub-messages are moved, not copied, so their places stay.
 * @param file for messages
 */
q8_code q8_caffe_upgrade(Caffe__NetParameter *net, q8_places *places, const char *file,
                         q8_arena *arena, q8_err *err);

#endif
