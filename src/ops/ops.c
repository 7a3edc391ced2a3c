#include "ops/op.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/rows.h"

const q8_op *const q8_ops[] = {
#define Q8_OP(name) &q8_op_##name,
#include "ops/ops.def"
#undef Q8_OP
};

const int q8_n_ops = (int)(sizeof(q8_ops) / sizeof(q8_ops[0]));

const q8_op *q8_op_by_type(const char *type)
{
    for (int i = 0; i < q8_n_ops; i++)
        if (strcmp(q8_ops[i]->type, type) == 0)
            return q8_ops[i];
    return NULL;
}

const q8_op *q8_op_by_caffe_type(const char *caffe_type)
{
    for (int i = 0; i < q8_n_ops; i++)
        for (const char *const *name = q8_ops[i]->caffe_types; name && *name; name++)
            if (strcmp(*name, caffe_type) == 0)
                return q8_ops[i];
    return NULL;
}

/* Numbers at the defaults of the field table; lists stay empty. */
static void set_defaults(const q8_op *op, void *attr)
{
    for (int i = 0; i < op->n_fields; i++) {
        const q8_field *field = &op->fields[i];
        void *member = (char *)attr + field->offset;
        if (field->kind == Q8_INT)
            *(int *)member = (int)field->value;
        else if (field->kind == Q8_FLOAT)
            *(float *)member = (float)field->value;
    }
}

q8_node *q8_node_new(q8_arena *arena, const q8_op *op, const char *name, int n_in, int n_out)
{
    q8_node *node = q8_arena_alloc(arena, sizeof(*node));
    if (!node)
        return NULL;
    node->op = op;
    node->name = name;
    node->n_in = n_in;
    node->n_out = n_out;
    node->attr = q8_arena_alloc(arena, op->attr_size);
    node->in = q8_arena_array(arena, (size_t)n_in + 1, sizeof(int));
    node->out = q8_arena_array(arena, (size_t)n_out + 1, sizeof(int));
    if (!node->attr || !node->in || !node->out)
        return NULL;
    set_defaults(op, node->attr);
    return node;
}

/* `max` -1: any number. */
static q8_code check_count(const q8_node *node, const char *what, int n, int min, int max,
                           q8_err *err)
{
    char range[64];
    if (n >= min && (max < 0 || n <= max))
        return Q8_OK;
    if (max < 0)
        snprintf(range, sizeof(range), "at least %d", min);
    else if (max > min)
        snprintf(range, sizeof(range), "only %d to %d", min, max);
    else
        snprintf(range, sizeof(range), "only %d", min);
    return q8_fail(err, Q8_EMODEL, &node->loc, node->name, "%s cannot have %d %s, %s",
                   node->op->type, n, what, range);
}

float *q8_own_bias(q8_arena *arena, q8_node *node, const q8_linear *linear)
{
    const size_t count = (size_t)linear->groups * (size_t)linear->outputs;
    float *bias = q8_arena_array(arena, count, sizeof(float));
    if (!bias)
        return NULL;
    if (node->weight[1].count == count)
        memcpy(bias, node->weight[1].data, count * sizeof(float));
    else
        node->op->set_bias(node);
    node->weight[1] = (q8_weight){.data = bias, .count = count};
    return bias;
}

static q8_code check_counts(const q8_node *node, q8_err *err)
{
    const q8_op *op = node->op;
    q8_code code = check_count(node, "inputs", node->n_in, op->min_in, op->max_in, err);
    return code ? code : check_count(node, "outputs", node->n_out, op->min_out, op->max_out, err);
}

q8_code q8_node_check_float(const q8_node *node, int key, float value, q8_err *err)
{
    if (isfinite(value))
        return Q8_OK;
    return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                   "%s parameter %d is %g, which an ncnn model cannot hold", node->op->type, key,
                   (double)value);
}

static q8_code check_floats(const q8_node *node, q8_err *err)
{
    q8_code code = Q8_OK;
    for (int i = 0; i < node->op->n_fields && !code; i++) {
        const q8_field *field = &node->op->fields[i];
        const void *member = (const char *)node->attr + field->offset;
        const q8_floats *list = member;
        if (field->kind == Q8_FLOAT)
            code = q8_node_check_float(node, field->key, *(const float *)member, err);
        for (int k = 0; field->kind == Q8_FLOATS && k < list->n && !code; k++)
            code = q8_node_check_float(node, field->key, list->v[k], err);
    }
    return code;
}

q8_code q8_infer_node(q8_graph *graph, q8_node *node, q8_err *err)
{
    q8_code code = check_counts(node, err);
    if (!code)
        code = check_floats(node, err);
    if (code)
        return code;
    q8_shape *in = q8_arena_array(graph->arena, (size_t)node->n_in + 1, sizeof(*in));
    q8_shape *out = q8_arena_array(graph->arena, (size_t)node->n_out + 1, sizeof(*out));
    if (!in || !out)
        return q8_fail_nomem(err);
    for (int i = 0; i < node->n_in; i++)
        in[i] = graph->tensor[node->in[i]].shape;
    code = node->op->infer(node, in, out, err);
    if (code)
        return code;
    for (int i = 0; i < node->n_out; i++) {
        char text[64];
        if (q8_shape_count(&out[i]) == 0)
            return q8_fail(
                err, Q8_EMODEL, &node->loc, node->name,
                "output %d would have the shape %s: empty or too many elements; " Q8_LIMIT, i,
                q8_shape_text(&out[i], text), Q8_LIMIT_OF(Q8_MAX_ELEMENTS));
        graph->tensor[node->out[i]].shape = out[i];
    }
    return Q8_OK;
}
