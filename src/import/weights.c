#include "import/weights.h"

#include <stdio.h>
#include <string.h>

q8_code q8_import_weights_open(q8_import_weights *weights, const q8_caffe_net *net,
                               const q8_weight_source *source, q8_arena *arena, q8_err *err)
{
    *weights = (q8_import_weights){.net = net, .source = source, .arena = arena};
    weights->given = q8_arena_array(arena, (size_t)net->n_layers + 1, sizeof(*weights->given));
    return weights->given ? Q8_OK : q8_fail_nomem(err);
}

static q8_import_given *given_to(const q8_import_weights *w, const q8_caffe_layer *layer)
{
    return &w->given[layer - w->net->layer];
}

/* --- shapes ----------------------------------------------------------------------------------- */

static const char *dims_text(char *text, size_t size, const q8_caffe_blob *blob)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < blob->n_dim && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? "x%lld" : "%lld", blob->dim[i]);
    return text;
}

/* Equal but for dims of 1: legacy blobs are 1x1xMxN, newer forks squeeze. */
static bool same_dims(const q8_caffe_blob *a, const q8_caffe_blob *b)
{
    int i = 0, k = 0;
    for (;;) {
        while (i < a->n_dim && a->dim[i] == 1)
            i++;
        while (k < b->n_dim && b->dim[k] == 1)
            k++;
        if (i == a->n_dim || k == b->n_dim)
            return i == a->n_dim && k == b->n_dim;
        if (a->dim[i++] != b->dim[k++])
            return false;
    }
}

/* A shape to ask for. Its count is 0 when it is no size_t. */
static q8_caffe_blob wanted_blob(const int *dim, int n_dim)
{
    q8_caffe_blob blob = {.n_dim = n_dim, .count = 1};
    for (int i = 0; i < n_dim; i++) {
        blob.dim[i] = dim[i];
        if (dim[i] < 0 || __builtin_mul_overflow(blob.count, (size_t)dim[i], &blob.count))
            blob.count = 0;
    }
    return blob;
}

/* --- a layer's own ---------------------------------------------------------------------------- */

static const char *model_name(const q8_import_weights *w)
{
    return w->net->model_path ? w->net->model_path : "the caffemodel";
}

static bool has_own(const q8_caffe_layer *layer, int index)
{
    return index < layer->n_blobs && layer->blob[index].data;
}

static q8_code get_own(const q8_import_weights *w, const q8_caffe_layer *layer, int index,
                       const q8_caffe_blob *wanted, const float **data, q8_err *err)
{
    if (!layer->blob)
        return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name, "%s has no weights for it",
                       model_name(w));
    if (index >= layer->n_blobs)
        return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name,
                       "blob %d is missing in %s, which has %d for this layer", index,
                       model_name(w), layer->n_blobs);
    const q8_caffe_blob *blob = &layer->blob[index];
    if (!same_dims(blob, wanted)) {
        char is[128], should[128];
        return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name,
                       "blob %d is %s in %s, but the prototxt needs %s", index,
                       dims_text(is, sizeof(is), blob), model_name(w),
                       dims_text(should, sizeof(should), wanted));
    }
    *data = blob->data;
    return Q8_OK;
}

/* --- another layer's -------------------------------------------------------------------------- */

/* The owner's blob: as it was handed out before, or as the caffemodel has it. NULL: none. */
static const q8_caffe_blob *find_shared(const q8_import_weights *w, const q8_caffe_share *share)
{
    const q8_import_given *given = given_to(w, share->owner);
    if (share->index < given->n_blobs && given->blob[share->index].data)
        return &given->blob[share->index];
    return !w->source && has_own(share->owner, share->index) ? &share->owner->blob[share->index]
                                                             : NULL;
}

static q8_code get_shared(const q8_import_weights *w, const q8_caffe_layer *layer, int index,
                          const q8_caffe_blob *wanted, const float **data, q8_err *err)
{
    const q8_caffe_share *share = &layer->share[index];
    const q8_caffe_blob *blob = find_shared(w, share);
    if (!blob)
        return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name,
                       "%s has no blob %d for it, nor for layer '%s' (line %d), which it shares "
                       "'%s' with",
                       model_name(w), index, share->owner->name, share->owner->loc.line,
                       share->name);
    if (share->is_permissive ? blob->count != wanted->count : !same_dims(blob, wanted)) {
        char is[128], should[128];
        return q8_fail(err, Q8_EMODEL, &layer->loc, layer->name,
                       "blob %d is to be shared as '%s' with layer '%s' (line %d), whose is %s, "
                       "but %s is needed here",
                       index, share->name, share->owner->name, share->owner->loc.line,
                       dims_text(is, sizeof(is), blob), dims_text(should, sizeof(should), wanted));
    }
    *data = blob->data;
    return Q8_OK;
}

/* --- handing out ------------------------------------------------------------------------------ */

/* The caffemodel tells layers apart by name only. */
static q8_code check_name(const q8_import_weights *w, const q8_caffe_layer *layer, q8_err *err)
{
    q8_import_given *first = given_to(w, layer->namesake ? layer->namesake : layer);
    if (!first->user)
        first->user = layer;
    if (first->user == layer)
        return Q8_OK;
    return q8_fail(
        err, Q8_EMODEL, &layer->loc, layer->name,
        "the layer in line %d has this name and weights too: layers find theirs by name, "
        "so give one of them another, in the caffemodel too",
        first->user->loc.line);
}

static q8_code remember(const q8_import_weights *w, const q8_caffe_layer *layer, int index,
                        const q8_caffe_blob *wanted, const float *data, q8_err *err)
{
    q8_import_given *given = given_to(w, layer);
    while (given->n_blobs <= index) {
        given->blob =
            q8_arena_grow(w->arena, given->blob, (size_t)given->n_blobs, sizeof(*given->blob));
        if (!given->blob)
            return q8_fail_nomem(err);
        given->blob[given->n_blobs++] = (q8_caffe_blob){0};
    }
    given->blob[index] = *wanted;
    given->blob[index].data = data;
    return Q8_OK;
}

q8_code q8_import_weights_get(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                              int n_dim, const float **data, q8_err *err)
{
    const q8_import_weights *w = user;
    const q8_caffe_blob wanted = wanted_blob(dim, n_dim);
    const bool shares = index < layer->n_shares && layer->share[index].owner;
    q8_code code = check_name(w, layer, err);
    if (code)
        return code;
    if (shares && (w->source || !has_own(layer, index)))
        code = get_shared(w, layer, index, &wanted, data, err);
    else if (w->source)
        code = w->source->get(w->source->user, layer, index, dim, n_dim, data, err);
    else
        code = get_own(w, layer, index, &wanted, data, err);
    return code ? code : remember(w, layer, index, &wanted, *data, err);
}
