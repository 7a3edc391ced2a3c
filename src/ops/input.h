/** Attributes of Input. A rank-1 shape has w only, a rank-2 one w and h; 0 where there is no dim.
 */
#ifndef Q8_OPS_INPUT_H
#define Q8_OPS_INPUT_H

#include "ops/op.h"

typedef struct q8_input_attr {
    int w, h, d, c;
} q8_input_attr;

#endif
