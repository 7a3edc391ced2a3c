#include "caffe/upgrade.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "caffe/move.h"
#include "caffe/text.h"

typedef const ProtobufCFieldDescriptor field;

static field *field_of(const ProtobufCMessageDescriptor *type, const char *name)
{
    return q8_text_field(type, name, strlen(name));
}

/* Where an element of a field of the network was written. */
static q8_place net_place(const q8_upgrade *u, const char *name, size_t index)
{
    const q8_place *place = q8_places_find(
        u->places, u->net, field_of(&caffe__net_parameter__descriptor, name), (unsigned)index);
    return place ? *place : (q8_place){0};
}

/* Where a layer's field, or else the layer, was written. */
static q8_loc layer_loc(const q8_upgrade *u, const Caffe__LayerParameter *layer, const char *name)
{
    const q8_place *place =
        q8_places_find(u->places, layer, field_of(layer->base.descriptor, name), 0);
    if (!place)
        place = q8_places_find(u->places, layer, NULL, 0);
    return (q8_loc){u->file, place ? place->line : 0, place ? place->column : 0};
}

static Caffe__LayerParameter *new_layer(const q8_upgrade *u)
{
    Caffe__LayerParameter *layer = q8_arena_alloc(u->arena, sizeof(*layer));
    if (layer)
        caffe__layer_parameter__init(layer);
    return layer;
}

/* --- layer types ------------------------------------------------------------------------------ */

/* V1's enum, by number, and today's names. */
static const struct {
    const char *v1, *type;
} types[] = {
    {"NONE", ""},
    {"ACCURACY", "Accuracy"},
    {"BNLL", "BNLL"},
    {"CONCAT", "Concat"},
    {"CONVOLUTION", "Convolution"},
    {"DATA", "Data"},
    {"DROPOUT", "Dropout"},
    {"EUCLIDEAN_LOSS", "EuclideanLoss"},
    {"FLATTEN", "Flatten"},
    {"HDF5_DATA", "HDF5Data"},
    {"HDF5_OUTPUT", "HDF5Output"},
    {"IM2COL", "Im2col"},
    {"IMAGE_DATA", "ImageData"},
    {"INFOGAIN_LOSS", "InfogainLoss"},
    {"INNER_PRODUCT", "InnerProduct"},
    {"LRN", "LRN"},
    {"MULTINOMIAL_LOGISTIC_LOSS", "MultinomialLogisticLoss"},
    {"POOLING", "Pooling"},
    {"RELU", "ReLU"},
    {"SIGMOID", "Sigmoid"},
    {"SOFTMAX", "Softmax"},
    {"SOFTMAX_LOSS", "SoftmaxWithLoss"},
    {"SPLIT", "Split"},
    {"TANH", "TanH"},
    {"WINDOW_DATA", "WindowData"},
    {"ELTWISE", "Eltwise"},
    {"POWER", "Power"},
    {"SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss"},
    {"HINGE_LOSS", "HingeLoss"},
    {"MEMORY_DATA", "MemoryData"},
    {"ARGMAX", "ArgMax"},
    {"THRESHOLD", "Threshold"},
    {"DUMMY_DATA", "DummyData"},
    {"SLICE", "Slice"},
    {"MVN", "MVN"},
    {"ABSVAL", "AbsVal"},
    {"SILENCE", "Silence"},
    {"CONTRASTIVE_LOSS", "ContrastiveLoss"},
    {"EXP", "Exp"},
    {"DECONVOLUTION", "Deconvolution"},
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

/* The row of an old name, or of the number that stands for it; -1: none. */
static int find_old_type(const char *name)
{
    char *end;
    const unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9' && *end == '\0')
        return number < N_TYPES ? (int)number : -1;
    for (int i = 0; i < N_TYPES; i++)
        if (strcmp(types[i].v1, name) == 0)
            return i;
    return -1;
}

static bool is_todays_type(const char *name)
{
    for (int i = 1; i < N_TYPES; i++)
        if (strcmp(types[i].type, name) == 0)
            return true;
    return false;
}

static bool set_type(const q8_upgrade *u, Caffe__LayerParameter *layer, const char *type)
{
    layer->type = q8_arena_strdup(u->arena, type);
    return layer->type != NULL;
}

/* V1: the old name becomes today's; a fork's own stays what it is. */
static bool upgrade_type(const q8_upgrade *u, Caffe__LayerParameter *layer)
{
    const char *name = layer->type ? layer->type : "";
    const int row = find_old_type(name);
    if (row >= 0)
        return set_type(u, layer, types[row].type);
    if (is_todays_type(name)) {
        const q8_loc loc = layer_loc(u, layer, "type");
        q8_warn(u->env, &loc, layer->name,
                "type \"%s\" belongs into 'layer { }', not into the older 'layers { }'", name);
    }
    return true;
}

/* Today's `layer` with an old name in it. */
static q8_code respell_types(const q8_upgrade *u)
{
    for (size_t i = 0; i < u->net->n_layer; i++) {
        Caffe__LayerParameter *layer = u->net->layer[i];
        const int row = layer->type ? find_old_type(layer->type) : -1;
        if (row < 1 || strcmp(types[row].type, layer->type) == 0)
            continue;
        const q8_loc loc = layer_loc(u, layer, "type");
        q8_warn(u->env, &loc, layer->name,
                "type %s belongs into the older 'layers { }'; read as \"%s\"", layer->type,
                types[row].type);
        if (!set_type(u, layer, types[row].type))
            return q8_fail_nomem(u->err);
    }
    return Q8_OK;
}

/* --- V1 --------------------------------------------------------------------------------------- */

/* As the places know too, but at a glance: most fields of most layers are not. */
static bool is_written(const ProtobufCMessage *message, field *f)
{
    const char *base = (const char *)message;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(base + f->quantifier_offset) > 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING)
        return *(const void *const *)(base + f->offset) != f->default_value;
    return *(const protobuf_c_boolean *)(base + f->quantifier_offset);
}

