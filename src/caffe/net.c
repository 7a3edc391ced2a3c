#include "caffe/net.h"

#include <string.h>

#include "base/file.h"
#include "base/limits.h"
#include "caffe.pb-c.h"
#include "caffe/blob.h"
#include "caffe/data.h"
#include "caffe/deploy.h"
#include "caffe/rules.h"
#include "caffe/share.h"
#include "caffe/sniff.h"
#include "caffe/text.h"
#include "caffe/upgrade.h"
#include "caffe/weights.h"

q8_loc q8_caffe_loc(const q8_caffe_net *net, const void *message, const char *field, int index)
{
    const ProtobufCMessage *m = message;
    q8_loc loc = {.file = net->proto_path};
    if (!m || index < 0)
        return loc;
    const ProtobufCFieldDescriptor *f = q8_text_field(m->descriptor, field, strlen(field));
    const q8_place *place = NULL;
    if (f)
        place = q8_places_find(net->places, m, f, (unsigned)index);
    if (f && !place)
        place = q8_places_find(net->places, m, f, 0);
    if (!place)
        place = q8_places_find(net->places, m, NULL, 0);
    if (place) {
        loc.line = place->line;
        loc.column = place->column;
    }
    return loc;
}

/* --- the prototxt ----------------------------------------------------------------------------- */

/* Puts the layers that TEST has into the net. */
static q8_code list_layers(q8_caffe_net *net, const Caffe__NetParameter *param, q8_arena *arena,
                           q8_err *err)
{
    net->layer = q8_arena_array(arena, param->n_layer, sizeof(*net->layer));
    net->left_out = q8_arena_array(arena, param->n_layer, sizeof(*net->left_out));
    if (!net->layer || !net->left_out)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < param->n_layer; i++) {
        const Caffe__LayerParameter *layer = param->layer[i];
        const char *name = layer->name ? layer->name : "";
        const q8_loc loc = q8_caffe_loc(net, layer, "", 0);
        if (layer->n_include && layer->n_exclude)
            return q8_fail(err, Q8_EMODEL, &loc, name, "both include and exclude rules");
        if (!q8_caffe_is_included(param, layer)) {
            net->left_out[net->n_left_out++] = (q8_caffe_left_out){layer, name, loc};
            continue;
        }
        if (!layer->type || !*layer->type)
            return q8_fail(err, Q8_EMODEL, &loc, name, "type missing");
        net->layer[net->n_layers++] =
            (q8_caffe_layer){.param = layer, .name = name, .type = layer->type, .loc = loc};
    }
    return Q8_OK;
}

q8_code q8_caffe_parse(q8_caffe_net **net, const char *proto_path, const char *text, size_t size,
                       q8_arena *arena, const q8_env *env, q8_err *err)
{
    *net = NULL;
    q8_caffe_net *made = q8_arena_alloc(arena, sizeof(*made));
    q8_places *places = q8_places_new(arena);
    const char *path = q8_arena_strdup(arena, proto_path);
    if (!made || !places || !path)
        return q8_fail_nomem(err);
    made->places = places;
    made->proto_path = path;
    const q8_loc file = {.file = path};
    const char *other = q8_sniff((const unsigned char *)text, size);
    if (other)
        return q8_fail(err, Q8_EFORMAT, &file, NULL, "%s, not a prototxt", other);

    ProtobufCMessage *message;
    q8_code code = q8_text_parse(&message, &caffe__net_parameter__descriptor, path, text, size,
                                 places, arena, env, err);
    if (code)
        return code;
    Caffe__NetParameter *param = (Caffe__NetParameter *)message;
    made->name = param->name ? param->name : "";
    code = q8_caffe_upgrade(&(q8_upgrade){param, places, path, arena, env, err});
    if (code)
        return code;
    if (param->n_layer == 0)
        return q8_fail(err, Q8_EMODEL, &file, NULL, "no layers in it: is this a deploy prototxt?");
    code = list_layers(made, param, arena, err);
    if (!code)
        code = q8_caffe_deploy(made, arena, env, err);
    if (!code)
        code = q8_caffe_find_shares(made, arena, err);
    if (code)
        return code;
    q8_data_find_transform(made);
    *net = made;
    return Q8_OK;
}

