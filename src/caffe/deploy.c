/* Blobs are followed from version to version: a layer that works in place makes a new one of the
 * same name. */
#include "caffe/deploy.h"

#include <limits.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* leaves hh.tbl NULL when out of memory */
#include <uthash.h>

#include "caffe/data.h"

enum { NO_VERSION = -1 };

struct version {
    bool is_dropped; /* not there when the network is used */
    bool is_input;
    bool is_wanted;   /* what a loss would have looked at: an output */
    bool has_readers; /* dropped ones count too */
    bool is_live;     /* an output, or needed for one */
};

/* What is known of a blob by its name alone. */
struct name {
    const char *text;
    int version;                   /* at this point of the file */
    bool is_used;                  /* read by some layer that is more than training */
    bool has_softmax, has_sigmoid; /* read by one that stays in any case */
    UT_hash_handle hh;
};

/* What becomes of a layer, and the versions it reads and makes. */
struct fate {
    bool is_dropped, is_data;
    int *bottom, *top;
};

struct deploy {
    q8_caffe_net *net;
    q8_arena *arena;
    const q8_env *env;
    q8_err *err;
    struct name *names;
    struct version *version;
    size_t n_versions;
    struct fate *fate;
};

/* --- kinds of layers -------------------------------------------------------------------------- */

enum kind {
    KIND_COMPUTES,
    KIND_DATA,
    KIND_TRAINING,
    KIND_TO_SOFTMAX,
    KIND_TO_SIGMOID,
    KIND_SILENCE,
    KIND_WRITES,
};

/* Forks have a loss for every paper, and Python ones are told by their class. */
static bool is_training(const q8_caffe_layer *layer)
{
    const char *type = layer->type;
    const Caffe__PythonParameter *python = layer->param->python_param;
    if (strcmp(type, "Python") == 0) {
        if (layer->param->n_loss_weight)
            return true;
        type = python && python->layer ? python->layer : "";
    }
    return strstr(type, "Loss") || strstr(type, "Accuracy") ||
           strcmp(type, "DetectionEvaluate") == 0;
}

static enum kind kind_of(const q8_caffe_layer *layer)
{
    if (strcmp(layer->type, "Silence") == 0)
        return KIND_SILENCE;
    if (strcmp(layer->type, "HDF5Output") == 0)
        return KIND_WRITES;
    if (strcmp(layer->type, "SoftmaxWithLoss") == 0)
        return KIND_TO_SOFTMAX;
    if (strcmp(layer->type, "SigmoidCrossEntropyLoss") == 0)
        return KIND_TO_SIGMOID;
    if (q8_data_is(layer))
        return KIND_DATA;
    return is_training(layer) ? KIND_TRAINING : KIND_COMPUTES;
}

/* How many of a dropped layer's bottoms are what the network is for; the rest are labels and the
 * like. */
static int predictions(const q8_caffe_layer *layer, enum kind kind)
{
    static const struct {
        const char *type;
        int n;
    } several[] = {{"ContrastiveLoss", 2}, {"TripletLoss", 3}, {"MultiBoxLoss", 3}};
    if (kind == KIND_SILENCE)
        return 0;
    for (size_t i = 0; i < sizeof(several) / sizeof(several[0]); i++)
        if (strcmp(several[i].type, layer->type) == 0)
            return several[i].n;
    return kind == KIND_COMPUTES || kind == KIND_WRITES ? INT_MAX : 1;
}

/* --- names and versions ----------------------------------------------------------------------- */

static struct name *find_name(const struct deploy *d, const char *text)
{
    struct name *name;
    HASH_FIND_STR(d->names, text, name);
    return name;
}

/* NULL when out of memory. */
static struct name *need_name(struct deploy *d, const char *text)
{
    struct name *name = find_name(d, text);
    if (name)
        return name;
    name = q8_arena_alloc(d->arena, sizeof(*name));
    if (!name)
        return NULL;
    *name = (struct name){.text = text, .version = NO_VERSION};
    HASH_ADD_KEYPTR(hh, d->names, name->text, strlen(name->text), name);
    return name->hh.tbl ? name : NULL;
}

/* Notes who reads what, before anything is decided. */
static bool note_uses(struct deploy *d)
{
    for (int i = 0; i < d->net->n_layers; i++) {
        const q8_caffe_layer *layer = &d->net->layer[i];
        const enum kind kind = kind_of(layer);
        for (size_t k = 0; k < layer->param->n_bottom; k++) {
            struct name *name = need_name(d, layer->param->bottom[k]);
            if (!name)
                return false;
            name->is_used |= kind == KIND_COMPUTES ||
                             (k == 0 && (kind == KIND_TO_SOFTMAX || kind == KIND_TO_SIGMOID));
            name->has_softmax |= strcmp(layer->type, "Softmax") == 0;
            name->has_sigmoid |= strcmp(layer->type, "Sigmoid") == 0;
        }
    }
    return true;
}

