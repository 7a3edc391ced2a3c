#include "caffe/data.h"

#include <limits.h>
#include <string.h>

#include "caffe/places.h"
#include "caffe/text.h"

/* --- which layers ----------------------------------------------------------------------------- */

bool q8_data_is(const q8_caffe_layer *layer)
{
    /* Forks have many: AnnotatedData, ImageSegData, VideoData, ... */
    return layer->param->n_bottom == 0 &&
           (strstr(layer->type, "Data") || strcmp(layer->type, "Python") == 0);
}

bool q8_data_has_labels(const q8_caffe_layer *layer)
{
    static const char *const others[] = {"HDF5Data", "DummyData", "Python"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(layer->type, others[i]) == 0)
            return false;
    return true;
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* What a layer's parameters tell about its pictures. */
struct pictures {
    int channels, height, width; /* 0 unknown */
    bool is_guess;               /* the channels */
};

static int to_int(uint32_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value; /* far too large either way */
}

static int guess_channels(const Caffe__LayerParameter *p)
{
    const Caffe__TransformationParameter *t = p->transform_param;
    if ((t && t->force_gray) || (p->image_data_param && !p->image_data_param->is_color))
        return 1;
    if (t && t->n_mean_value > 1 && t->n_mean_value <= 4)
        return (int)t->n_mean_value;
    return 3;
}

/* What pictures are resized to before the crop. */
static void resized_to(const Caffe__LayerParameter *p, int *height, int *width)
{
    const Caffe__TransformationParameter *t = p->transform_param;
    const Caffe__ImageDataParameter *images = p->image_data_param;
    *height = *width = 0;
    if (images && images->new_height && images->new_width) {
        *height = to_int(images->new_height);
        *width = to_int(images->new_width);
    } else if (t && t->resize_param && t->resize_param->height && t->resize_param->width) {
        *height = to_int(t->resize_param->height);
        *width = to_int(t->resize_param->width);
    }
}

static struct pictures find_pictures(const Caffe__LayerParameter *p)
{
    const Caffe__MemoryDataParameter *memory = p->memory_data_param;
    if (memory && memory->channels && memory->height && memory->width)
        return (struct pictures){to_int(memory->channels), to_int(memory->height),
                                 to_int(memory->width), false};
    struct pictures pictures = {.channels = guess_channels(p), .is_guess = true};
    resized_to(p, &pictures.height, &pictures.width);
    if (p->transform_param && p->transform_param->crop_size)
        pictures.height = pictures.width = to_int(p->transform_param->crop_size);
    return pictures;
}

static Caffe__BlobShape *new_shape(q8_arena *arena, const int64_t *dim, size_t n_dim)
{
    Caffe__BlobShape *shape = q8_arena_alloc(arena, sizeof(*shape));
    int64_t *copy = q8_arena_array(arena, n_dim, sizeof(*copy));
    if (!shape || !copy)
        return NULL;
    caffe__blob_shape__init(shape);
    memcpy(copy, dim, n_dim * sizeof(*dim));
    shape->dim = copy;
    shape->n_dim = n_dim;
    return shape;
}

/* Of a list with one entry for all tops or one for each. */
static size_t entry(size_t n, size_t top)
{
    return top < n ? top : n - 1;
}

/* DummyData says it all. NULL: it does not, or out of memory. */
static Caffe__BlobShape *dummy_shape(q8_arena *arena, const Caffe__DummyDataParameter *p,
                                     size_t top)
{
    if (p->n_shape)
        return p->shape[entry(p->n_shape, top)];
    if (!p->n_num || !p->n_channels || !p->n_height || !p->n_width)
        return NULL;
    const int64_t dim[] = {p->num[entry(p->n_num, top)], p->channels[entry(p->n_channels, top)],
                           p->height[entry(p->n_height, top)], p->width[entry(p->n_width, top)]};
    return new_shape(arena, dim, 4);
}

static Caffe__BlobShape *data_shape(q8_caffe_layer *layer, size_t top, q8_arena *arena)
{
    const Caffe__LayerParameter *p = layer->param;
    if (p->dummy_data_param) {
        Caffe__BlobShape *shape = dummy_shape(arena, p->dummy_data_param, top);
        if (shape)
            return shape;
    }
    /* Faster R-CNN's: height, width, scale. */
    if (strcmp(p->top[top], "im_info") == 0)
        return new_shape(arena, (const int64_t[]){1, 3}, 2);
    const struct pictures found = find_pictures(p);
    Caffe__BlobShape *shape =
        new_shape(arena, (const int64_t[]){1, found.channels, found.height, found.width}, 4);
    if (found.is_guess && !layer->guessed_shape)
        layer->guessed_shape = shape;
    return shape;
}

/* --- Inputs ----------------------------------------------------------------------------------- */

static bool is_input(const q8_caffe_layer *layer)
{
    return strcmp(layer->type, "Input") == 0;
}

/* Takes the tops out that are not kept, and their places. */
static bool take_tops(const q8_caffe_net *net, Caffe__LayerParameter *p, const bool *keep)
{
    const ProtobufCFieldDescriptor *top = q8_text_field(p->base.descriptor, "top", strlen("top"));
    size_t n = 0;
    for (size_t i = 0; i < p->n_top; i++) {
        const q8_place *place = q8_places_find(net->places, p, top, (unsigned)i);
        if (!keep[i])
            continue;
        if (place && !q8_places_add(net->places, p, top, (unsigned)n, *place))
            return false;
        p->top[n++] = p->top[i];
    }
    p->n_top = n;
    return true;
}

q8_code q8_data_to_input(q8_caffe_net *net, q8_caffe_layer *layer, const bool *keep,
                         q8_arena *arena, q8_err *err)
{
    /* The messages come from this reader and are its to change. */
    Caffe__LayerParameter *p = (Caffe__LayerParameter *)layer->param;
    const Caffe__InputParameter *old = is_input(layer) ? p->input_param : NULL;
    if (is_input(layer) && (!old || (old->n_shape != 1 && old->n_shape != p->n_top)))
        return Q8_OK; /* wrong, as importing it will tell */
    Caffe__InputParameter *input = q8_arena_alloc(arena, sizeof(*input));
    Caffe__BlobShape **shape = q8_arena_array(arena, p->n_top, sizeof(*shape));
    char *type = q8_arena_strdup(arena, "Input");
    if (!input || !shape || !type)
        return q8_fail_nomem(err);
    caffe__input_parameter__init(input);
    for (size_t i = 0; i < p->n_top; i++) {
        if (!keep[i])
            continue;
        Caffe__BlobShape *s =
            old ? old->shape[entry(old->n_shape, i)] : data_shape(layer, i, arena);
        if (!s)
            return q8_fail_nomem(err);
        shape[input->n_shape++] = s;
    }
    input->shape = shape;
    p->input_param = input;
    p->type = type;
    layer->type = type;
    return take_tops(net, p, keep) ? Q8_OK : q8_fail_nomem(err);
}

/* What the layer's weights say about the channels of its first bottom; 0: nothing. */
static long long channels_read(const q8_caffe_layer *layer)
{
    const Caffe__ConvolutionParameter *p = layer->param->convolution_param;
    if (!p || layer->n_blobs == 0 || layer->blob[0].n_dim != 4)
        return 0;
    return strcmp(layer->type, "Convolution") == 0 ? layer->blob[0].dim[1] * p->group : 0;
}

void q8_data_fix_channels(q8_caffe_net *net)
{
    enum { MAX_GUESSED = 16 }; /* networks have one or two, and this is a search */
    for (int i = 0, n = 0; i < net->n_layers && n < MAX_GUESSED; i++) {
        Caffe__BlobShape *shape = net->layer[i].guessed_shape;
        const char *top = shape ? net->layer[i].param->top[0] : NULL;
        long long channels = 0;
        n += top != NULL;
        for (int k = i + 1; top && k < net->n_layers && !channels; k++) {
            const Caffe__LayerParameter *p = net->layer[k].param;
            if (p->n_bottom && strcmp(p->bottom[0], top) == 0)
                channels = channels_read(&net->layer[k]);
        }
        if (channels)
            shape->dim[1] = channels;
    }
}

/* --- transform_param -------------------------------------------------------------------------- */

void q8_data_find_transform(q8_caffe_net *net)
{
    q8_caffe_transform *found = &net->transform;
    *found = (q8_caffe_transform){.scale = 1};
    for (int i = 0; i < net->n_layers && !found->found; i++) {
        const q8_caffe_layer *layer = &net->layer[i];
        const Caffe__LayerParameter *p = layer->param;
        const Caffe__TransformationParameter *t = p->transform_param;
        if (!is_input(layer) || p->n_top == 0)
            continue;
        q8_caffe_transform tells = {.scale = 1, .input = p->top[0], .loc = layer->loc};
        resized_to(p, &tells.resize_height, &tells.resize_width);
        if (t) {
            tells.scale = t->scale;
            tells.mean = t->mean_value;
            tells.n_mean = t->n_mean_value > INT_MAX ? INT_MAX : (int)t->n_mean_value;
            tells.mean_file = t->mean_file;
            tells.crop_size = to_int(t->crop_size);
            tells.loc = q8_caffe_loc(net, t, "", 0);
        }
        tells.found = (t && t->has_scale) || tells.n_mean > 0 || tells.mean_file ||
                      tells.crop_size || tells.resize_width;
        if (tells.found)
            *found = tells;
    }
}
