#include "caffe/upgrade.h"

#include <stdint.h>
#include <string.h>

#include "caffe/text.h"
#include "caffe/value.h"

typedef const ProtobufCFieldDescriptor field;

struct upgrade {
    Caffe__NetParameter *net;
    q8_places *places;
    const char *file;
    q8_arena *arena;
    q8_err *err;
};

static field *field_of(const ProtobufCMessageDescriptor *type, const char *name)
{
    return q8_text_field(type, name, strlen(name));
}

/* Where an element of a field of the network was written. */
static q8_place net_place(const struct upgrade *u, const char *name, size_t index)
{
    const q8_place *place = q8_places_find(
        u->places, u->net, field_of(&caffe__net_parameter__descriptor, name), (unsigned)index);
    return place ? *place : (q8_place){0};
}

static q8_code fail_at(const struct upgrade *u, q8_place place, q8_code code, const char *layer,
                       const char *text)
{
    const q8_loc loc = {u->file, place.line, place.column};
    return q8_fail(u->err, code, &loc, layer, "%s", text);
}

/* --- V1 --------------------------------------------------------------------------------------- */

static const char *v1_type_name(Caffe__V1LayerParameter__LayerType type)
{
    /* In the enum's order. */
    static const char *const names[] = {
        "",
        "Accuracy",
        "BNLL",
        "Concat",
        "Convolution",
        "Data",
        "Dropout",
        "EuclideanLoss",
        "Flatten",
        "HDF5Data",
        "HDF5Output",
        "Im2col",
        "ImageData",
        "InfogainLoss",
        "InnerProduct",
        "LRN",
        "MultinomialLogisticLoss",
        "Pooling",
        "ReLU",
        "Sigmoid",
        "Softmax",
        "SoftmaxWithLoss",
        "Split",
        "TanH",
        "WindowData",
        "Eltwise",
        "Power",
        "SigmoidCrossEntropyLoss",
        "HingeLoss",
        "MemoryData",
        "ArgMax",
        "Threshold",
        "DummyData",
        "Slice",
        "MVN",
        "AbsVal",
        "Silence",
        "ContrastiveLoss",
        "Exp",
        "Deconvolution",
    };
    return (size_t)type < sizeof(names) / sizeof(names[0]) ? names[type] : "";
}

/* The places of one field move along to another message. */
static bool copy_places(q8_places *places, const void *from, field *from_field, const void *to,
                        field *to_field)
{
    const q8_place *place;
    for (unsigned i = 0; (place = q8_places_find(places, from, from_field, i)); i++)
        if (!q8_places_add(places, to, to_field, i, *place))
            return false;
    return true;
}

/* Moves what both generations have under one name and with one type: names, bottoms, tops, rules,
 * blobs and parameters, but neither `type` nor `param`. Learning rates have no use here. */
static bool move_fields(struct upgrade *u, ProtobufCMessage *v1, ProtobufCMessage *layer)
{
    for (unsigned i = 0; i < v1->descriptor->n_fields; i++) {
        field *from = &v1->descriptor->fields[i];
        field *to = field_of(layer->descriptor, from->name);
        if (!to || to->type != from->type || to->label != from->label ||
            to->descriptor != from->descriptor)
            continue;
        const bool repeated = from->label == PROTOBUF_C_LABEL_REPEATED;
        memcpy((char *)layer + to->offset, (char *)v1 + from->offset,
               repeated ? sizeof(void *) : q8_value_size(from->type));
        if (repeated)
            memcpy((char *)layer + to->quantifier_offset, (char *)v1 + from->quantifier_offset,
                   sizeof(size_t));
        if (!copy_places(u->places, v1, from, layer, to))
            return false;
    }
    return copy_places(u->places, v1, NULL, layer, NULL) &&
           copy_places(u->places, v1, field_of(v1->descriptor, "type"), layer,
                       field_of(layer->descriptor, "type"));
}

static Caffe__LayerParameter *new_layer(struct upgrade *u)
{
    Caffe__LayerParameter *layer = q8_arena_alloc(u->arena, sizeof(*layer));
    if (layer)
        caffe__layer_parameter__init(layer);
    return layer;
}

static q8_code upgrade_v1(struct upgrade *u)
{
    Caffe__NetParameter *net = u->net;
    net->layer = q8_arena_array(u->arena, net->n_layers, sizeof(*net->layer));
    if (!net->layer)
        return q8_fail_nomem(u->err);
    for (size_t i = 0; i < net->n_layers; i++) {
        Caffe__V1LayerParameter *v1 = net->layers[i];
        if (v1->layer)
            return fail_at(u, net_place(u, "layers", i), Q8_EUNSUPPORTED, v1->layer->name,
                           "a V0 network (layers { layer { ... } }) is not supported: upgrade it "
                           "with Caffe's upgrade_net_proto_text first");
        Caffe__LayerParameter *layer = new_layer(u);
        if (!layer || !move_fields(u, &v1->base, &layer->base))
            return q8_fail_nomem(u->err);
        layer->type = q8_arena_strdup(u->arena, v1_type_name(v1->type));
        if (!layer->type)
            return q8_fail_nomem(u->err);
        net->layer[i] = layer;
    }
    net->n_layer = net->n_layers;
    net->n_layers = 0;
    return Q8_OK;
}

