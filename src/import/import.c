#include "import/import.h"

#include <string.h>

#define HASH_NONFATAL_OOM 1 /* leaves hh.tbl NULL when out of memory */
#include <uthash.h>

#include "import/types.h"
#include "import/weights.h"
#include "ops/input.h"
#include "ops/rows.h"
#include "ops/sequence.h"

/* The tensor that a Caffe blob name stands for at this point of the file. */
struct blob {
    const char *name;
    int tensor;
    const q8_caffe_layer *maker;
    bool read;
    UT_hash_handle hh;
};

struct importer {
    q8_caffe_import im;
    const q8_import_opts *opts;
    struct blob *blobs; /* by name */
};

static struct blob *find_blob(const struct importer *imp, const char *name)
{
    struct blob *blob;
    HASH_FIND_STR(imp->blobs, name, blob);
    return blob;
}

/* --- one layer's blobs ------------------------------------------------------------------------ */

static bool makes(const Caffe__LayerParameter *p, const char *blob)
{
    for (size_t i = 0; i < p->n_top; i++)
        if (strcmp(p->top[i], blob) == 0)
            return true;
    return false;
}

/* Nothing before the layer makes its bottom `index`: does anything else? */
static q8_code no_such_bottom(const q8_caffe_import *im, int index)
{
    const char *name = im->param->bottom[index];
    const q8_loc place = q8_caffe_loc(im->net, im->param, "bottom", index);
    const q8_loc *loc = place.line ? &place : &im->layer->loc;
    for (const q8_caffe_layer *l = im->layer; l < im->net->layer + im->net->n_layers; l++)
        if (makes(l->param, name))
            return q8_fail(im->err, Q8_EMODEL, loc, im->layer->name,
                           l == im->layer ? "bottom '%s' is made by the layer itself"
                                          : "bottom '%s' is made by a later layer, '%s' (line %d): "
                                            "a layer must come after those it reads",
                           name, l->name, l->loc.line);
    for (int i = 0; i < im->net->n_left_out; i++) {
        const q8_caffe_left_out *l = &im->net->left_out[i];
        if (makes(l->param, name))
            return q8_fail(im->err, Q8_EMODEL, loc, im->layer->name,
                           "bottom '%s' is made by layer '%s' (line %d) only, which is not part of "
                           "the network in phase TEST",
                           name, l->name, l->loc.line);
    }
    return q8_fail(im->err, Q8_EMODEL, loc, im->layer->name,
                   "bottom '%s' is not made by any layer before this one", name);
}

static q8_code connect_bottoms(struct importer *imp)
{
    q8_caffe_import *im = &imp->im;
    const Caffe__LayerParameter *p = im->param;
    int *in = q8_arena_array(im->arena, p->n_bottom + 1, sizeof(*in));
    q8_shape *shape = q8_arena_array(im->arena, p->n_bottom + 1, sizeof(*shape));
    if (!in || !shape)
        return q8_fail_nomem(im->err);
    for (size_t i = 0; i < p->n_bottom; i++) {
        struct blob *blob = find_blob(imp, p->bottom[i]);
        if (!blob)
            return no_such_bottom(im, (int)i);
        blob->read = true;
        in[i] = blob->tensor;
        shape[i] = im->graph->tensor[blob->tensor].shape;
    }
    im->in = in;
    im->in_shape = shape;
    im->n_in = (int)p->n_bottom;
    return Q8_OK;
}

static bool is_bottom(const Caffe__LayerParameter *p, const char *name)
{
    for (size_t i = 0; i < p->n_bottom; i++)
        if (strcmp(p->bottom[i], name) == 0)
            return true;
    return false;
}

static q8_code new_blob(struct importer *imp, const char *name, int tensor)
{
    struct blob *blob = q8_arena_alloc(imp->im.arena, sizeof(*blob));
    if (!blob)
        return q8_fail_nomem(imp->im.err);
    *blob = (struct blob){.name = name, .tensor = tensor, .maker = imp->im.layer};
    HASH_ADD_KEYPTR(hh, imp->blobs, blob->name, strlen(blob->name), blob);
    return blob->hh.tbl ? Q8_OK : q8_fail_nomem(imp->im.err);
}

