/* BVLC's LSTM and RNN. */
#include "ops/branch.h"
#include "ops/caffe_read.h"
#include "ops/recurrent.h"
#include "ops/rows.h"
#include "ops/simple.h"

static q8_code check_layer(q8_caffe_import *im, const Caffe__RecurrentParameter *p)
{
    if (!p || p->num_output == 0)
        return q8_im_fail(im, Q8_EMODEL, p, "num_output", "num_output missing");
    if (p->expose_hidden)
        return q8_im_fail(im, Q8_EUNSUPPORTED, p, "expose_hidden",
                          "a hidden state that goes in and out (expose_hidden) is not supported: "
                          "give the network the whole sequence at once");
    if (im->n_in > 2)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param, "bottom",
                          "a third bottom (values that are the same at every step) is not "
                          "supported; append them to the values of every step");
    if (im->n_in < 1 || im->n_out != 1)
        return q8_im_fail(im, Q8_EMODEL, im->param, "bottom", "%s with %d bottoms and %d tops",
                          im->layer->type, im->n_in, im->n_out);
    const q8_node *markers = im->n_in == 2 ? q8_im_maker(im, im->in[1]) : NULL;
    if (markers && markers->op == &q8_op_memorydata)
        return Q8_OK; /* of one sequence */
    if (markers && markers->op != &q8_op_input)
        return q8_im_fail(im, Q8_EUNSUPPORTED, im->param, "bottom",
                          "ncnn has no markers of where sequences go on: the second bottom must be "
                          "an input, which is then not read");
    if (markers)
        q8_im_warn(im, im->param, "bottom",
                   "ncnn does not read the markers '%s': every run is one sequence, as with 0 for "
                   "the first step and 1 for the others",
                   im->param->bottom[1]);
    return Q8_OK;
}

/* Bottom 0 with one axis of values behind the time, as in Caffe all further axes are one. NULL: out
 * of memory. */
static const int *read_steps(q8_caffe_import *im, int *values)
{
    const q8_shape *in = &im->in_shape[0];
    *values = (int)(q8_shape_count(in) / (size_t)in->dim[0]);
    if (in->rank == 2)
        return im->in;
    q8_node *node = q8_im_branch(im, &q8_op_reshape, "steps", 1, im->in);
    if (!node)
        return NULL;
    *(q8_reshape_attr *)node->attr = q8_reshape_dims(2, (const int[]){in->dim[0], *values});
    return node->out;
}

/* The node with its three weights. */
static q8_node *add_recurrent(q8_caffe_import *im, const q8_op *op, int gates)
{
    const Caffe__RecurrentParameter *p = im->param->recurrent_param;
    int n = 0, values = 0;
    const int *steps;
    if (check_layer(im, p) || q8_read_uint(im, p, "num_output", p->num_output, 1, &n) ||
        !(steps = read_steps(im, &values)))
        return NULL;
    const long long rows = (long long)gates * n;
    if (rows * n > (long long)Q8_MAX_ELEMENTS || rows > (long long)Q8_MAX_ELEMENTS / values) {
        q8_im_fail(im, Q8_EMODEL, p, "num_output", "too many weights for %d outputs; " Q8_LIMIT, n,
                   Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
        return NULL;
    }
    q8_node *node = q8_im_node_of(im, op, 1, steps);
    if (!node)
        return NULL;
    *(q8_recurrent_attr *)node->attr = (q8_recurrent_attr){
        .num_output = n,
        .weight_data_size = (int)(rows * values),
        .hidden_size = n,
    };
    const int input[] = {(int)rows, values}, hidden[] = {(int)rows, n};
    if (q8_im_weight(im, node, 0, 0, input, 2) || q8_im_weight(im, node, 1, 1, input, 1) ||
        q8_im_weight(im, node, 2, 2, hidden, 2))
        return NULL;
    return node;
}

q8_code q8_lstm_from_caffe(q8_caffe_import *im)
{
    return add_recurrent(im, &q8_op_lstm, Q8_LSTM_GATES) ? Q8_OK : q8_im_failed(im);
}

/* Caffe's RNN has one more layer behind the hidden state, tanh(W h + b). In ncnn that is an RNN
 * that forgets: with nothing but zeros for its own hidden state. */
q8_code q8_rnn_from_caffe(q8_caffe_import *im)
{
    const q8_node *rnn = add_recurrent(im, &q8_op_rnn, 1);
    q8_node *output = rnn ? q8_im_chain(im, &q8_op_rnn, "output") : NULL;
    if (!output)
        return q8_im_failed(im);
    const int n = ((const q8_recurrent_attr *)rnn->attr)->num_output;
    const float *zeros = q8_arena_array(im->arena, (size_t)n * (size_t)n, sizeof(*zeros));
    if (!zeros)
        return q8_fail_nomem(im->err);
    *(q8_recurrent_attr *)output->attr =
        (q8_recurrent_attr){.num_output = n, .weight_data_size = n * n, .hidden_size = n};
    q8_im_set_weight(output, 2, zeros, (size_t)n * (size_t)n);
    q8_code code = q8_im_weight(im, output, 0, 3, (const int[]){n, n}, 2);
    return code ? code : q8_im_weight(im, output, 1, 4, &n, 1);
}
