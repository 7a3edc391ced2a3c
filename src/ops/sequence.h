/**
 * Sequences: what recurrent layers read and make. Caffe has the time in a sequence's first axis and
 * the batch in the second, {T,N,...}; the graph has {T,...}, so that every axis behind those two is
 * the dim it would be with the batch first.
 */
#ifndef Q8_OPS_SEQUENCE_H
#define Q8_OPS_SEQUENCE_H

#include "ops/caffe_import.h"

/** Finds them all, before the first layer is imported. Fails at a layer that would not treat a
 * sequence as the graph has it. */
q8_code q8_find_sequences(q8_caffe_import *im);

/** Is the Caffe blob of this name a sequence? */
bool q8_is_sequence(const q8_caffe_import *im, const char *blob);

#endif
