/*
 * ncnn miscomputes int8 groups of 8, 16, ... outputs on x86. One Convolution per group, between a
 * Slice and a Concat, does the same sums and runs in int8 everywhere.
 */
#include "passes/passes.h"

#include <string.h>

#include "ops/conv.h"
#include "ops/rows.h"
#include "ops/simple.h"
#include "ops/slice.h"

/*
 * A group costs ncnn a few microseconds as a layer of its own, whatever it computes: with 2^18
 * multiply-adds in each, int8 takes 0.8 to 1.2 times as long as the float layer with all groups
 * (x86, AVX-512), with 2^20 0.5 to 1.1 times, but with 2^17 already 1.5 times and below up to 2.8.
 */
static const long long least_macs = 1 << 18;

static bool is_split(const q8_graph *graph, const q8_node *node)
{
    q8_linear view;
    if (node->op != &q8_op_convolutiondepthwise || node->n_in != 1 ||
        !node->op->linear(node, &graph->tensor[node->in[0]].shape, &view))
        return false;
    const bool depthwise = view.inputs == 1 && view.outputs == 1;
    const long long positions = (long long)q8_shape_spatial(&graph->tensor[node->out[0]].shape);
    const long long weights = (long long)node->weight[0].count / view.groups;
    return view.groups > 1 && !depthwise && view.outputs % 8 == 0 &&
           weights * positions >= least_macs;
}

static int groups_of(const q8_node *conv)
{
    return ((const q8_conv_attr *)conv->attr)->group;
}

static bool is_taken(const q8_graph *graph, const char *name)
{
    for (int t = 0; t < graph->n_tensors; t++)
        if (strcmp(graph->tensor[t].name, name) == 0)
            return true;
    return false;
}

/* A tensor of a name that no other has, which users may have chosen. */
static int add_tensor(q8_graph *graph, const char *layer, const char *what, int group)
{
    const char *name = q8_arena_printf(graph->arena, "%s_%s%d", layer, what, group);
    for (int id = graph->n_tensors; name && is_taken(graph, name); id++)
        name = q8_arena_printf(graph->arena, "%s_%s%d_%d", layer, what, group, id);
    return name ? q8_graph_add_tensor(graph, name, NULL) : -1;
}

/* At the end of the order; shapes of its outputs are set. */
static q8_code append(q8_graph *graph, q8_node *node, q8_err *err)
{
    for (int k = 0; k < node->n_out; k++)
        if (node->out[k] < 0)
            return q8_fail_nomem(err);
    q8_code code = q8_infer_node(graph, node, err);
    if (!code && !q8_graph_insert(graph, node, graph->n_nodes))
        code = q8_fail_nomem(err);
    return code;
}

static q8_node *new_node(q8_graph *graph, const q8_op *op, const q8_node *like, const char *name,
                         int n_in, int n_out)
{
    q8_node *node = name ? q8_node_new(graph->arena, op, name, n_in, n_out) : NULL;
    if (node)
        node->loc = like->loc;
    return node;
}

static q8_node *make_slice(q8_graph *graph, const q8_node *conv, int groups)
{
    const char *name = q8_arena_printf(graph->arena, "%s_slice", conv->name);
    q8_node *node = new_node(graph, &q8_op_slice, conv, name, 1, groups);
    int *sizes = q8_arena_array(graph->arena, (size_t)groups, sizeof(*sizes));
    if (!node || !sizes)
        return NULL;
    node->in[0] = conv->in[0];
    for (int g = 0; g < groups; g++) {
        sizes[g] = Q8_SLICE_REST;
        node->out[g] = add_tensor(graph, conv->name, "slice", g);
    }
    ((q8_slice_attr *)node->attr)->sizes = (q8_ints){groups, sizes};
    return node;
}

static q8_node *make_group(q8_graph *graph, const q8_node *conv, int group, int in)
{
    const q8_conv_attr *a = conv->attr;
    const char *name = q8_arena_printf(graph->arena, "%s_group%d", conv->name, group);
    q8_node *node = new_node(graph, &q8_op_convolution, conv, name, 1, 1);
    if (!node)
        return NULL;
    q8_conv_attr *part = node->attr;
    *part = *a;
    part->group = 1;
    part->num_output /= a->group;
    part->weight_data_size /= a->group;
    for (int w = 0; w < Q8_CONV_N_WEIGHTS; w++) { /* both are ordered by output, so by group */
        const size_t count = conv->weight[w].count / (size_t)a->group;
        if (count)
            node->weight[w] =
                (q8_weight){.data = conv->weight[w].data + count * (size_t)group, .count = count};
    }
    node->in[0] = in;
    node->out[0] = add_tensor(graph, conv->name, "group", group);
    return node;
}

static q8_code split(q8_graph *graph, const q8_node *conv, q8_err *err)
{
    const int groups = groups_of(conv);
    q8_node *slice = make_slice(graph, conv, groups);
    q8_node *concat = new_node(graph, &q8_op_concat, conv, conv->name, groups, 1);
    if (!slice || !concat)
        return q8_fail_nomem(err);
    q8_code code = append(graph, slice, err);
    for (int g = 0; g < groups && !code; g++) {
        q8_node *part = make_group(graph, conv, g, slice->out[g]);
        code = part ? append(graph, part, err) : q8_fail_nomem(err);
        if (!code)
            concat->in[g] = part->out[0];
    }
    if (code)
        return code;
    concat->out[0] = conv->out[0];
    return append(graph, concat, err);
}

q8_code q8_pass_split_groups(q8_graph *graph, q8_err *err)
{
    q8_node **old = graph->node;
    const int n_old = graph->n_nodes;
    graph->node = NULL;
    graph->n_nodes = 0;
    int n_groups = 0;
    for (int i = 0; i < n_old; i++) {
        q8_code code = Q8_OK;
        const int groups = is_split(graph, old[i]) ? groups_of(old[i]) : 0;
        if (groups && groups <= Q8_MAX_SPLIT_GROUPS - n_groups) {
            code = split(graph, old[i], err);
            n_groups += groups;
        } else if (!q8_graph_insert(graph, old[i], graph->n_nodes)) {
            code = q8_fail_nomem(err);
        }
        if (code)
            return code;
    }
    return Q8_OK;
}
