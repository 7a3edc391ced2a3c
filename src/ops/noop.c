/* Hands its inputs on. */
#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"

static q8_code from_caffe(q8_caffe_import *im)
{
    q8_code code = q8_read_one_bottom(im);
    return code || q8_im_node(im, &q8_op_noop) ? code : q8_im_failed(im);
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    if (node->n_out > node->n_in)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "Noop cannot have more outputs than inputs: %d and %d", node->n_out,
                       node->n_in);
    for (int i = 0; i < node->n_out; i++)
        out[i] = in[i];
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    for (int i = 0; i < f->node->n_out; i++)
        memcpy(f->out[i], f->in[i], q8_shape_count(&f->in_shape[i]) * sizeof(float));
    return Q8_OK;
}

static q8_channel_rule channels(const q8_node *node, const q8_shape *in)
{
    return node->n_in == 1 ? q8_channels_move(node, in) : Q8_CHANNELS_FIXED;
}

const q8_op q8_op_noop = {
    .type = "Noop",
    .caffe_types = (const char *const[]){"Silence", "Identity", "GradientScaler", NULL},
    .min_in = 0,
    .max_in = -1,
    .min_out = 0,
    .max_out = -1,
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = channels,
    .is_identity = q8_same_shape,
    .limits = "Dropped. A blob that only a `Silence` reads is no output, and what nothing else "
              "needs goes with it. `Identity` and `GradientScaler` are of forks; a network is "
              "used as it is trained with them.",
};