static q8_code read_proto(q8_caffe_net **net, const char *path, q8_arena *arena, const q8_env *env,
                          q8_err *err)
{
    q8_bytes bytes;
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_PROTO_FILE, err);
    if (code)
        return code;
    code = q8_caffe_parse(net, path, (const char *)bytes.data, bytes.size, arena, env, err);
    q8_bytes_free(&bytes);
    return code;
}

/* --- weights ---------------------------------------------------------------------------------- */

static q8_blob_source model_source(const Weights__Blob *b)
{
    return (q8_blob_source){
        Q8_BLOB_SOURCE(b),
        .raw = b->has_raw_data ? b->raw_data.data : NULL,
        .raw_size = b->has_raw_data ? b->raw_data.len : 0,
        .raw_type = b->raw_data_type,
    };
}

static q8_blob_source proto_source(const Caffe__BlobProto *b)
{
    return (q8_blob_source){Q8_BLOB_SOURCE(b)};
}

/* A shared blob may be left to the layer that has it. */
static bool is_owners(const q8_caffe_layer *layer, size_t index, const q8_blob_source *source)
{
    const bool empty = !source->n_data && !source->n_double_data && !source->raw;
    return empty && index < (size_t)layer->n_shares && layer->share[index].owner;
}

/* The blobs of one layer: the caffemodel's, or else those written into the prototxt. */
static q8_code read_blobs(q8_caffe_net *net, q8_caffe_layer *layer, const q8_weights_layer *model,
                          q8_arena *arena, q8_err *err)
{
    const size_t n = model ? model->n_blobs : layer->param->n_blobs;
    q8_caffe_blob *blob = q8_arena_array(arena, n, sizeof(*blob));
    if (!blob)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const q8_blob_name name = {.loc = &layer->loc,
                                   .layer = layer->name,
                                   .index = (int)i,
                                   .file = model ? net->model_path : NULL};
        const q8_blob_source source =
            model ? model_source(model->blob[i]) : proto_source(layer->param->blobs[i]);
        if (is_owners(layer, i, &source))
            continue;
        const q8_code code = q8_blob_convert(&blob[i], &source, &name, arena, err);
        if (code)
            return code;
    }
    layer->blob = blob;
    layer->n_blobs = (int)n;
    return Q8_OK;
}

static q8_code match_weights(q8_caffe_net *net, const q8_weights *weights, q8_arena *arena,
                             const q8_env *env, q8_err *err)
{
    const q8_loc loc = {.file = net->model_path};
    for (int i = 0; i < net->n_layers; i++) {
        q8_caffe_layer *layer = &net->layer[i];
        const q8_weights_layer *model = q8_weights_find(weights, layer->name);
        if (!model && layer->param->n_blobs == 0)
            continue;
        if (model && model->is_repeated)
            q8_warn(env, &loc, layer->name,
                    "the file has several layers of this name: the first "
                    "one counts");
        const q8_code code = read_blobs(net, layer, model, arena, err);
        if (code)
            return code;
    }
    return Q8_OK;
}

q8_code q8_caffe_read(q8_caffe_net **net, const char *proto_path, const char *model_path,
                      q8_arena *arena, const q8_env *env, q8_err *err)
{
    q8_caffe_net *made;
    q8_weights weights = {0};
    *net = NULL;
    q8_code code = read_proto(&made, proto_path, arena, env, err);
    if (code)
        return code;
    if (model_path) {
        made->model_path = q8_arena_strdup(arena, model_path);
        if (!made->model_path)
            return q8_fail_nomem(err);
        code = q8_weights_read(&weights, made->model_path, arena, err);
        if (!code)
            code = match_weights(made, &weights, arena, env, err);
        if (!code)
            q8_data_fix_channels(made);
    }
    if (!code)
        *net = made;
    return code;
}