static bool connect_bottoms(struct deploy *d, int index)
{
    const Caffe__LayerParameter *p = d->net->layer[index].param;
    int *version = d->fate[index].bottom = q8_arena_array(d->arena, p->n_bottom, sizeof(int));
    for (size_t k = 0; version && k < p->n_bottom; k++) {
        version[k] = find_name(d, p->bottom[k])->version;
        if (version[k] != NO_VERSION)
            d->version[version[k]].has_readers = true;
    }
    return version != NULL;
}

static bool connect_tops(struct deploy *d, int index)
{
    const q8_caffe_layer *layer = &d->net->layer[index];
    const Caffe__LayerParameter *p = layer->param;
    const struct version made = {
        .is_dropped = d->fate[index].is_dropped,
        .is_input = d->fate[index].is_data || strcmp(layer->type, "Input") == 0,
    };
    int *version = d->fate[index].top = q8_arena_array(d->arena, p->n_top, sizeof(int));
    for (size_t k = 0; version && k < p->n_top; k++) {
        struct name *name = need_name(d, p->top[k]);
        struct version *all =
            q8_arena_grow(d->arena, d->version, d->n_versions, sizeof(*d->version));
        if (!name || !all)
            return false;
        d->version = all;
        all[d->n_versions] = made;
        version[k] = name->version = (int)d->n_versions++;
    }
    return version != NULL;
}

static bool is_dropped(const struct deploy *d, int version)
{
    return version != NO_VERSION && d->version[version].is_dropped;
}

/* --- one layer after the other ---------------------------------------------------------------- */

static void drop(struct deploy *d, int index)
{
    const q8_caffe_layer *layer = &d->net->layer[index];
    struct fate *fate = &d->fate[index];
    int n = predictions(layer, kind_of(layer));
    fate->is_dropped = true;
    for (size_t k = 0; k < layer->param->n_bottom && n > 0; k++) {
        struct version *v = fate->bottom[k] == NO_VERSION ? NULL : &d->version[fate->bottom[k]];
        if (!v || v->is_dropped || v->is_input)
            continue;
        v->is_wanted = true;
        n--;
    }
}

/* Turns a loss into the function it contains; false: that is there already. */
static bool convert(struct deploy *d, int index, const char *type, bool is_softmax)
{
    q8_caffe_layer *layer = &d->net->layer[index];
    Caffe__LayerParameter *p = (Caffe__LayerParameter *)layer->param;
    if (p->n_bottom == 0)
        return false;
    struct name *name = find_name(d, p->bottom[0]);
    bool *done = is_softmax ? &name->has_softmax : &name->has_sigmoid;
    if (*done || is_dropped(d, d->fate[index].bottom[0]))
        return false;
    q8_warn(d->env, &layer->loc, layer->name, "%s is only used in training: read as %s",
            layer->type, type);
    *done = true;
    p->type = (char *)type;
    layer->type = type;
    p->n_bottom = 1;
    if (p->n_top > 1) /* the second is not the loss but what the loss is of */
        p->top[0] = p->top[1];
    else if (p->n_top == 0 && p->name)
        p->top = &p->name;
    p->n_top = p->top != NULL;
    return true;
}

static void drop_training(struct deploy *d, int index)
{
    const q8_caffe_layer *layer = &d->net->layer[index];
    drop(d, index);
    q8_warn(d->env, &layer->loc, layer->name, "dropped: %s is only used in training", layer->type);
}

/* A layer that computes goes when what it reads goes. */
static void check_bottoms(struct deploy *d, int index)
{
    const q8_caffe_layer *layer = &d->net->layer[index];
    for (size_t k = 0; k < layer->param->n_bottom; k++) {
        if (!is_dropped(d, d->fate[index].bottom[k]))
            continue;
        drop(d, index);
        q8_warn(d->env, &layer->loc, layer->name,
                "dropped: its bottom '%s' is only there in training", layer->param->bottom[k]);
        return;
    }
}

static void decide(struct deploy *d, int index)
{
    const q8_caffe_layer *layer = &d->net->layer[index];
    switch (kind_of(layer)) {
    case KIND_COMPUTES:
        check_bottoms(d, index);
        break;
    case KIND_DATA:
        d->fate[index].is_data = true;
        break;
    case KIND_TO_SOFTMAX:
        if (!convert(d, index, "Softmax", true))
            drop_training(d, index);
        break;
    case KIND_TO_SIGMOID:
        if (!convert(d, index, "Sigmoid", false))
            drop_training(d, index);
        break;
    case KIND_TRAINING:
        drop_training(d, index);
        break;
    case KIND_SILENCE:
        drop(d, index);
        break;
    case KIND_WRITES:
        drop(d, index);
        q8_warn(d->env, &layer->loc, layer->name, "dropped: it only writes a file");
        break;
    }
}

