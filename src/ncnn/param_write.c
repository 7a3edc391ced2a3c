#include "ncnn/ncnn.h"

#include "ncnn/attr.h"
#include "ncnn/names.h"
#include "ncnn/number.h"

/* What is known of a tensor while nodes are gone through in order. */
enum { MADE = 1, READ = 2 };

/* ncnn's rules: every blob is made once, before it is read, and read at most once. */
static q8_code check_edges(const q8_graph *graph, int *n_blobs, q8_err *err)
{
    unsigned char *state = q8_arena_alloc(graph->arena, (size_t)graph->n_tensors);
    if (!state)
        return q8_fail_nomem(err);
    *n_blobs = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        for (int k = 0; k < node->n_in; k++) {
            const int t = node->in[k];
            if (state[t] != MADE)
                return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name, "input '%s' is %s",
                               graph->tensor[t].name,
                               state[t] ? "read twice" : "not made by a layer before it");
            state[t] |= READ;
        }
        for (int k = 0; k < node->n_out; k++) {
            const int t = node->out[k];
            if (state[t])
                return q8_fail(err, Q8_EINTERNAL, &node->loc, node->name,
                               "output '%s' is made twice", graph->tensor[t].name);
            state[t] = MADE;
            ++*n_blobs;
        }
    }
    return Q8_OK;
}

static q8_code add_float(q8_buf *text, const q8_node *node, int key, float value, q8_err *err)
{
    char number[Q8_NCNN_VALUE_SIZE];
    const q8_code code = q8_node_check_float(node, key, value, err);
    if (code)
        return code;
    q8_ncnn_format_float(value, number);
    q8_buf_printf(text, "%s", number);
    return Q8_OK;
}

static q8_code add_field(q8_buf *text, const q8_node *node, const q8_field *field, q8_err *err)
{
    q8_code code = Q8_OK;
    switch (field->kind) {
    case Q8_INT:
        q8_buf_printf(text, " %d=%d", field->key, *q8_field_int(field, node->attr));
        break;
    case Q8_FLOAT:
        q8_buf_printf(text, " %d=", field->key);
        code = add_float(text, node, field->key, *q8_field_float(field, node->attr), err);
        break;
    case Q8_INTS: {
        const q8_ints *list = q8_field_ints(field, node->attr);
        q8_buf_printf(text, " %d=%d", Q8_NCNN_ARRAY_KEY - field->key, list->n);
        for (int i = 0; i < list->n; i++)
            q8_buf_printf(text, ",%d", list->v[i]);
        break;
    }
    case Q8_FLOATS: {
        const q8_floats *list = q8_field_floats(field, node->attr);
        q8_buf_printf(text, " %d=%d", Q8_NCNN_ARRAY_KEY - field->key, list->n);
        for (int i = 0; i < list->n && !code; i++) {
            q8_buf_add(text, ",", 1);
            code = add_float(text, node, field->key, list->v[i], err);
        }
        break;
    }
    }
    return code;
}

/* A layer's line, its columns where ncnn's own tools put them. */
static q8_code add_line(q8_buf *text, const q8_node *node, const char *name,
                        const q8_ncnn_names *names, q8_err *err)
{
    q8_buf_printf(text, "%-16s %-24s %d %d", node->op->type, name, node->n_in, node->n_out);
    for (int k = 0; k < node->n_in; k++)
        q8_buf_printf(text, " %s", names->tensor[node->in[k]]);
    for (int k = 0; k < node->n_out; k++)
        q8_buf_printf(text, " %s", names->tensor[node->out[k]]);
    for (int k = 0; k < node->op->n_fields; k++) {
        const q8_field *field = &node->op->fields[k];
        if (q8_field_is_default(node->op, field, node->attr))
            continue;
        q8_code code = add_field(text, node, field, err);
        if (code)
            return code;
    }
    q8_buf_add(text, "\n", 1);
    return Q8_OK;
}

q8_code q8_ncnn_param(const q8_graph *graph, q8_buf *text, q8_err *err)
{
    int n_blobs = 0;
    q8_ncnn_names names;
    q8_code code = check_edges(graph, &n_blobs, err);
    if (!code)
        code = q8_ncnn_names_make(graph, &names, err);
    if (code)
        return code;
    q8_buf_printf(text, "7767517\n%d %d\n", graph->n_nodes, n_blobs);
    for (int i = 0; i < graph->n_nodes && !code; i++)
        code = add_line(text, graph->node[i], names.node[i], &names, err);
    if (!code && text->failed)
        code = q8_fail_nomem(err);
    return code;
}
