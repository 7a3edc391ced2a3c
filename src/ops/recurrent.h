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

/**
 * Caffe's sequences have the time where other tensors have the batch, {T,1,D}. The graph has them
 * as {T,D}, so that every axis but the second keeps its meaning. Fails at the first layer of the
 * network that reads a sequence and is not known to treat it alike in both; to be called by each
 * recurrent layer, does its work at the first.
 */
q8_code q8_check_sequences(struct q8_caffe_import *im);

/** Gives the Input that makes bottom 0 the shape {T,D}, unless another layer has made a sequence.
 */
q8_code q8_read_sequence(struct q8_caffe_import *im);

#endif
