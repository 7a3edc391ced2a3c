/* A tensor several times over along an axis. */
#include <string.h>

#include "ops/caffe_read.h"
#include "ops/common.h"
#include "ops/rows.h"

struct tile_attr {
    int axis, tiles;
    q8_ints repeats; /* another way to say it, which Caffe's layer does not need */
};

static const q8_field fields[] = {
    Q8_FIELD_INT(struct tile_attr, axis, 0, 0),
    Q8_FIELD_INT(struct tile_attr, tiles, 1, 1),
    Q8_FIELD_INTS(struct tile_attr, repeats, 2),
};

static q8_code from_caffe(q8_caffe_import *im)
{
    const Caffe__TileParameter *p = im->param->tile_param;
    int axis = 0;
    if (!p || !p->has_tiles)
        return q8_im_fail(im, Q8_EMODEL, p, "tiles",
                          "tiles missing: write tile_param { tiles: N }");
    if (p->tiles < 1)
        return q8_im_fail(im, Q8_EMODEL, p, "tiles", "tiles is %d; it must be at least 1",
                          p->tiles);
    q8_code code = q8_read_one_bottom(im);
    if (!code)
        code = q8_im_axis(im, p, "axis", p->axis, &axis);
    if (code)
        return code;
    q8_node *node = q8_im_node(im, &q8_op_tile);
    if (!node)
        return q8_im_failed(im);
    *(struct tile_attr *)node->attr = (struct tile_attr){.axis = axis, .tiles = p->tiles};
    return Q8_OK;
}

static q8_code infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    const struct tile_attr *a = node->attr;
    if (a->repeats.n > 0)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "repeats along several axes are not supported");
    if (a->axis < 0 || a->axis >= in->rank || a->tiles < 1)
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%d tiles along axis %d: the input has %d dimensions", a->tiles, a->axis,
                       in->rank);
    if ((size_t)a->tiles > Q8_MAX_ELEMENTS / (size_t)in->dim[a->axis])
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%d tiles of %d elements; " Q8_LIMIT,
                       a->tiles, in->dim[a->axis], Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
    *out = *in;
    out->dim[a->axis] *= a->tiles;
    return Q8_OK;
}

static q8_code forward(const q8_forward *f, q8_err *err)
{
    (void)err;
    const struct tile_attr *a = f->node->attr;
    size_t outer, inner;
    q8_axis_split(&f->in_shape[0], a->axis, &outer, &inner);
    inner *= (size_t)f->in_shape[0].dim[a->axis];
    const float *in = f->in[0];
    float *out = f->out[0];
    for (size_t i = 0; i < outer; i++, in += inner)
        for (int t = 0; t < a->tiles; t++, out += inner)
            memcpy(out, in, inner * sizeof(*in));
    return Q8_OK;
}

const q8_op q8_op_tile = {
    .type = "Tile",
    .caffe_types = (const char *const[]){"Tile", NULL},
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attr_size = sizeof(struct tile_attr),
    .fields = fields,
    .n_fields = sizeof(fields) / sizeof(fields[0]),
    .from_caffe = from_caffe,
    .infer = infer,
    .forward = forward,
    .channels = q8_channels_move,
    .is_identity = q8_same_shape,
    .needs_rank3 = true,
    .limits = "Any axis but the batch.",
};
