#include "random_weights.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "weights.pb-c.h"

struct random_weights {
    q8_arena *arena;
    const q8_caffe_layer *layers;
    Weights__Net net; /* an entry for each of `layers` */
};

random_weights *random_weights_open(const q8_caffe_net *net, q8_arena *arena)
{
    random_weights *w = q8_arena_alloc(arena, sizeof(*w));
    if (!w)
        return NULL;
    w->arena = arena;
    w->layers = net->layer;
    weights__net__init(&w->net);
    w->net.n_layer = (size_t)net->n_layers;
    w->net.layer = q8_arena_array(arena, w->net.n_layer, sizeof(Weights__Layer *));
    for (size_t i = 0; w->net.layer && i < w->net.n_layer; i++) {
        Weights__Layer *entry = w->net.layer[i] = q8_arena_alloc(arena, sizeof(*entry));
        if (!entry)
            return NULL;
        weights__layer__init(entry);
        entry->name = (char *)net->layer[i].name;
        entry->type = (char *)net->layer[i].type;
    }
    return w->net.layer ? w : NULL;
}

/* splitmix64 (S. Vigna, 2015): one well-mixed value per counter. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t seed_of(const char *name, int index)
{
    uint64_t seed = (uint64_t)index + 1;
    for (; *name; name++)
        seed = mix(seed ^ (unsigned char)*name);
    return seed;
}

struct range {
    float low, high;
};

/* Blobs whose values have a meaning; all others are filters or biases. */
static const struct {
    const char *type;
    int index;
    struct range range;
} special[] = {
    {"BatchNorm", 1, {0.5f, 1.5f}}, {"BatchNorm", 2, {0.999f, 0.999f}},
    {"Scale", 0, {0.7f, 1.3f}},     {"BN", 3, {0.5f, 1.5f}},
    {"Normalize", 0, {0.7f, 1.3f}}, {"PReLU", 0, {0.05f, 0.45f}},
};

/* Keeps activations near 1 however deep the net: He et al. 2015, eq. 10, as a uniform range. */
static struct range range_of(const q8_caffe_layer *layer, int index, const int *dim, int n_dim)
{
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
        if (special[i].index == index && strcmp(special[i].type, layer->type) == 0)
            return special[i].range;
    if (n_dim < 2)
        return (struct range){-0.2f, 0.2f};
    double fan_in = 1;
    for (int i = 1; i < n_dim; i++)
        fan_in *= dim[i];
    const float bound = (float)sqrt(6 / fan_in);
    return (struct range){-bound, bound};
}

static Weights__Blob *new_blob(q8_arena *arena, const int *dim, int n_dim, size_t count)
{
    Weights__Blob *blob = q8_arena_alloc(arena, sizeof(*blob));
    Weights__Shape *shape = q8_arena_alloc(arena, sizeof(*shape));
    if (!blob || !shape)
        return NULL;
    weights__blob__init(blob);
    weights__shape__init(shape);
    blob->shape = shape;
    shape->n_dim = (size_t)n_dim;
    shape->dim = q8_arena_array(arena, (size_t)n_dim, sizeof(*shape->dim));
    blob->n_data = count;
    blob->data = q8_arena_array(arena, count, sizeof(*blob->data));
    if (!shape->dim || !blob->data)
        return NULL;
    for (int i = 0; i < n_dim; i++)
        shape->dim[i] = dim[i];
    return blob;
}

/* Blobs not asked for are left empty: another layer shares its own. */
static bool put_blob(random_weights *w, Weights__Layer *entry, int index, Weights__Blob *blob)
{
    while (entry->n_blobs <= (size_t)index) {
        Weights__Blob *empty = q8_arena_alloc(w->arena, sizeof(*empty));
        entry->blobs =
            q8_arena_grow(w->arena, entry->blobs, entry->n_blobs, sizeof(Weights__Blob *));
        if (!empty || !entry->blobs)
            return false;
        weights__blob__init(empty);
        entry->blobs[entry->n_blobs++] = empty;
    }
    entry->blobs[index] = blob;
    return true;
}

static q8_code get(void *user, const q8_caffe_layer *layer, int index, const int *dim, int n_dim,
                   const float **data, q8_err *err)
{
    random_weights *w = user;
    q8_shape shape = {.rank = 1, .dim = {1}};
    for (int i = 0; i < n_dim; i++) {
        const size_t so_far = q8_shape_count(&shape);
        if (dim[i] < 1 || so_far > Q8_MAX_ELEMENTS / (size_t)dim[i])
            return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name, "blob %d is too large", index);
        shape.dim[0] *= dim[i];
    }
    const size_t count = q8_shape_count(&shape);
    Weights__Layer *entry = w->net.layer[layer - w->layers];
    Weights__Blob *blob = new_blob(w->arena, dim, n_dim, count);
    if (!blob || !put_blob(w, entry, index, blob))
        return q8_fail_nomem(err);
    const struct range range = range_of(layer, index, dim, n_dim);
    const uint64_t seed = seed_of(layer->name, index);
    for (size_t i = 0; i < count; i++)
        blob->data[i] =
            range.low + (range.high - range.low) * (float)(mix(seed + i) >> 40) * 0x1p-24f;
    *data = blob->data;
    return Q8_OK;
}

q8_weight_source random_weights_source(random_weights *weights)
{
    return (q8_weight_source){.user = weights, .get = get};
}

unsigned char *random_weights_pack(const random_weights *weights, size_t *size)
{
    *size = weights__net__get_packed_size(&weights->net);
    unsigned char *bytes = q8_arena_alloc(weights->arena, *size);
    if (bytes)
        weights__net__pack(&weights->net, bytes);
    return bytes;
}