/* Which tops of a layer that reads data are labels. */
static void find_labels(struct deploy *d, int index)
{
    const q8_caffe_layer *layer = &d->net->layer[index];
    for (size_t k = 0; k < layer->param->n_top; k++) {
        const struct name *name = find_name(d, layer->param->top[k]);
        d->version[d->fate[index].top[k]].is_dropped =
            !name->is_used || (k > 0 && q8_data_has_labels(layer)) || strstr(name->text, "label");
    }
}

static q8_code decide_all(struct deploy *d)
{
    for (int i = 0; i < d->net->n_layers; i++) {
        if (!connect_bottoms(d, i))
            return q8_fail_nomem(d->err);
        decide(d, i);
        if (!connect_tops(d, i))
            return q8_fail_nomem(d->err);
        if (d->fate[i].is_data)
            find_labels(d, i);
    }
    return Q8_OK;
}

/* --- what is left ----------------------------------------------------------------------------- */

/* Outputs are what nothing ever read, and what losses looked at. */
static void find_live(struct deploy *d)
{
    for (size_t v = 0; v < d->n_versions; v++)
        d->version[v].is_live =
            !d->version[v].is_dropped && (d->version[v].is_wanted || !d->version[v].has_readers);
    for (int i = d->net->n_layers - 1; i >= 0; i--) {
        const Caffe__LayerParameter *p = d->net->layer[i].param;
        struct fate *fate = &d->fate[i];
        bool is_live = p->n_top == 0;
        for (size_t k = 0; k < p->n_top; k++)
            is_live |= d->version[fate->top[k]].is_live;
        for (size_t k = 0; k < p->n_bottom && is_live && !fate->is_dropped; k++)
            if (fate->bottom[k] != NO_VERSION)
                d->version[fate->bottom[k]].is_live = true;
    }
}

static q8_code note_unwanted(struct deploy *d, const char *name)
{
    q8_caffe_net *net = d->net;
    net->unwanted =
        q8_arena_grow(d->arena, net->unwanted, (size_t)net->n_unwanted, sizeof(*net->unwanted));
    if (!net->unwanted)
        return q8_fail_nomem(d->err);
    net->unwanted[net->n_unwanted++] = name;
    return Q8_OK;
}

/* Takes what is not needed off a layer; `*stays` is false when nothing is left. */
static q8_code settle(struct deploy *d, int index, bool *stays)
{
    q8_caffe_layer *layer = &d->net->layer[index];
    const struct fate *fate = &d->fate[index];
    const size_t n_top = layer->param->n_top;
    bool *keep = q8_arena_array(d->arena, n_top, sizeof(*keep));
    size_t kept = 0;
    if (!keep)
        return q8_fail_nomem(d->err);
    *stays = false;
    if (fate->is_dropped)
        return Q8_OK;
    for (size_t k = 0; k < n_top; k++)
        kept += keep[k] = d->version[fate->top[k]].is_live;
    *stays = kept > 0 || n_top == 0;
    if (!*stays) {
        q8_warn(d->env, &layer->loc, layer->name,
                fate->is_data ? "dropped: its data are only used in training"
                              : "dropped: nothing that is left reads what it makes");
        return Q8_OK;
    }
    if (fate->is_data || (kept < n_top && strcmp(layer->type, "Input") == 0))
        return q8_data_to_input(d->net, layer, keep, d->arena, d->err);
    q8_code code = Q8_OK;
    for (size_t k = 0; k < n_top && !code; k++)
        if (!keep[k])
            code = note_unwanted(d, layer->param->top[k]);
    return code;
}

static q8_code settle_all(struct deploy *d)
{
    q8_caffe_net *net = d->net;
    const int n = net->n_layers;
    bool computes = false;
    net->n_layers = 0;
    for (int i = 0; i < n; i++) {
        bool stays;
        const q8_code code = settle(d, i, &stays);
        if (code)
            return code;
        if (!stays)
            continue;
        computes |= strcmp(net->layer[i].type, "Input") != 0;
        net->layer[net->n_layers++] = net->layer[i];
    }
    const q8_loc loc = {.file = net->proto_path};
    return computes ? Q8_OK
                    : q8_fail(d->err, Q8_EMODEL, &loc, NULL,
                              "nothing is left of the network without what is only used in "
                              "training");
}

static bool is_as_used(const q8_caffe_net *net)
{
    for (int i = 0; i < net->n_layers; i++)
        if (kind_of(&net->layer[i]) != KIND_COMPUTES)
            return false;
    return true;
}

q8_code q8_caffe_deploy(q8_caffe_net *net, q8_arena *arena, const q8_env *env, q8_err *err)
{
    struct deploy d = {.net = net, .arena = arena, .env = env, .err = err};
    if (is_as_used(net))
        return Q8_OK;
    d.fate = q8_arena_array(arena, (size_t)net->n_layers, sizeof(*d.fate));
    q8_code code = d.fate && note_uses(&d) ? decide_all(&d) : q8_fail_nomem(err);
    if (!code) {
        find_live(&d);
        code = settle_all(&d);
    }
    HASH_CLEAR(hh, d.names);
    return code;
}