static q8_code connect_tops(struct importer *imp)
{
    q8_caffe_import *im = &imp->im;
    const Caffe__LayerParameter *p = im->param;
    im->out = q8_arena_array(im->arena, p->n_top + 1, sizeof(*im->out));
    if (!im->out)
        return q8_fail_nomem(im->err);
    im->n_out = (int)p->n_top;
    for (size_t i = 0; i < p->n_top; i++) {
        im->out[i] = q8_graph_add_tensor(im->graph, p->top[i], NULL);
        if (im->out[i] < 0)
            return q8_fail_nomem(im->err);
        struct blob *blob = find_blob(imp, p->top[i]);
        if (blob && !is_bottom(p, p->top[i])) {
            const q8_loc loc = q8_caffe_loc(im->net, p, "top", (int)i);
            return q8_fail(im->err, Q8_EMODEL, loc.line ? &loc : &im->layer->loc, im->layer->name,
                           "top '%s' is already made by layer '%s'", p->top[i], blob->maker->name);
        }
        if (blob) /* in place: from here on the name stands for the new tensor */
            *blob = (struct blob){blob->name, im->out[i], im->layer, false, blob->hh};
        else if (new_blob(imp, p->top[i], im->out[i]) != Q8_OK)
            return Q8_ENOMEM;
    }
    return Q8_OK;
}

/* --- layers ----------------------------------------------------------------------------------- */

/* --size: applies to pictures, so to inputs of rank 3. */
static void override_size(const struct importer *imp, int first_node)
{
    const q8_graph *graph = imp->im.graph;
    for (int i = first_node; i < graph->n_nodes; i++) {
        q8_input_attr *attr = graph->node[i]->attr;
        if (graph->node[i]->op == &q8_op_input && attr->c > 0) {
            attr->w = imp->opts->width;
            attr->h = imp->opts->height;
        }
    }
}

static q8_code import_layer(struct importer *imp, const q8_caffe_layer *layer)
{
    q8_caffe_import *im = &imp->im;
    im->layer = layer;
    im->param = layer->param;
    im->last = NULL;
    q8_code code = connect_bottoms(imp);
    if (!code)
        code = connect_tops(imp);
    const int first = im->graph->n_nodes;
    if (!code)
        code = q8_op_by_caffe_type(layer->type)->from_caffe(im);
    if (!code && imp->opts->width > 0)
        override_size(imp, first);
    for (int i = first; !code && i < im->graph->n_nodes; i++)
        code = q8_infer_node(im->graph, im->graph->node[i], im->err);
    return code;
}

/* The network's outputs are the blobs that nothing reads, in the order they were made, but for
 * those that only training read. */
static q8_code find_outputs(const struct importer *imp)
{
    q8_graph *graph = imp->im.graph;
    graph->output = q8_arena_array(graph->arena, HASH_COUNT(imp->blobs) + 1, sizeof(int));
    if (!graph->output)
        return q8_fail_nomem(imp->im.err);
    for (int i = 0; i < imp->im.net->n_unwanted; i++) {
        struct blob *blob = find_blob(imp, imp->im.net->unwanted[i]);
        if (blob)
            blob->read = true;
    }
    for (const struct blob *b = imp->blobs; b; b = b->hh.next)
        if (!b->read)
            graph->output[graph->n_outputs++] = b->tensor;
    if (graph->n_outputs == 0) {
        const q8_loc loc = {.file = imp->im.net->proto_path};
        return q8_fail(imp->im.err, Q8_EMODEL, &loc, NULL, "the network has no layers");
    }
    return Q8_OK;
}

q8_code q8_import_caffe(q8_graph **graph, const q8_caffe_net *net, const q8_import_opts *opts,
                        q8_arena *arena, const q8_env *env, q8_err *err)
{
    q8_import_weights weights;
    const q8_weight_source source = {.user = &weights, .get = q8_import_weights_get};
    struct importer imp = {
        .im = {.net = net,
               .graph = q8_graph_new(arena),
               .arena = arena,
               .env = env,
               .err = err,
               .weights = &source},
        .opts = opts,
    };
    q8_code code = imp.im.graph ? q8_import_check_types(net, err) : q8_fail_nomem(err);
    if (!code)
        code = q8_import_weights_open(&weights, net, opts->weights, arena, err);
    if (!code)
        code = q8_find_sequences(&imp.im);
    for (int i = 0; !code && i < net->n_layers; i++)
        code = import_layer(&imp, &net->layer[i]);
    if (!code)
        code = find_outputs(&imp);
    HASH_CLEAR(hh, imp.blobs);
    if (!code)
        *graph = imp.im.graph;
    return code;
}