/* Moves what both generations have under one name and with one type: names, bottoms, tops, rules,
 * blobs and parameters. */
static bool move_fields(const q8_upgrade *u, ProtobufCMessage *v1, ProtobufCMessage *layer)
{
    for (unsigned i = 0; i < v1->descriptor->n_fields; i++) {
        field *from = &v1->descriptor->fields[i];
        if (!is_written(v1, from))
            continue;
        field *to = field_of(layer->descriptor, from->name);
        if (!to || to->type != from->type || to->label != from->label ||
            to->descriptor != from->descriptor)
            continue;
        if (!q8_move_field(u->places, u->arena, v1, from, layer, to))
            return false;
    }
    return q8_move_places(u->places, v1, NULL, layer, NULL);
}

/* V1 names shared weights by plain strings beside a list of modes. Rates have no use here. */
static bool upgrade_shares(const q8_upgrade *u, const Caffe__V1LayerParameter *v1,
                           Caffe__LayerParameter *layer)
{
    const size_t n_modes = v1->n_blob_share_mode;
    const size_t n = v1->n_param > n_modes ? v1->n_param : n_modes;
    layer->param = q8_arena_array(u->arena, n, sizeof(*layer->param));
    Caffe__ParamSpec *spec = q8_arena_array(u->arena, n, sizeof(*spec));
    if (!layer->param || !spec)
        return false;
    for (size_t i = 0; i < n; i++) {
        caffe__param_spec__init(&spec[i]);
        if (i < v1->n_param)
            spec[i].name = v1->param[i];
        if (i < n_modes &&
            v1->blob_share_mode[i] == CAFFE__V1_LAYER_PARAMETER__DIM_CHECK_MODE__PERMISSIVE)
            spec[i].share_mode = CAFFE__PARAM_SPEC__DIM_CHECK_MODE__PERMISSIVE;
        layer->param[i] = &spec[i];
    }
    layer->n_param = n;
    return q8_move_places(u->places, v1, field_of(v1->base.descriptor, "param"), layer,
                          field_of(layer->base.descriptor, "param"));
}

