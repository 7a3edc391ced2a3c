/** Are all layers of a type that the layer table has? */
#ifndef Q8_IMPORT_TYPES_H
#define Q8_IMPORT_TYPES_H

#include "ops/caffe_import.h"

/** One error that lists every layer this program does not know, with its line. */
q8_code q8_import_check_types(const q8_caffe_net *net, q8_err *err);

#endif
