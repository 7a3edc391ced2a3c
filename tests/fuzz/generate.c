#include "generate.h"

#include <stdlib.h>
#include <string.h>

#include "layers.h"
#include "text.h"

enum { MAX_LAYERS = 10, TRIES = 6 };

/* --- parts ------------------------------------------------------------------------------------ */

static void check(const void *pointer)
{
    if (!pointer)
        abort();
}

static char *new_name(uint64_t *state, const char *kind, q8_arena *arena)
{
    char *name = q8_arena_printf(arena, "%s%u", kind, fuzz_below(state, 100000));
    check(name);
    return name;
}

static void insert(Caffe__NetParameter *net, size_t at, Caffe__LayerParameter *layer,
                   q8_arena *arena)
{
    Caffe__LayerParameter **layers = q8_arena_array(arena, net->n_layer + 1, sizeof(*layers));
    check(layers);
    for (size_t i = 0; i <= net->n_layer; i++)
        layers[i] = i < at ? net->layer[i] : i == at ? layer : net->layer[i - 1];
    net->layer = layers;
    net->n_layer++;
}

/* A blob that some layer before `end` makes: mostly the last of them. NULL: none. */
static char *some_top(const Caffe__NetParameter *net, size_t end, uint64_t *state)
{
    char *chosen = NULL;
    unsigned n = 0;
    for (size_t i = end; i-- > 0;)
        for (size_t k = 0; k < net->layer[i]->n_top; k++) {
            if (fuzz_chance(state, ++n))
                chosen = net->layer[i]->top[k];
            if (n == 1 && !fuzz_chance(state, 3))
                return chosen;
        }
    return chosen;
}

static Caffe__LayerParameter *new_input(uint64_t *state, q8_arena *arena)
{
    static const int sizes[] = {1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 12, 16, 17};
    Caffe__LayerParameter *layer = q8_arena_alloc(arena, sizeof(*layer));
    Caffe__InputParameter *param = q8_arena_alloc(arena, sizeof(*param));
    Caffe__BlobShape *shape = q8_arena_alloc(arena, sizeof(*shape));
    check(layer);
    check(param);
    check(shape);
    caffe__layer_parameter__init(layer);
    caffe__input_parameter__init(param);
    caffe__blob_shape__init(shape);
    layer->type = q8_arena_strdup(arena, "Input");
    layer->input_param = param;
    layer->n_top = 1;
    layer->top = q8_arena_array(arena, 1, sizeof(char *));
    param->n_shape = 1;
    param->shape = q8_arena_array(arena, 1, sizeof(shape));
    shape->n_dim = fuzz_chance(state, 6) ? 2 + fuzz_below(state, 3) : 4;
    shape->dim = q8_arena_array(arena, shape->n_dim, sizeof(*shape->dim));
    check(layer->top);
    check(param->shape);
    check(shape->dim);
    param->shape[0] = shape;
    layer->name = layer->top[0] = new_name(state, "in", arena);
    for (size_t i = 0; i < shape->n_dim; i++)
        shape->dim[i] = i == 0 ? 1 : sizes[fuzz_below(state, sizeof(sizes) / sizeof(sizes[0]))];
    return layer;
}

/* Reads what is there before `at` and gets names. */
static void connect(const Caffe__NetParameter *net, size_t at, Caffe__LayerParameter *layer,
                    uint64_t *state, q8_arena *arena)
{
    layer->name = new_name(state, "l", arena);
    for (size_t i = 0; i < layer->n_bottom; i++) {
        layer->bottom[i] = some_top(net, at, state);
        if (!layer->bottom[i])
            layer->n_bottom = i;
    }
    const bool in_place = layer->n_bottom == 1 && layer->n_top == 1 && fuzz_chance(state, 3);
    for (size_t i = 0; i < layer->n_top; i++)
        layer->top[i] = in_place ? layer->bottom[0] : new_name(state, "t", arena);
}

/* Of the layers from `at` on, those that read blob `from` read `to` instead, each perhaps. */
static void divert(Caffe__NetParameter *net, size_t at, const char *from, char *to, uint64_t *state)
{
    for (size_t i = at; i < net->n_layer; i++)
        for (size_t k = 0; k < net->layer[i]->n_bottom; k++)
            if (strcmp(net->layer[i]->bottom[k], from) == 0 && (!state || !fuzz_chance(state, 4)))
                net->layer[i]->bottom[k] = to;
}