/* Before there was transform_param, the layers that read data had its fields. */
static bool upgrade_transform(const q8_upgrade *u, Caffe__LayerParameter *layer)
{
    static const char *const params[] = {"data_param", "image_data_param", "window_data_param"};
    static const char *const names[] = {"scale", "mean_file", "crop_size", "mirror"};
    field *transform = field_of(layer->base.descriptor, "transform_param");
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        field *f = field_of(layer->base.descriptor, params[i]);
        const ProtobufCMessage *from =
            *(ProtobufCMessage *const *)((const char *)layer + f->offset);
        for (size_t k = 0; from && k < sizeof(names) / sizeof(names[0]); k++) {
            field *value = field_of(from->descriptor, names[k]);
            const q8_place *place = q8_places_find(u->places, from, value, 0);
            if (!place)
                continue;
            ProtobufCMessage *to =
                q8_move_target(u->places, u->arena, &layer->base, transform, *place);
            if (!to || !q8_move_field(u->places, u->arena, from, value, to,
                                      field_of(to->descriptor, names[k])))
                return false;
        }
    }
    return true;
}

static q8_code upgrade_layer(const q8_upgrade *u, Caffe__V1LayerParameter *v1,
                             Caffe__LayerParameter **made)
{
    Caffe__LayerParameter *layer = *made = new_layer(u);
    if (!layer || !move_fields(u, &v1->base, &layer->base))
        return q8_fail_nomem(u->err);
    if (v1->layer)
        return q8_upgrade_v0_layer(u, v1->layer, layer);
    const bool done =
        upgrade_type(u, layer) && upgrade_shares(u, v1, layer) && upgrade_transform(u, layer);
    return done ? Q8_OK : q8_fail_nomem(u->err);
}

static q8_code upgrade_layers(const q8_upgrade *u)
{
    Caffe__NetParameter *net = u->net;
    q8_code code = q8_upgrade_v0_padding(u);
    if (code)
        return code;
    net->layer = q8_arena_array(u->arena, net->n_layers, sizeof(*net->layer));
    if (!net->layer)
        return q8_fail_nomem(u->err);
    for (size_t i = 0; i < net->n_layers && !code; i++)
        code = upgrade_layer(u, net->layers[i], &net->layer[i]);
    net->n_layer = net->n_layers;
    net->n_layers = 0;
    return code;
}

/* --- inputs in the header --------------------------------------------------------------------- */

enum { LEGACY_DIMS = 4 };

/* Four of the header's input_dim. */
static Caffe__BlobShape *legacy_shape(const q8_upgrade *u, size_t input)
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
static Caffe__LayerParameter *input_layer(const q8_upgrade *u, size_t input)
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

static q8_code check_inputs(const q8_upgrade *u)
{
    const Caffe__NetParameter *net = u->net;
    const q8_loc loc = {u->file, net_place(u, "input", 0).line, net_place(u, "input", 0).column};
    if (net->n_input_shape && net->n_input_shape != net->n_input)
        return q8_fail(u->err, Q8_EMODEL, &loc, NULL, "%zu input, but %zu input_shape",
                       net->n_input, net->n_input_shape);
    const bool one = net->n_input == 1;
    if (!net->n_input_shape && !net->n_input_dim)
        return q8_fail(
            u->err, Q8_EMODEL, &loc, NULL,
            "the %s missing: write input_shape { dim: 1 dim: 3 dim: HEIGHT dim: WIDTH }%s",
            one ? "input's shape is" : "inputs' shapes are",
            one ? "" : " for each, in their order");
    if (!net->n_input_shape && net->n_input_dim != net->n_input * LEGACY_DIMS)
        return q8_fail(u->err, Q8_EMODEL, &loc, NULL,
                       "%zu input%s %zu input_dim, but there are %zu", net->n_input,
                       one ? " takes" : "s take", net->n_input * LEGACY_DIMS, net->n_input_dim);
    return Q8_OK;
}

static q8_code upgrade_inputs(const q8_upgrade *u)
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

q8_code q8_caffe_upgrade(const q8_upgrade *u)
{
    const Caffe__NetParameter *net = u->net;
    if (net->n_layer && net->n_layers) {
        const q8_place place = net_place(u, "layers", 0);
        const q8_loc loc = {u->file, place.line, place.column};
        return q8_fail(u->err, Q8_EFORMAT, &loc, NULL,
                       "both 'layer' and the older 'layers' are used: the file mixes two formats");
    }
    q8_code code = net->n_layers ? upgrade_layers(u) : respell_types(u);
    if (!code && net->n_input)
        code = upgrade_inputs(u);
    return code;
}
