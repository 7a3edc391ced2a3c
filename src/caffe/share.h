/** Which layers share weights by the names in `param`, and which have one name by mistake. */
#ifndef Q8_CAFFE_SHARE_H
#define Q8_CAFFE_SHARE_H

#include "caffe.pb-c.h"
#include "caffe/net.h"

/** Sets `share` and `namesake` of the net's layers, which must not move afterwards. */
q8_code q8_caffe_find_shares(q8_caffe_net *net, q8_arena *arena, q8_err *err);

#endif
