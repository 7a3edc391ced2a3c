/** Which layers a network has when it is used and not trained: Caffe's include / exclude rules. */
#ifndef Q8_CAFFE_RULES_H
#define Q8_CAFFE_RULES_H

#include <stdbool.h>

#include "caffe.pb-c.h"

/**
 * The state is phase TEST, level 0, and the stages that the network's own `state` names. Either
 * list of rules must be empty.
 */
bool q8_caffe_is_included(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer);

#endif