/* --- inputs in the header --------------------------------------------------------------------- */

enum { LEGACY_DIMS = 4 };

/* Four of the header's input_dim. */
static Caffe__BlobShape *legacy_shape(struct upgrade *u, size_t input)
{
    Caffe__BlobShape *shape = q8_arena_alloc(u->arena, sizeof(*shape));
    int64_t *dim = q8_arena_array(u->arena, LEGACY_DIMS, sizeof(*dim));
    if (!shape || !dim)
        return NULL;
    caffe__blob_shape__init(shape);
    shape->n_dim = LEGACY_DIMS;
    shape->dim = dim;
    field *dims = field_of(&caffe__blob_shape__descriptor, "dim");
    for (size_t i = 0; i < LEGACY_DIMS; i++) {
        const size_t at = input * LEGACY_DIMS + i;
        const q8_place place = net_place(u, "input_dim", at);
        dim[i] = u->net->input_dim[at];
        if ((i == 0 && !q8_places_add(u->places, shape, NULL, 0, place)) ||
            !q8_places_add(u->places, shape, dims, (unsigned)i, place))
            return NULL;
    }
    return shape;
}

/* One Input layer; NULL when out of memory. */
static Caffe__LayerParameter *input_layer(struct upgrade *u, size_t input)
{
    static const char type[] = "Input";
    Caffe__LayerParameter *layer = new_layer(u);
    Caffe__InputParameter *param = q8_arena_alloc(u->arena, sizeof(*param));
    char **top = q8_arena_array(u->arena, 1, sizeof(*top));
    Caffe__BlobShape **shape = q8_arena_array(u->arena, 1, sizeof(*shape));
    if (!layer || !param || !top || !shape)
        return NULL;
    caffe__input_parameter__init(param);
    *shape = u->net->n_input_shape ? u->net->input_shape[input] : legacy_shape(u, input);
    layer->type = q8_arena_strdup(u->arena, type);
    if (!*shape || !layer->type)
        return NULL;
    param->shape = shape;
    param->n_shape = 1;
    layer->input_param = param;
    *top = layer->name = u->net->input[input];
    layer->top = top;
    layer->n_top = 1;

    const q8_place place = net_place(u, "input", input);
    const q8_place *shape_place = q8_places_find(u->places, *shape, NULL, 0);
    field *top_field = field_of(layer->base.descriptor, "top");
    field *shape_field = field_of(param->base.descriptor, "shape");
    const bool noted =
        q8_places_add(u->places, layer, NULL, 0, place) &&
        q8_places_add(u->places, layer, top_field, 0, place) &&
        q8_places_add(u->places, param, NULL, 0, shape_place ? *shape_place : place) &&
        q8_places_add(u->places, param, shape_field, 0, shape_place ? *shape_place : place);
    return noted ? layer : NULL;
}

static q8_code check_inputs(struct upgrade *u)
{
    const Caffe__NetParameter *net = u->net;
    const q8_loc loc = {u->file, net_place(u, "input", 0).line, net_place(u, "input", 0).column};
    if (net->n_input_shape && net->n_input_shape != net->n_input)
        return q8_fail(u->err, Q8_EMODEL, &loc, NULL, "%zu input, but %zu input_shape",
                       net->n_input, net->n_input_shape);
    if (!net->n_input_shape && net->n_input_dim != net->n_input * LEGACY_DIMS)
        return q8_fail(u->err, Q8_EMODEL, &loc, NULL,
                       "%zu input, so %zu input_dim are needed (4 each), but there are %zu",
                       net->n_input, net->n_input * LEGACY_DIMS, net->n_input_dim);
    return Q8_OK;
}

static q8_code upgrade_inputs(struct upgrade *u)
{
    Caffe__NetParameter *net = u->net;
    const q8_code code = check_inputs(u);
    if (code)
        return code;
    const size_t n = net->n_input + net->n_layer;
    Caffe__LayerParameter **all = q8_arena_array(u->arena, n, sizeof(*all));
    if (!all)
        return q8_fail_nomem(u->err);
    for (size_t i = 0; i < net->n_input; i++) {
        all[i] = input_layer(u, i);
        if (!all[i])
            return q8_fail_nomem(u->err);
    }
    if (net->n_layer)
        memcpy(all + net->n_input, net->layer, net->n_layer * sizeof(*all));
    net->layer = all;
    net->n_layer = n;
    return Q8_OK;
}

q8_code q8_caffe_upgrade(Caffe__NetParameter *net, q8_places *places, const char *file,
                         q8_arena *arena, q8_err *err)
{
    struct upgrade u = {net, places, file, arena, err};
    if (net->n_layer && net->n_layers)
        return fail_at(&u, net_place(&u, "layers", 0), Q8_EFORMAT, NULL,
                       "both 'layer' and the older 'layers' are used: the file mixes two formats");
    q8_code code = net->n_layers ? upgrade_v1(&u) : Q8_OK;
    if (!code && net->n_input)
        code = upgrade_inputs(&u);
    return code;
}
