/* What running a graph moves between memory and caches: weights, which a batch reads once, and
 * activations, which leave the caches sooner in a batch. */
#include "exec/plan.h"
#include "ops/conv.h"
#include "ops/rows.h"

/* What of a layer's output the next layer finds in a core's own cache. A constant, not this
 * machine's: results must not depend on it. */
enum { CACHE_BYTES = 1 << 20 };

/* winograd's weights are 6x6 in place of 3x3. */
static size_t forms_of(const q8_node *node)
{
    const q8_conv_attr *a = node->op == &q8_op_convolution ? node->attr : NULL;
    const bool winograd = a && a->kernel_w == 3 && a->kernel_h == 3 && a->stride_w == 1 &&
                          a->stride_h == 1 && !node->exact;
    return winograd ? 4 : 1;
}

static size_t weight_bytes(const q8_node *node)
{
    size_t bytes = 0;
    for (int k = 0; k < node->op->n_weights; k++)
        bytes += node->weight[k].count * sizeof(float) * forms_of(node);
    return bytes;
}

size_t q8_exec_weight_bytes(const q8_graph *graph)
{
    size_t bytes = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        bytes += weight_bytes(graph->node[i]);
    return bytes;
}

static double output_bytes(const q8_graph *graph, const q8_node *node)
{
    double bytes = 0;
    for (int k = 0; k < node->n_out; k++)
        bytes += (double)q8_shape_count(&graph->tensor[node->out[k]].shape) * sizeof(float);
    return bytes;
}

/* What a picture of a batch takes, in bytes moved. Measured, winograd alone at a batch of 4 gains
 * as much as if it read its weights so many times for each picture. A concatenation has to copy in
 * a batch. */
static double cost(const q8_graph *graph, const q8_node *node, int batch)
{
    enum { WINOGRAD = 4 };
    const double weights = (double)weight_bytes(node) * (forms_of(node) > 1 ? WINOGRAD : 1);
    const double outputs = output_bytes(graph, node);
    const double copied = batch > 1 && node->op == &q8_op_concat ? 2 * outputs : 0;
    const double spilled = outputs * batch > CACHE_BYTES ? outputs : 0;
    return weights / batch + copied + spilled;
}

/* Sums over the nodes from the last to the first. */
int q8_plan_front(const q8_graph *graph, int batch)
{
    int front = graph->n_nodes;
    double more = 0, least = 0;
    for (int i = graph->n_nodes - 1; i >= 0 && batch > 1; i--) {
        more += cost(graph, graph->node[i], batch) - cost(graph, graph->node[i], 1);
        if (more < least) {
            least = more;
            front = i;
        }
    }
    return front;
}

/* Measured, 4 is as good as more. */
int q8_exec_best_batch(const q8_graph *graph)
{
    enum { BATCH = 4 };
    return q8_plan_front(graph, BATCH) < graph->n_nodes ? BATCH : 1;
}
