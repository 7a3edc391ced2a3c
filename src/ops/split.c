#include <string.h>

#include "ops/caffe_import.h"
#include "ops/common.h"
#include "ops/rows.h"
#include "ops/unary.h"

static const char *const caffe_types[] = {"Split", NULL};

static q8_code from_caffe(q8_caffe_import *im)
{
    return q8_im_node(im, &q8_op_split) ? Q8_OK : q8_im_failed(im);
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const size_t count = q8_shape_count(&f->in_shape[0]);
    for (int i = 0; i < f->node->n_out; i++)
        memcpy(f->out[i], f->in[0], count * sizeof(float));
    return Q8_OK;
}

static bool is_identity(const q8_node *node, const q8_shape *in, const q8_shape *out)
{
    (void)node;
    (void)in;
    (void)out;
    return true;
}

const q8_op q8_op_split = {
    .type = "Split",
    .caffe_types = caffe_types,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = -1,
    .from_caffe = from_caffe,
    .infer = q8_unary_infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = is_identity,
    .limits = "Dropped when a network is read; put in again where a tensor is read several times, "
              "when it is written.",
};
