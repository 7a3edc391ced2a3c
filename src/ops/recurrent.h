/** LSTM and RNN: rows of a rank-2 tensor are the steps of one sequence. */
#ifndef Q8_OPS_RECURRENT_H
#define Q8_OPS_RECURRENT_H

#include "ops/op.h"

/** Weights: 0 of the input, 1 bias, 2 of the hidden state; gates input, forget, output, cell. */
typedef struct q8_recurrent_attr {
    int num_output;
    int weight_data_size; /**< of weight 0 */
    int direction;        /**< 0: forwards; others are refused by infer() */
    int hidden_size;      /**< must be num_output */
    int int8_scale_term;  /**< must be 0 */
} q8_recurrent_attr;

enum { Q8_LSTM_GATES = 4 };

q8_code q8_lstm_from_caffe(struct q8_caffe_import *im);
q8_code q8_rnn_from_caffe(struct q8_caffe_import *im);

#endif