/* --- changes ---------------------------------------------------------------------------------- */

static void append_layer(Caffe__NetParameter *net, uint64_t *state, q8_arena *arena)
{
    Caffe__LayerParameter *layer = fuzz_layer_new(state, arena);
    connect(net, net->n_layer, layer, state, arena);
    insert(net, net->n_layer, layer, arena);
}

static void insert_layer(Caffe__NetParameter *net, uint64_t *state, q8_arena *arena)
{
    const size_t at = fuzz_below(state, net->n_layer + 1);
    Caffe__LayerParameter *layer = fuzz_layer_new(state, arena);
    connect(net, at, layer, state, arena);
    insert(net, at, layer, arena);
    if (layer->n_bottom && layer->n_top)
        divert(net, at + 1, layer->bottom[0], layer->top[0], state);
}

static void remove_layer(Caffe__NetParameter *net, uint64_t *state, q8_arena *arena)
{
    (void)arena;
    const size_t at = fuzz_below(state, net->n_layer);
    const Caffe__LayerParameter *layer = net->layer[at];
    for (size_t i = 0; i < layer->n_top && layer->n_bottom; i++)
        divert(net, at + 1, layer->top[i], layer->bottom[0], NULL);
    net->n_layer--;
    for (size_t i = at; i < net->n_layer; i++)
        net->layer[i] = net->layer[i + 1];
}

static void change_layer(Caffe__NetParameter *net, uint64_t *state, q8_arena *arena)
{
    fuzz_layer_change(net->layer[fuzz_below(state, net->n_layer)], state, arena);
}

static void change_bottom(Caffe__NetParameter *net, uint64_t *state, q8_arena *arena)
{
    (void)arena;
    const size_t at = fuzz_below(state, net->n_layer);
    Caffe__LayerParameter *layer = net->layer[at];
    char *top = some_top(net, at, state);
    if (layer->n_bottom && top)
        layer->bottom[fuzz_below(state, layer->n_bottom)] = top;
}

/* The name is what weights and inputs depend on. */
static void change_name(Caffe__NetParameter *net, uint64_t *state, q8_arena *arena)
{
    net->name = new_name(state, "net", arena);
}

static void (*const changes[])(Caffe__NetParameter *, uint64_t *, q8_arena *) = {
    append_layer, insert_layer, insert_layer,  remove_layer, change_layer,
    change_layer, change_layer, change_bottom, change_name,
};

Caffe__NetParameter *fuzz_net_change(const Caffe__NetParameter *net, uint64_t *state,
                                     fuzz_is_valid is_valid, q8_arena *arena)
{
    Caffe__NetParameter *copy = NULL;
    const bool anything = fuzz_chance(state, 32); /* what is refused is to be seen too */
    for (int i = 0; i < TRIES; i++) {
        copy = fuzz_text_copy(&net->base, arena);
        unsigned n = 1 + fuzz_below(state, 3);
        while (n-- > 0 && copy->n_layer)
            changes[fuzz_below(state, sizeof(changes) / sizeof(changes[0]))](copy, state, arena);
        if (anything || is_valid(copy))
            break;
    }
    return copy;
}

/* --- a new one -------------------------------------------------------------------------------- */

Caffe__NetParameter *fuzz_net_new(uint64_t *state, fuzz_is_valid is_valid, q8_arena *arena)
{
    Caffe__NetParameter *net = q8_arena_alloc(arena, sizeof(*net));
    check(net);
    caffe__net_parameter__init(net);
    change_name(net, state, arena);
    insert(net, 0, new_input(state, arena), arena);
    if (fuzz_chance(state, 6))
        insert(net, 1, new_input(state, arena), arena);
    const size_t n_layers = 2 + fuzz_below(state, MAX_LAYERS - 1);
    for (size_t i = 0; i < n_layers; i++)
        for (int k = 0; k < TRIES; k++) {
            const Caffe__NetParameter before = *net;
            append_layer(net, state, arena);
            if (is_valid(net))
                break;
            *net = before;
        }
    return net;
}
