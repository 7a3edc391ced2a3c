#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "import/import.h"

struct limited {
    q8_weight_source source;
    const char *seed; /* the network's name; "": weights stay as they are */
    size_t left;
};

/* Some blobs of a network with a name become odd: 0, in part or all of it, huge or tiny. */
static void make_odd(float *x, size_t n, uint64_t seed)
{
    static const float factors[] = {0, 1e30f, 1e-30f, 1e-40f, 1e10f};
    const size_t kind = seed % 40, part = seed / 64 % 2 ? n : (n + 1) / 2;
    for (size_t i = 0; kind < sizeof(factors) / sizeof(factors[0]) && i < part; i++)
        x[i] *= factors[kind];
}

static q8_code get_limited(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                           int n_dim, const float **data, q8_err *err)
{
    struct limited *limited = user;
    size_t count = 1;
    for (int i = 0; i < n_dim; i++) {
        if (dim[i] < 1 || (size_t)dim[i] > limited->left / count)
            return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name, "too many weights");
        count *= (size_t)dim[i];
    }
    limited->left -= count;
    const q8_code code =
        limited->source.get(limited->source.user, layer, index, dim, n_dim, data, err);
    const uint64_t seed = q8_hash_uint(q8_hash_text(0, limited->seed), (uint64_t)index);
    if (!code && limited->seed[0]) /* random_weights remembers them as they are then */
        make_odd((float *)*data, count, q8_hash_text(seed, layer->name));
    return code;
}

static q8_code import(fuzz_network *network, size_t max_weights, q8_arena *arena, q8_err *err)
{
    network->weights = random_weights_open(network->caffe, arena);
    if (!network->weights)
        return q8_fail_nomem(err);
    struct limited limited = {random_weights_source(network->weights), network->caffe->name,
                              max_weights};
    const q8_weight_source source = {.user = &limited, .get = get_limited};
    const q8_import_opts opts = {.weights = &source};
    return q8_import_caffe(&network->graph, network->caffe, &opts, arena, &fuzz_env, err);
}

q8_code fuzz_network_read(fuzz_network *network, const void *text, size_t size, size_t max_weights,
                          q8_arena *arena, q8_err *err)
{
    *network = (fuzz_network){0};
    char *copy = malloc(size + 1); /* exactly what the parser may read */
    if (!copy)
        abort();
    if (size)
        memcpy(copy, text, size);
    copy[size] = 0;
    const q8_code code =
        q8_caffe_parse(&network->caffe, "deploy.prototxt", copy, size, arena, &fuzz_env, err);
    free(copy); /* nothing may point into it any more */
    return code ? code : import(network, max_weights, arena, err);
}
