#include "layers.h"

#include <glob.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "caffe/net.h"
#include "fuzz.h"
#include "text.h"

/* splitmix64 (S. Vigna, 2015). */
uint64_t fuzz_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

unsigned fuzz_below(uint64_t *state, size_t n)
{
    return (unsigned)(fuzz_random(state) % n);
}

bool fuzz_chance(uint64_t *state, unsigned once_in)
{
    return fuzz_below(state, once_in) == 0;
}

/* --- values ----------------------------------------------------------------------------------- */

static int random_int(uint64_t *state)
{
    static const int usual[] = {0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 16, 17, -1};
    static const int odd[] = {INT_MAX, INT_MIN, 1 << 20, 65536, -2, 100};
    if (fuzz_chance(state, 50))
        return odd[fuzz_below(state, sizeof(odd) / sizeof(odd[0]))];
    return usual[fuzz_below(state, sizeof(usual) / sizeof(usual[0]))];
}

static float random_float(uint64_t *state)
{
    static const float usual[] = {0, 1, 0.5f, 2, -1, 0.1f, -0.25f, 0.9f, 3, 1e-5f};
    static const float odd[] = {1e30f, -1e30f, INFINITY, NAN, 1e-40f, 1e5f};
    if (fuzz_chance(state, 100))
        return odd[fuzz_below(state, sizeof(odd) / sizeof(odd[0]))];
    if (fuzz_chance(state, 3))
        return (float)(fuzz_random(state) >> 40) * 0x1p-22f - 2;
    return usual[fuzz_below(state, sizeof(usual) / sizeof(usual[0]))];
}

static void set_value(const ProtobufCFieldDescriptor *field, void *value, uint64_t *state)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        *(int32_t *)value = random_int(state);
        break;
    case PROTOBUF_C_TYPE_UINT32: /* a negative number would not be read again */
        *(uint32_t *)value = (uint32_t)random_int(state) & INT_MAX;
        break;
    case PROTOBUF_C_TYPE_INT64:
        *(int64_t *)value = random_int(state);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)value = random_float(state);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *)value = (double)random_float(state);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)value = fuzz_chance(state, 2);
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *type = field->descriptor;
        *(int *)value = type->values[fuzz_below(state, type->n_values)].value;
        break;
    }
    default:
        abort();
    }
}

/* --- fields ----------------------------------------------------------------------------------- */

static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *type, q8_arena *arena)
{
    ProtobufCMessage *message = q8_arena_alloc(arena, type->sizeof_message);
    if (!message)
        abort();
    type->message_init(message);
    return message;
}

static void fill_message(ProtobufCMessage *message, uint64_t *state, q8_arena *arena);

static void add_element(void *message, const ProtobufCFieldDescriptor *field, uint64_t *state,
                        q8_arena *arena)
{
    size_t *count = fuzz_field_count(message, field);
    void **array = fuzz_field_at(message, field);
    const size_t size = fuzz_field_size(field);
    char *longer = q8_arena_array(arena, *count + 1, size);
    if (!longer)
        abort();
    if (*count)
        memcpy(longer, *array, *count * size);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage *sub = new_message(field->descriptor, arena);
        fill_message(sub, state, arena);
        memcpy(longer + *count * size, &sub, size);
    } else {
        set_value(field, longer + *count * size, state);
    }
    *array = longer;
    ++*count;
}

static void change_repeated(void *message, const ProtobufCFieldDescriptor *field, uint64_t *state,
                            q8_arena *arena)
{
    size_t *count = fuzz_field_count(message, field);
    if (*count == 0 || (*count < 8 && fuzz_chance(state, 4))) {
        add_element(message, field, state, arena);
        return;
    }
    if (fuzz_chance(state, 4)) {
        --*count;
        return;
    }
    char *element = *(char **)fuzz_field_at(message, field) +
                    fuzz_below(state, *count) * fuzz_field_size(field);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        fuzz_message_change(*(ProtobufCMessage **)element, state, arena);
    else
        set_value(field, element, state);
}

static void change_field(void *message, const ProtobufCFieldDescriptor *field, uint64_t *state,
                         q8_arena *arena)
{
    void *at = fuzz_field_at(message, field);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return; /* names are the network's business */
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        change_repeated(message, field, state, arena);
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage **sub = at;
        if (!*sub) {
            *sub = new_message(field->descriptor, arena);
            fill_message(*sub, state, arena);
        } else if (fuzz_chance(state, 16)) {
            *sub = NULL;
        } else {
            fuzz_message_change(*sub, state, arena);
        }
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && *fuzz_field_has(message, field) &&
               fuzz_chance(state, 4)) {
        *fuzz_field_has(message, field) = false;
    } else {
        if (field->label == PROTOBUF_C_LABEL_OPTIONAL)
            *fuzz_field_has(message, field) = true;
        set_value(field, at, state);
    }
}

void fuzz_message_change(ProtobufCMessage *message, uint64_t *state, q8_arena *arena)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    if (type->n_fields)
        change_field(message, &type->fields[fuzz_below(state, type->n_fields)], state, arena);
}

/* Numbers without a default are likely to be needed. */
static void fill_message(ProtobufCMessage *message, uint64_t *state, q8_arena *arena)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const bool likely = !field->default_value && field->type != PROTOBUF_C_TYPE_MESSAGE;
        if (likely ? !fuzz_chance(state, 4) : fuzz_chance(state, 8))
            change_field(message, field, state, arena);
    }
}

/* --- the table -------------------------------------------------------------------------------- */

