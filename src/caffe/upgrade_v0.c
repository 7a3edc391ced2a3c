/* V0: one message with the fields of all layer types. */
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* leaves hh.tbl NULL when out of memory */
#include <uthash.h>

#include "caffe/move.h"
#include "caffe/text.h"
#include "caffe/upgrade.h"

typedef const ProtobufCFieldDescriptor field;

static const struct {
    const char *v0, *type;
} types[] = {
    {"accuracy", "Accuracy"},
    {"bnll", "BNLL"},
    {"concat", "Concat"},
    {"conv", "Convolution"},
    {"data", "Data"},
    {"dropout", "Dropout"},
    {"euclidean_loss", "EuclideanLoss"},
    {"flatten", "Flatten"},
    {"hdf5_data", "HDF5Data"},
    {"hdf5_output", "HDF5Output"},
    {"im2col", "Im2col"},
    {"images", "ImageData"},
    {"infogain_loss", "InfogainLoss"},
    {"innerproduct", "InnerProduct"},
    {"lrn", "LRN"},
    {"multinomial_logistic_loss", "MultinomialLogisticLoss"},
    {"pool", "Pooling"},
    {"relu", "ReLU"},
    {"sigmoid", "Sigmoid"},
    {"softmax", "Softmax"},
    {"softmax_loss", "SoftmaxWithLoss"},
    {"split", "Split"},
    {"tanh", "TanH"},
    {"window_data", "WindowData"},
};

/* Where a field goes, by the layer's V0 type (NULL: any). What only training or reading a data base
 * asks for (fillers, rates, source, batchsize, det_*, ...) is left out. */
static const struct move {
    const char *v0, *type, *param, *name;
} moves[] = {
    {"num_output", "conv", "convolution_param", "num_output"},
    {"num_output", "innerproduct", "inner_product_param", "num_output"},
    {"biasterm", "conv", "convolution_param", "bias_term"},
    {"biasterm", "innerproduct", "inner_product_param", "bias_term"},
    {"pad", "conv", "convolution_param", "pad"},
    {"pad", "pool", "pooling_param", "pad"},
    {"kernelsize", "conv", "convolution_param", "kernel_size"},
    {"kernelsize", "pool", "pooling_param", "kernel_size"},
    {"group", "conv", "convolution_param", "group"},
    {"stride", "conv", "convolution_param", "stride"},
    {"stride", "pool", "pooling_param", "stride"},
    {"pool", "pool", "pooling_param", "pool"},
    {"dropout_ratio", "dropout", "dropout_param", "dropout_ratio"},
    {"local_size", "lrn", "lrn_param", "local_size"},
    {"alpha", "lrn", "lrn_param", "alpha"},
    {"beta", "lrn", "lrn_param", "beta"},
    {"k", "lrn", "lrn_param", "k"},
    {"concat_dim", "concat", "concat_param", "concat_dim"},
    {"new_height", "images", "image_data_param", "new_height"},
    {"new_width", "images", "image_data_param", "new_width"},
    {"scale", NULL, "transform_param", "scale"},
    {"meanfile", NULL, "transform_param", "mean_file"},
    {"cropsize", NULL, "transform_param", "crop_size"},
    {"mirror", NULL, "transform_param", "mirror"},
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]), N_MOVES = sizeof(moves) / sizeof(moves[0]) };

static field *field_of(const ProtobufCMessageDescriptor *type, const char *name)
{
    return q8_text_field(type, name, strlen(name));
}

static bool is_type(const Caffe__V0LayerParameter *v0, const char *type)
{
    return v0 && v0->type && strcmp(v0->type, type) == 0;
}

static q8_loc loc_of(const q8_upgrade *u, const q8_place *place)
{
    return (q8_loc){u->file, place ? place->line : 0, place ? place->column : 0};
}

/* --- fields ----------------------------------------------------------------------------------- */

/* The row for a field in a layer of that type, NULL when it has no meaning there. */
static const struct move *find_move(const Caffe__V0LayerParameter *v0, const char *name,
                                    bool *is_known)
{
    *is_known = false;
    for (int i = 0; i < N_MOVES; i++) {
        if (strcmp(moves[i].v0, name) != 0)
            continue;
        *is_known = true;
        if (!moves[i].type || is_type(v0, moves[i].type))
            return &moves[i];
    }
    return NULL;
}

static bool move_one(const q8_upgrade *u, const ProtobufCMessage *v0, field *from,
                     const struct move *move, q8_place place, ProtobufCMessage *layer)
{
    field *param = field_of(layer->descriptor, move->param);
    ProtobufCMessage *target = q8_move_target(u->places, u->arena, layer, param, place);
    return target && q8_move_field(u->places, u->arena, v0, from, target,
                                   field_of(target->descriptor, move->name));
}

