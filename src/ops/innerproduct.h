/** Attributes of InnerProduct. */
#ifndef Q8_OPS_INNERPRODUCT_H
#define Q8_OPS_INNERPRODUCT_H

#include "ops/op.h"

typedef struct q8_innerproduct_attr {
    int num_output;
    int bias_term;
    int weight_data_size;
    int int8_scale_term;
    q8_activation activation;
} q8_innerproduct_attr;

#endif
