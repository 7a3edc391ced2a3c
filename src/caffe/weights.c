#include "caffe/weights.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/limits.h"
#include "caffe/sniff.h"
#include "caffe/wire.h"

/* --- is it a caffemodel? ---------------------------------------------------------------------- */

static q8_code check_bytes(const char *path, const unsigned char *data, size_t size, q8_err *err)
{
    const q8_loc loc = {.file = path};
    const char *other = q8_sniff(data, size);
    if (other)
        return q8_fail(err, Q8_EFORMAT, &loc, NULL, "%s, not a caffemodel", other);
    size_t cost;
    q8_wire_fault fault;
    if (!q8_wire_check(&weights__net__descriptor, data, size, &cost, &fault)) {
        if (q8_sniff_is_text(data, size))
            return q8_fail(err, Q8_EFORMAT, &loc, NULL,
                           "a text file, not a caffemodel (is this the prototxt?)");
        return q8_fail(err, Q8_EFORMAT, &loc, NULL, "not a caffemodel, or truncated (byte %zu: %s)",
                       fault.offset, fault.what);
    }
    if (!q8_wire_is_worth(cost, size))
        return q8_fail(err, Q8_EFORMAT, &loc, NULL,
                       "not a caffemodel: it is made of millions of tiny fields");
    return Q8_OK;
}

/* --- layers by name --------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const q8_weights_layer *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    if (order)
        return order;
    if (!x->n_blobs != !y->n_blobs)
        return x->n_blobs ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static void add_layer(q8_weights *weights, const char *name, Weights__Blob **blob, size_t n_blobs)
{
    const size_t position = weights->n_layers;
    if (name && *name)
        weights->layer[weights->n_layers++] =
            (q8_weights_layer){name, blob, n_blobs, position, false};
}

static void add_v1_layer(q8_weights *weights, const Weights__V1Layer *layer)
{
    const Weights__V0Layer *v0 = layer->v0;
    if (v0)
        add_layer(weights, v0->name, v0->blobs, v0->n_blobs);
    else
        add_layer(weights, layer->name, layer->blobs, layer->n_blobs);
}

/* Sorts by name; of each name the file's first layer that has blobs stays. */
static void index_layers(q8_weights *weights)
{
    if (weights->n_layers == 0)
        return;
    qsort(weights->layer, weights->n_layers, sizeof(*weights->layer), compare);
    size_t kept = 0;
    for (size_t i = 1; i < weights->n_layers; i++) {
        if (strcmp(weights->layer[kept].name, weights->layer[i].name) == 0)
            weights->layer[kept].is_repeated |= weights->layer[i].n_blobs > 0;
        else
            weights->layer[++kept] = weights->layer[i];
    }
    weights->n_layers = kept + 1;
}

q8_code q8_weights_parse(q8_weights *weights, const char *path, const unsigned char *data,
                         size_t size, q8_arena *arena, q8_err *err)
{
    *weights = (q8_weights){0};
    const q8_code code = check_bytes(path, data, size, err);
    if (code)
        return code;
    ProtobufCAllocator allocator = q8_wire_allocator(arena);
    const Weights__Net *net = weights__net__unpack(&allocator, size, data);
    if (!net) /* the bytes are good */
        return q8_fail_nomem(err);
    const size_t n = net->n_layer + net->n_v1_layer;
    const q8_loc loc = {.file = path};
    if (n == 0)
        return q8_fail(err, Q8_EFORMAT, &loc, NULL, "no layers in it: not a caffemodel");
    weights->layer = q8_arena_array(arena, n, sizeof(*weights->layer));
    if (!weights->layer)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < net->n_layer; i++)
        add_layer(weights, net->layer[i]->name, net->layer[i]->blobs, net->layer[i]->n_blobs);
    for (size_t i = 0; i < net->n_v1_layer; i++)
        add_v1_layer(weights, net->v1_layer[i]);
    index_layers(weights);
    return Q8_OK;
}

q8_code q8_weights_read(q8_weights *weights, const char *path, q8_arena *arena, q8_err *err)
{
    q8_bytes bytes;
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_CAFFEMODEL_FILE, err);
    if (code)
        return code;
    code = q8_weights_parse(weights, path, bytes.data, bytes.size, arena, err);
    q8_bytes_free(&bytes);
    return code;
}

static int compare_name(const void *key, const void *layer)
{
    return strcmp(key, ((const q8_weights_layer *)layer)->name);
}

const q8_weights_layer *q8_weights_find(const q8_weights *weights, const char *name)
{
    if (weights->n_layers == 0)
        return NULL;
    return bsearch(name, weights->layer, weights->n_layers, sizeof(*weights->layer), compare_name);
}
