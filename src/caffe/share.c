#include "caffe/share.h"

#include <string.h>

#define HASH_NONFATAL_OOM 1 /* leaves hh.tbl NULL when out of memory */
#include <uthash.h>

/* The first layer that has a name, or a blob of a name. */
struct first {
    const char *name;
    const q8_caffe_layer *layer;
    int index;
    UT_hash_handle hh;
};

static struct first *find(struct first *firsts, const char *name)
{
    struct first *first;
    HASH_FIND_STR(firsts, name, first);
    return first;
}

static bool add(struct first **firsts, const char *name, const q8_caffe_layer *layer, int index,
                q8_arena *arena)
{
    struct first *first = q8_arena_alloc(arena, sizeof(*first));
    if (!first)
        return false;
    *first = (struct first){.name = name, .layer = layer, .index = index};
    HASH_ADD_KEYPTR(hh, *firsts, first->name, strlen(first->name), first);
    return first->hh.tbl != NULL;
}

static bool find_namesake(struct first **layers, q8_caffe_layer *layer, q8_arena *arena)
{
    const struct first *first = find(*layers, layer->name);
    layer->namesake = first ? first->layer : NULL;
    return first || !*layer->name || add(layers, layer->name, layer, 0, arena);
}

static bool find_owners(struct first **owners, q8_caffe_layer *layer, q8_arena *arena)
{
    const Caffe__LayerParameter *p = layer->param;
    q8_caffe_share *share = q8_arena_array(arena, p->n_param, sizeof(*share));
    if (!share)
        return false;
    for (size_t i = 0; i < p->n_param; i++) {
        const char *name = p->param[i]->name;
        if (!name || !*name)
            continue;
        const struct first *owner = find(*owners, name);
        share[i] = (q8_caffe_share){
            .owner = owner ? owner->layer : NULL,
            .index = owner ? owner->index : 0,
            .is_permissive =
                p->param[i]->share_mode == CAFFE__PARAM_SPEC__DIM_CHECK_MODE__PERMISSIVE,
            .name = name,
        };
        if (!owner && !add(owners, name, layer, (int)i, arena))
            return false;
    }
    layer->share = share;
    layer->n_shares = (int)p->n_param;
    return true;
}

q8_code q8_caffe_find_shares(q8_caffe_net *net, q8_arena *arena, q8_err *err)
{
    struct first *layers = NULL, *owners = NULL;
    bool done = true;
    for (int i = 0; i < net->n_layers && done; i++)
        done = find_namesake(&layers, &net->layer[i], arena) &&
               find_owners(&owners, &net->layer[i], arena);
    HASH_CLEAR(hh, layers);
    HASH_CLEAR(hh, owners);
    return done ? Q8_OK : q8_fail_nomem(err);
}