static q8_code move_fields(const q8_upgrade *u, const Caffe__V0LayerParameter *v0,
                           Caffe__LayerParameter *layer)
{
    const ProtobufCMessageDescriptor *schema = v0->base.descriptor;
    for (unsigned i = 0; i < schema->n_fields; i++) {
        field *f = &schema->fields[i];
        const q8_place *place = q8_places_find(u->places, v0, f, 0);
        bool is_known = false;
        const struct move *move = place ? find_move(v0, f->name, &is_known) : NULL;
        if (move && !move_one(u, &v0->base, f, move, *place, &layer->base))
            return q8_fail_nomem(u->err);
        if (place && !move && is_known) {
            const q8_loc loc = loc_of(u, place);
            q8_warn(u->env, &loc, v0->name, "'%s' means nothing in a layer of type '%s'", f->name,
                    v0->type ? v0->type : "");
        }
    }
    return Q8_OK;
}

q8_code q8_upgrade_v0_layer(const q8_upgrade *u, const Caffe__V0LayerParameter *v0,
                            Caffe__LayerParameter *layer)
{
    static const char *const same[] = {"name", "type", "blobs"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        field *from = field_of(v0->base.descriptor, same[i]);
        if (q8_places_find(u->places, v0, from, 0) &&
            !q8_move_field(u->places, u->arena, &v0->base, from, &layer->base,
                           field_of(layer->base.descriptor, same[i])))
            return q8_fail_nomem(u->err);
    }
    for (int i = 0; i < N_TYPES; i++)
        if (is_type(v0, types[i].v0)) {
            layer->type = q8_arena_strdup(u->arena, types[i].type);
            if (!layer->type)
                return q8_fail_nomem(u->err);
        }
    return move_fields(u, v0, layer);
}

/* --- padding layers --------------------------------------------------------------------------- */

/* The layer that made a blob last. */
struct maker {
    const char *blob;
    Caffe__V1LayerParameter *layer;
    UT_hash_handle hh;
};

static struct maker *find_maker(struct maker *makers, const char *blob)
{
    struct maker *maker;
    HASH_FIND_STR(makers, blob, maker);
    return maker;
}

static bool note_tops(const q8_upgrade *u, struct maker **makers, Caffe__V1LayerParameter *layer)
{
    for (size_t i = 0; i < layer->n_top; i++) {
        struct maker *maker = find_maker(*makers, layer->top[i]);
        if (maker) {
            maker->layer = layer;
            continue;
        }
        maker = q8_arena_alloc(u->arena, sizeof(*maker));
        if (!maker)
            return false;
        maker->blob = layer->top[i];
        maker->layer = layer;
        HASH_ADD_KEYPTR(hh, *makers, maker->blob, strlen(maker->blob), maker);
        if (!maker->hh.tbl)
            return false;
    }
    return true;
}

/* `layer` reads what `padding` makes: it reads that one's bottom instead and pads itself. */
static q8_code merge(const q8_upgrade *u, const Caffe__V1LayerParameter *padding,
                     Caffe__V1LayerParameter *layer)
{
    Caffe__V0LayerParameter *v0 = layer->layer;
    const q8_loc loc = loc_of(u, q8_places_find(u->places, padding, NULL, 0));
    const char *name = padding->layer->name;
    if (padding->n_bottom != 1 || padding->n_top != 1)
        return q8_fail(u->err, Q8_EMODEL, &loc, name,
                       "a padding layer has one bottom and one top, not %zu and %zu",
                       padding->n_bottom, padding->n_top);
    if (!is_type(v0, "conv") && !is_type(v0, "pool"))
        return q8_fail(
            u->err, Q8_EMODEL, &loc, name,
            "a padding layer must come before a layer of type 'conv' or 'pool', not '%s'",
            v0 && v0->type ? v0->type : "");
    if (layer->n_bottom != 1)
        return q8_fail(u->err, Q8_EMODEL, &loc, name, "the layer after it has %zu bottoms, not one",
                       layer->n_bottom);
    field *pad = field_of(v0->base.descriptor, "pad");
    layer->bottom[0] = padding->bottom[0];
    const bool moved =
        !q8_places_find(u->places, padding->layer, pad, 0) ||
        q8_move_field(u->places, u->arena, &padding->layer->base, pad, &v0->base, pad);
    return moved ? Q8_OK : q8_fail_nomem(u->err);
}

static q8_code merge_bottoms(const q8_upgrade *u, struct maker *makers,
                             Caffe__V1LayerParameter *layer)
{
    for (size_t i = 0; i < layer->n_bottom; i++) {
        const struct maker *maker = find_maker(makers, layer->bottom[i]);
        if (!maker || !is_type(maker->layer->layer, "padding"))
            continue;
        const q8_code code = merge(u, maker->layer, layer);
        if (code)
            return code;
    }
    return Q8_OK;
}

q8_code q8_upgrade_v0_padding(const q8_upgrade *u)
{
    Caffe__NetParameter *net = u->net;
    struct maker *makers = NULL;
    q8_code code = Q8_OK;
    for (size_t i = 0; i < net->n_layers && !code; i++) {
        code = merge_bottoms(u, makers, net->layers[i]);
        if (!code && !note_tops(u, &makers, net->layers[i]))
            code = q8_fail_nomem(u->err);
    }
    HASH_CLEAR(hh, makers);
    if (code)
        return code;
    size_t kept = 0;
    for (size_t i = 0; i < net->n_layers; i++)
        if (!is_type(net->layers[i]->layer, "padding"))
            net->layers[kept++] = net->layers[i];
    net->n_layers = kept;
    return Q8_OK;
}
