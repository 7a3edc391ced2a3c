/* q8_net_open(): a network's structure as plain data, to look at. */
#include <string.h>

#include "api/macs.h"
#include "api/no_weights.h"
#include "api/trace.h"
#include "exec/gpu.h"
#include "import/import.h"
#include "ncnn/attr.h"
#include "ncnn/ncnn.h"
#include "passes/passes.h"

/* --- the graph -------------------------------------------------------------------------------- */

/* What a model becomes before it is described. `trace` has no nodes for ncnn and raw views. */
struct source {
    bool gpu; /* what runs where is asked for */
    q8_arena *arena;
    const char *name;
    q8_graph *graph;
    q8_trace trace;
    const q8_caffe_net *raw; /* NULL: the view is not raw */
};

/* All that the writer does to a graph, too. */
static q8_code optimise(struct source *s, q8_err *err)
{
    q8_code code = q8_trace_begin(&s->trace, s->graph, err);
    if (!code)
        code = q8_passes_optimise(s->graph, err);
    if (!code)
        code = q8_trace_end(&s->trace, err);
    if (!code)
        code = q8_pass_restore_rank(s->graph, err);
    if (!code)
        code = q8_pass_insert_splits(s->graph, err);
    return code;
}

static q8_code open_caffe(struct source *s, const q8_net_opts *opts, const q8_env *env,
                          q8_no_weights *no_weights, q8_err *err)
{
    const q8_weight_source stand_ins = q8_no_weights_source(no_weights);
    const q8_import_opts import = {
        .width = opts->width, .height = opts->height, .weights = opts->model ? NULL : &stand_ins};
    q8_caffe_net *net;
    q8_code code = q8_caffe_read(&net, opts->proto, opts->model, s->arena, env, err);
    if (code)
        return code;
    s->name = net->name;
    code = q8_import_caffe(&s->graph, net, &import, s->arena, env, err);
    s->raw = opts->raw ? net : NULL;
    return code || opts->raw ? code : optimise(s, err);
}

/* --- its description -------------------------------------------------------------------------- */

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t count_params(const q8_node *node)
{
    uint64_t count = 0;
    for (int i = 0; i < node->op->n_weights; i++)
        count += node->op->weights[i].count(node->attr);
    return count;
}

static void set_scales(q8_net_layer *layer, const q8_quant *quant)
{
    layer->in_scale = quant->bottom_scale;
    layer->out_scale = quant->top_scale;
    for (size_t i = 0; i < quant->n_weight_scales; i++) {
        const float scale = quant->weight_scales[i];
        if (i == 0 || scale < layer->weight_scale_min)
            layer->weight_scale_min = scale;
        if (i == 0 || scale > layer->weight_scale_max)
            layer->weight_scale_max = scale;
    }
}

/* What an ncnn layer's activation slot holds, as the type of a layer of its own. */
static void set_activation(q8_node *node, q8_net_layer *layer)
{
    static const char *const type[] = {
        [Q8_ACT_RELU] = "ReLU",       [Q8_ACT_LEAKY] = "ReLU", [Q8_ACT_CLIP] = "Clip",
        [Q8_ACT_SIGMOID] = "Sigmoid", [Q8_ACT_MISH] = "Mish",  [Q8_ACT_HSWISH] = "HardSwish",
    };
    const q8_activation *act = node->op->activation ? node->op->activation(node) : NULL;
    if (!act || act->type <= Q8_ACT_NONE || act->type > Q8_ACT_HSWISH)
        return;
    layer->fused = &type[act->type];
    layer->n_fused = 1;
}

/* Copies of the tensors with these ids. NULL: out of memory. */
static q8_net_tensor *tensors_of(const q8_graph *graph, const int *id, int n)
{
    q8_net_tensor *list = q8_arena_array(graph->arena, (size_t)n + 1, sizeof(*list));
    for (int i = 0; list && i < n; i++) {
        const q8_tensor *t = &graph->tensor[id[i]];
        list[i] = (q8_net_tensor){.name = t->name, .rank = t->shape.rank};
        memcpy(list[i].dim, t->shape.dim, (size_t)t->shape.rank * sizeof(int));
    }
    return list;
}

