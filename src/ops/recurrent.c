#include "ops/recurrent.h"

#include <math.h>
#include <stdlib.h>

#include "ops/rows.h"

static const q8_field lstm_fields[] = {
    Q8_FIELD_INT(q8_recurrent_attr, num_output, 0, 0),
    Q8_FIELD_INT(q8_recurrent_attr, weight_data_size, 1, 0),
    Q8_FIELD_INT(q8_recurrent_attr, direction, 2, 0),
    Q8_FIELD_SAME(q8_recurrent_attr, hidden_size, 3, 0),
    Q8_FIELD_INT(q8_recurrent_attr, int8_scale_term, 8, 0),
};

static const q8_field rnn_fields[] = {
    Q8_FIELD_INT(q8_recurrent_attr, num_output, 0, 0),
    Q8_FIELD_INT(q8_recurrent_attr, weight_data_size, 1, 0),
    Q8_FIELD_INT(q8_recurrent_attr, direction, 2, 0),
    Q8_FIELD_INT(q8_recurrent_attr, int8_scale_term, 8, 0),
};

static size_t positive(long long count)
{
    return count > 0 && count <= (long long)Q8_MAX_ELEMENTS ? (size_t)count : 0;
}

static size_t input_count(const void *attr)
{
    return positive(((const q8_recurrent_attr *)attr)->weight_data_size);
}

static size_t lstm_bias_count(const void *attr)
{
    return positive((long long)Q8_LSTM_GATES * ((const q8_recurrent_attr *)attr)->num_output);
}

static size_t rnn_bias_count(const void *attr)
{
    return positive(((const q8_recurrent_attr *)attr)->num_output);
}

static size_t lstm_hidden_count(const void *attr)
{
    const long long n = ((const q8_recurrent_attr *)attr)->num_output;
    return n > 0 ? positive(Q8_LSTM_GATES * n * n) : 0; /* at most 2^64 / 2 */
}

static size_t rnn_hidden_count(const void *attr)
{
    const long long n = ((const q8_recurrent_attr *)attr)->num_output;
    return n > 0 ? positive(n * n) : 0;
}

static const q8_weight_spec lstm_weights[] = {
    {"weight", true, input_count},
    {"bias", true, lstm_bias_count},
    {"hidden weight", true, lstm_hidden_count},
};

static const q8_weight_spec rnn_weights[] = {
    {"weight", true, input_count},
    {"bias", true, rnn_bias_count},
    {"hidden weight", true, rnn_hidden_count},
};

static int gates_of(const q8_node *node)
{
    return node->op == &q8_op_lstm ? Q8_LSTM_GATES : 1;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const q8_recurrent_attr *a = node->attr;
    char text[64];
    if (in->rank != 2)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s needs an input of steps x values, not %s", node->op->type,
                       q8_shape_text(in, text));
    if (a->direction != 0 || a->int8_scale_term ||
        (node->op == &q8_op_lstm && a->hidden_size != a->num_output))
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "only forward %s in float and without projection is supported",
                       node->op->type);
    const long long size = (long long)gates_of(node) * a->num_output; /* at most 2^33 */
    if (a->num_output < 1 || size > (long long)Q8_MAX_ELEMENTS / in->dim[1] ||
        size * in->dim[1] != a->weight_data_size || !node->op->weights[2].count(a))
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d weights do not fit %d outputs of %d values", a->weight_data_size,
                       a->num_output, in->dim[1]);
    out[0] = (q8_shape){2, {in->dim[0], a->num_output}};
    return Q8_OK;
}

/* --- forward ------------------------------------------------------------------------------- */

/* What goes into the nonlinearity `row` at a step, from the values and the last hidden state. */
static double drive(const q8_node *node, int row, const float *x, int n_x, const double *hidden,
                    int n_hidden)
{
    const float *wx = node->weight[0].data + (size_t)row * (size_t)n_x;
    const float *wh = node->weight[2].data + (size_t)row * (size_t)n_hidden;
    double sum = node->weight[1].data[row];
    for (int i = 0; i < n_x; i++)
        sum += (double)wx[i] * x[i];
    for (int i = 0; i < n_hidden; i++)
        sum += wh[i] * hidden[i];
    return sum;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* `gate`: input, forget, output and cell, n each; the state is two rows, hidden and cell. */
static void lstm_step(const double *gate, int n, double *hidden, double *cell)
{
    for (int i = 0; i < n; i++) {
        cell[i] = sigmoid(gate[n + i]) * cell[i] + sigmoid(gate[i]) * tanh(gate[3 * n + i]);
        hidden[i] = sigmoid(gate[2 * n + i]) * tanh(cell[i]);
    }
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    const q8_node *node = f->node;
    const int n = ((const q8_recurrent_attr *)node->attr)->num_output;
    const int steps = f->in_shape[0].dim[0], n_x = f->in_shape[0].dim[1];
    const int rows = gates_of(node) * n;
    double *state = calloc((size_t)rows + 2 * (size_t)n, sizeof(*state));
    if (!state)
        return q8_fail_nomem(err);
    double *hidden = state, *cell = state + n, *gate = state + 2 * (size_t)n;
    for (int t = 0; t < steps; t++) {
        for (int r = 0; r < rows; r++)
            gate[r] = drive(node, r, f->in[0] + (size_t)t * (size_t)n_x, n_x, hidden, n);
        if (node->op == &q8_op_lstm)
            lstm_step(gate, n, hidden, cell);
        else
            for (int i = 0; i < n; i++)
                hidden[i] = tanh(gate[i]);
        for (int i = 0; i < n; i++)
            f->out[0][(size_t)t * (size_t)n + (size_t)i] = (float)hidden[i];
    }
    free(state);
    return Q8_OK;
}

static long long macs(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)out;
    const q8_weight_spec *weights = node->op->weights;
    return (long long)in->dim[0] *
           (long long)(weights[0].count(node->attr) + weights[2].count(node->attr));
}

const q8_op q8_op_lstm = {
    .type = "LSTM",
    .caffe_types = (const char *const[]){"LSTM", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_recurrent_attr),
    .fields = lstm_fields,
    .n_fields = sizeof(lstm_fields) / sizeof(lstm_fields[0]),
    .weights = lstm_weights,
    .n_weights = sizeof(lstm_weights) / sizeof(lstm_weights[0]),
    .from_caffe = q8_lstm_from_caffe,
    .infer = infer,
    .forward = forward,
    .macs = macs,
    .limits =
        "A sequence, whose first axis is the time and the second the batch: an input of STEPS x 1 "
        "x VALUES, a Permute or Reshape that puts the batch second, another recurrent layer, or "
        "what layers of single elements and layers with `axis: 2` (Concat, Embed, Flatten, "
        "InnerProduct, Reshape, Scale, Slice, Softmax) make of them; a Permute or Reshape ends it. "
        "Every run is one sequence. The second input, which marks where sequences go on, is not "
        "read, with a warning. Refused: `expose_hidden`, a third input.",
};

const q8_op q8_op_rnn = {
    .type = "RNN",
    .caffe_types = (const char *const[]){"RNN", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(q8_recurrent_attr),
    .fields = rnn_fields,
    .n_fields = sizeof(rnn_fields) / sizeof(rnn_fields[0]),
    .weights = rnn_weights,
    .n_weights = sizeof(rnn_weights) / sizeof(rnn_weights[0]),
    .from_caffe = q8_rnn_from_caffe,
    .infer = infer,
    .forward = forward,
    .macs = macs,
    .limits = "As LSTM.",
};
