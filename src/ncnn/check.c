#include "ncnn/check.h"

#include <string.h>

#include "ncnn/attr.h"
#include "ncnn/half.h"
#include "ncnn/names.h"

static q8_code differs(const q8_node *node, q8_err *err, const char *what)
{
    return q8_fail(err, Q8_EINTERNAL, NULL, node->name, "what was written reads back with other %s",
                   what);
}

/* Names tell tensors apart on both sides, so equal names mean equal edges. */
static bool same_tensors(const char *const *name, const int *id, int n, const q8_graph *back,
                         const int *back_id, int back_n)
{
    if (n != back_n)
        return false;
    for (int i = 0; i < n; i++)
        if (strcmp(name[id[i]], back->tensor[back_id[i]].name) != 0)
            return false;
    return true;
}

static bool same_floats(const float *a, const float *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

static bool same_halfs(const float *full, const float *rounded, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float want = q8_half_to_float(q8_half_from_float(full[i]));
        if (memcmp(&want, &rounded[i], sizeof(want)) != 0)
            return false;
    }
    return true;
}

static bool same_weight(const q8_node *a, const q8_node *b, int index, bool fp16)
{
    const q8_weight *x = &a->weight[index], *y = &b->weight[index];
    if (x->count != y->count)
        return false;
    if (index == 0 && a->quant)
        return b->quant && memcmp(a->quant->weight, b->quant->weight, x->count) == 0;
    if (fp16 && a->op->weights[index].tagged && q8_half_fits(x->data, x->count))
        return same_halfs(x->data, y->data, x->count);
    return same_floats(x->data, y->data, x->count);
}

static bool same_scales(const q8_quant *a, const q8_quant *b)
{
    if (!a || !b)
        return !a && !b;
    return a->n_weight_scales == b->n_weight_scales &&
           same_floats(a->weight_scales, b->weight_scales, a->n_weight_scales) &&
           same_floats(&a->bottom_scale, &b->bottom_scale, 1) &&
           same_floats(&a->top_scale, &b->top_scale, 1);
}

static q8_code check_node(const q8_node *a, const q8_node *b, bool fp16, q8_err *err)
{
    for (int i = 0; i < a->op->n_fields; i++)
        if (!q8_field_equal(&a->op->fields[i], a->attr, b->attr))
            return differs(a, err, "parameters");
    for (int i = 0; i < a->op->n_weights; i++)
        if (!same_weight(a, b, i, fp16))
            return differs(a, err, "weights");
    return same_scales(a->quant, b->quant) ? Q8_OK : differs(a, err, "scales");
}

q8_code q8_ncnn_check(const q8_graph *graph, const q8_graph *back, bool fp16, q8_err *err)
{
    q8_ncnn_names names;
    q8_code code = q8_ncnn_names_make(graph, &names, err);
    if (code)
        return code;
    if (graph->n_nodes != back->n_nodes)
        return q8_fail(err, Q8_EINTERNAL, NULL, NULL,
                       "read back after writing, the network has %d layers, not %d", back->n_nodes,
                       graph->n_nodes);
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        const q8_node *a = graph->node[i], *b = back->node[i];
        if (a->op != b->op)
            return differs(a, err, "types");
        if (strcmp(names.node[i], b->name) != 0)
            return differs(a, err, "names");
        if (!same_tensors(names.tensor, a->in, a->n_in, back, b->in, b->n_in) ||
            !same_tensors(names.tensor, a->out, a->n_out, back, b->out, b->n_out))
            return differs(a, err, "blobs");
        code = check_node(a, b, fp16, err);
    }
    return code;
}
