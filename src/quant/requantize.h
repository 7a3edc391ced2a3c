/** Int8 straight from one layer to the next, without a float tensor between. */
#ifndef Q8_QUANT_REQUANTIZE_H
#define Q8_QUANT_REQUANTIZE_H

#include "ops/op.h"

/**
 * Gives a top scale to each int8 convolution whose output is no output of the network and is read
 * by int8 convolutions only, all with one bottom scale, which it becomes. Codes stay what they
 * were: the output is rounded where it is made instead of where it is read. Convolutions with
 * groups take part if they are depthwise.
 */
q8_code q8_requantize_graph(q8_graph *graph, q8_err *err);

#endif
