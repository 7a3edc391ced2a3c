/** Networks in older notations brought to today's. */
#ifndef Q8_CAFFE_UPGRADE_H
#define Q8_CAFFE_UPGRADE_H

#include "base/err.h"
#include "caffe.pb-c.h"
#include "caffe/places.h"

/** A parsed prototxt on its way to today's form. */
typedef struct q8_upgrade {
    Caffe__NetParameter *net;
    q8_places *places;
    const char *file; /**< for messages */
    q8_arena *arena;
    const q8_env *env;
    q8_err *err;
} q8_upgrade;

/**
 * Afterwards `net->layer` holds every layer: V0 and V1 `layers` are turned into it, and each
 * `input:` of the header is an Input layer in front. Sub-messages are moved, not copied, so their
 * places stay.
 */
q8_code q8_caffe_upgrade(const q8_upgrade *u);

/** V0 only: what the `padding` layers do goes into the layers after them, and they go. */
q8_code q8_upgrade_v0_padding(const q8_upgrade *u);

/** V0 only: what `v0` says, set in `layer`, which has its bottoms and tops already. */
q8_code q8_upgrade_v0_layer(const q8_upgrade *u, const Caffe__V0LayerParameter *v0,
                            Caffe__LayerParameter *layer);

#endif