static q8_code describe_node(const q8_graph *graph, const q8_node *node, q8_net_layer *layer,
                             q8_err *err)
{
    q8_shape *in = q8_arena_array(graph->arena, (size_t)node->n_in + 1, sizeof(*in));
    q8_shape *out = q8_arena_array(graph->arena, (size_t)node->n_out + 1, sizeof(*out));
    *layer = (q8_net_layer){
        .name = node->name,
        .type = node->op->type,
        .in = tensors_of(graph, node->in, node->n_in),
        .out = tensors_of(graph, node->out, node->n_out),
        .n_in = (size_t)node->n_in,
        .n_out = (size_t)node->n_out,
        .params = count_params(node),
        .int8 = q8_int8_term(node) != 0,
    };
    if (!in || !out || !layer->in || !layer->out)
        return q8_fail_nomem(err);
    for (int i = 0; i < node->n_in; i++)
        in[i] = graph->tensor[node->in[i]].shape;
    for (int i = 0; i < node->n_out; i++)
        out[i] = graph->tensor[node->out[i]].shape;
    layer->macs = q8_node_macs(node, in, out);
    if (node->quant)
        set_scales(layer, node->quant);
    return Q8_OK;
}

/* What became of the file's layers. Nodes that are left stand in the same order before and after,
 * with new ones in between. */
static void describe_fused(const struct source *s, q8_net *net, q8_net_layer *layer)
{
    const q8_trace *trace = &s->trace;
    for (int i = 0, now = 0; i < trace->before->n_nodes; i++) {
        if (!trace->node[i])
            continue;
        while (now < s->graph->n_nodes && s->graph->node[now] != trace->node[i])
            now++;
        if (now == s->graph->n_nodes)
            break;
        layer[now].fused = trace->fused[i].type;
        layer[now].n_fused = trace->fused[i].n;
    }
    net->n_fused = trace->n_fused;
    net->n_dropped = trace->n_gone - trace->n_fused;
}

/* A node that stands for a whole Caffe layer has that layer's type. Nodes are in the order of the
 * layers they were made of. */
static void describe_raw(const struct source *s, q8_net_layer *layer)
{
    const q8_caffe_net *net = s->raw;
    for (int i = 0, k = 0; i < s->graph->n_nodes; i++) {
        const q8_node *node = s->graph->node[i];
        while (k < net->n_layers && (net->layer[k].loc.line != node->loc.line ||
                                     net->layer[k].loc.column != node->loc.column))
            k++;
        if (k < net->n_layers && strcmp(net->layer[k].name, node->name) == 0)
            layer[i].type = net->layer[k].type;
    }
}

/* Inputs and other names of a tensor run nowhere. */
static bool runs_on_cpu(const q8_graph *graph, const q8_node *node)
{
    const q8_shape *out = &graph->tensor[node->out[0]].shape;
    if (node->n_in == 0 || q8_gpu_takes(graph, node, 1))
        return false;
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    return !(node->n_in == 1 && node->op->is_identity && node->op->is_identity(node, in, out));
}

static q8_code describe(const struct source *s, q8_net *net, q8_err *err)
{
    const q8_graph *graph = s->graph;
    q8_net_layer *layer = q8_arena_array(s->arena, (size_t)graph->n_nodes + 1, sizeof(*layer));
    if (!layer)
        return q8_fail_nomem(err);
    net->name = s->name;
    net->layer = layer;
    net->n_layers = (size_t)graph->n_nodes;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_code code = describe_node(graph, graph->node[i], &layer[i], err);
        if (code)
            return code;
        net->params = add(net->params, layer[i].params);
        net->macs = add(net->macs, layer[i].macs);
        layer[i].on_cpu = s->gpu && runs_on_cpu(graph, graph->node[i]);
        net->n_int8 += layer[i].int8;
    }
    if (s->raw)
        describe_raw(s, layer);
    if (s->trace.before)
        describe_fused(s, net, layer);
    else
        for (int i = 0; i < graph->n_nodes; i++)
            set_activation(graph->node[i], &layer[i]);
    return Q8_OK;
}

q8_code q8_net_open(q8_net **net, const q8_net_opts *opts, const q8_env *env, q8_err *err)
{
    *net = NULL;
    if (opts->gpu && !q8_gpu_is_built())
        return q8_gpu_fail_not_built(err);
    if (opts->gpu && opts->param)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "what runs on a GPU is a Caffe network");
    struct source s = {.arena = q8_arena_open(), .name = "", .gpu = opts->gpu};
    q8_no_weights no_weights = {.arena = s.arena};
    q8_net *made = s.arena ? q8_arena_alloc(s.arena, sizeof(*made)) : NULL;
    q8_code code = made ? Q8_OK : q8_fail_nomem(err);
    if (!code)
        code = opts->param ? q8_ncnn_load(&s.graph, opts->param, opts->bin, s.arena, err)
                           : open_caffe(&s, opts, env, &no_weights, err);
    if (!code)
        code = describe(&s, made, err);
    if (code) {
        q8_arena_close(&s.arena);
        return code;
    }
    made->memory = s.arena;
    *net = made;
    return Q8_OK;
}

void q8_net_close(q8_net **net)
{
    if (!*net)
        return;
    q8_arena *arena = (*net)->memory;
    q8_arena_close(&arena);
    *net = NULL;
}
