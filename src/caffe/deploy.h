/** A network as it is trained and tested becomes the one that is used. */
#ifndef Q8_CAFFE_DEPLOY_H
#define Q8_CAFFE_DEPLOY_H

#include "caffe.pb-c.h"
#include "caffe/net.h"

/**
 * Layers that read data become Inputs; labels go, and with them what reads them; losses go or
 * become what they contain; and what only those needed goes. A warning tells of each layer dropped.
 * The messages of `net->layer` are changed in place.
 */
q8_code q8_caffe_deploy(q8_caffe_net *net, q8_arena *arena, const q8_env *env, q8_err *err);

#endif