/* The layers of all cases. */
static struct {
    Caffe__LayerParameter **layer;
    size_t n;
} cases;

static q8_arena *case_arena;

static void close_cases(void)
{
    q8_arena_close(&case_arena);
}

static void add_case(const char *path)
{
    static q8_err err;
    q8_caffe_net *net;
    memset(&err, 0, sizeof(err));
    if (q8_caffe_read(&net, path, NULL, case_arena, &fuzz_env, &err))
        return; /* a case of what is refused */
    for (int i = 0; i < net->n_layers; i++) {
        Caffe__LayerParameter *layer = fuzz_text_copy(&net->layer[i].param->base, case_arena);
        layer->type = q8_arena_strdup(case_arena, net->layer[i].type);
        cases.layer = q8_arena_grow(case_arena, cases.layer, cases.n, sizeof(*cases.layer));
        if (!cases.layer || !layer->type)
            abort();
        cases.layer[cases.n++] = layer;
    }
}

static void read_cases(void)
{
    glob_t found;
    if (case_arena)
        return;
    case_arena = fuzz_arena();
    atexit(close_cases);
    if (glob(Q8_SOURCE_DIR "/tests/corpus/*/*.prototxt", 0, NULL, &found) != 0)
        abort();
    for (size_t i = 0; i < found.gl_pathc; i++)
        add_case(found.gl_pathv[i]);
    globfree(&found);
}

/* A case of that type; NULL: none. */
static const Caffe__LayerParameter *find_case(const char *type, uint64_t *state)
{
    const Caffe__LayerParameter *chosen = NULL;
    unsigned n = 0;
    read_cases();
    for (size_t i = 0; i < cases.n; i++)
        if (strcmp(cases.layer[i]->type, type) == 0 && fuzz_chance(state, ++n))
            chosen = cases.layer[i];
    return chosen;
}

/* The field of LayerParameter for a layer type: InnerProductParameter for InnerProduct, and
 * ConvolutionParameter for Deconvolution too. NULL: none is called like it. */
static const ProtobufCFieldDescriptor *params_of(const char *type)
{
    const ProtobufCMessageDescriptor *layer = &caffe__layer_parameter__descriptor;
    const ProtobufCFieldDescriptor *best = NULL;
    size_t best_length = 0;
    for (unsigned i = 0; i < layer->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &layer->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED)
            continue;
        char stem[64];
        const char *name = ((const ProtobufCMessageDescriptor *)field->descriptor)->short_name;
        const size_t length = strlen(name) - strlen("Parameter");
        snprintf(stem, sizeof(stem), "%.*s", (int)length, name);
        if (length > best_length && strcasestr(type, stem)) {
            best = field;
            best_length = length;
        }
    }
    return best;
}

/* A type of the table: those that conversions are about, with weights above all, more often. */
static const q8_op *random_op(uint64_t *state)
{
    const bool with_weights = fuzz_chance(state, 3);
    for (;;) {
        const q8_op *op = q8_ops[fuzz_below(state, (size_t)q8_n_ops)];
        const bool central = op->linear || op->as_activation || op->as_affine || op->channels;
        if (op->caffe_types &&
            (with_weights ? op->linear != NULL : central || fuzz_chance(state, 2)))
            return op;
    }
}

static const char *random_type(const q8_op *op, uint64_t *state)
{
    size_t n = 0;
    while (op->caffe_types[n])
        n++;
    return op->caffe_types[fuzz_below(state, n)];
}

static size_t random_count(int least, int most, uint64_t *state)
{
    const size_t low = (size_t)least, high = most < 0 ? low + 2 : (size_t)most;
    return low + fuzz_below(state, high - low + 1);
}

static char **new_names(size_t n, q8_arena *arena)
{
    char **names = q8_arena_array(arena, n + 1, sizeof(*names));
    if (!names)
        abort();
    return names;
}

Caffe__LayerParameter *fuzz_layer_new(uint64_t *state, q8_arena *arena)
{
    const q8_op *op = random_op(state);
    const char *type = random_type(op, state);
    const Caffe__LayerParameter *known = fuzz_chance(state, 8) ? NULL : find_case(type, state);
    Caffe__LayerParameter *layer;
    if (known) {
        layer = fuzz_text_copy(&known->base, arena);
    } else {
        layer = (void *)new_message(&caffe__layer_parameter__descriptor, arena);
        layer->n_bottom = random_count(op->min_in, op->max_in, state);
        layer->n_top = random_count(op->min_out, op->max_out, state);
    }
    layer->type = q8_arena_strdup(arena, type);
    layer->name = NULL;
    layer->bottom = new_names(layer->n_bottom, arena);
    layer->top = new_names(layer->n_top, arena);
    layer->n_include = layer->n_exclude = layer->n_param = layer->n_blobs = 0;
    const unsigned n_changes = known ? fuzz_below(state, 4) : 1;
    for (unsigned i = 0; i < n_changes; i++)
        fuzz_layer_change(layer, state, arena);
    return layer;
}

void fuzz_layer_change(Caffe__LayerParameter *layer, uint64_t *state, q8_arena *arena)
{
    const ProtobufCMessageDescriptor *type = layer->base.descriptor;
    const ProtobufCFieldDescriptor *params = params_of(layer->type);
    for (unsigned i = 0, n = 0; i < type->n_fields; i++) { /* or what it has already */
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED &&
            *(void **)fuzz_field_at(layer, field) && fuzz_chance(state, ++n))
            params = field;
    }
    if (params)
        change_field(layer, params, state, arena);
}
