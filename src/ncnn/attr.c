#include "ncnn/attr.h"

#include <string.h>

#include "ops/rows.h"

const q8_field *q8_field_by_key(const q8_op *op, int key)
{
    for (int i = 0; i < op->n_fields; i++)
        if (op->fields[i].key == key)
            return &op->fields[i];
    return NULL;
}

static void *at(const q8_field *field, const void *attr)
{
    return (char *)attr + field->offset;
}

int *q8_field_int(const q8_field *field, const void *attr)
{
    return at(field, attr);
}

float *q8_field_float(const q8_field *field, const void *attr)
{
    return at(field, attr);
}

q8_ints *q8_field_ints(const q8_field *field, const void *attr)
{
    return at(field, attr);
}

q8_floats *q8_field_floats(const q8_field *field, const void *attr)
{
    return at(field, attr);
}

static int default_int(const q8_op *op, const q8_field *field, const void *attr)
{
    const q8_field *same = field->same_as < 0 ? NULL : q8_field_by_key(op, field->same_as);
    return same ? *q8_field_int(same, attr) : (int)field->value;
}

void q8_field_reset(const q8_op *op, const q8_field *field, void *attr)
{
    switch (field->kind) {
    case Q8_INT:
        *q8_field_int(field, attr) = default_int(op, field, attr);
        break;
    case Q8_FLOAT:
        *q8_field_float(field, attr) = (float)field->value;
        break;
    case Q8_INTS:
        *q8_field_ints(field, attr) = (q8_ints){0};
        break;
    case Q8_FLOATS:
        *q8_field_floats(field, attr) = (q8_floats){0};
        break;
    }
}

bool q8_field_is_default(const q8_op *op, const q8_field *field, const void *attr)
{
    const float value = (float)field->value;
    switch (field->kind) {
    case Q8_INT:
        return *q8_field_int(field, attr) == default_int(op, field, attr);
    case Q8_FLOAT:
        return memcmp(q8_field_float(field, attr), &value, sizeof(value)) == 0;
    case Q8_INTS:
        return q8_field_ints(field, attr)->n == 0;
    case Q8_FLOATS:
        return q8_field_floats(field, attr)->n == 0;
    }
    return false;
}

static bool same_list(int n_a, const void *a, int n_b, const void *b)
{
    _Static_assert(sizeof(int) == 4 && sizeof(float) == 4, "ncnn's numbers have 4 bytes");
    return n_a == n_b && (n_a == 0 || memcmp(a, b, (size_t)n_a * 4) == 0);
}

bool q8_field_equal(const q8_field *field, const void *a, const void *b)
{
    switch (field->kind) {
    case Q8_INT:
    case Q8_FLOAT:
        return memcmp(at(field, a), at(field, b), 4) == 0;
    case Q8_INTS: {
        const q8_ints *x = q8_field_ints(field, a), *y = q8_field_ints(field, b);
        return same_list(x->n, x->v, y->n, y->v);
    }
    case Q8_FLOATS: {
        const q8_floats *x = q8_field_floats(field, a), *y = q8_field_floats(field, b);
        return same_list(x->n, x->v, y->n, y->v);
    }
    }
    return false;
}

/* --- int8 ------------------------------------------------------------------------------------- */

static const q8_field *term_field(const q8_op *op)
{
    return op->set_int8 ? q8_field_by_key(op, Q8_NCNN_KEY_INT8) : NULL;
}

int q8_int8_term(const q8_node *node)
{
    const q8_field *field = term_field(node->op);
    return field ? *q8_field_int(field, node->attr) : 0;
}

void q8_int8_term_clear(q8_node *node)
{
    const q8_field *field = term_field(node->op);
    if (field)
        *q8_field_int(field, node->attr) = 0;
}

size_t q8_int8_scale_count(const q8_graph *graph, const q8_node *node)
{
    const int kind = q8_int8_term(node) % 100;
    q8_linear view;
    if ((kind != 1 && kind != 2) || node->n_in != 1 || !node->op->linear ||
        !node->op->linear(node, &graph->tensor[node->in[0]].shape, &view))
        return 0;
    /* The one type that has a scale per group, or a single one, and whose term tells which. Its
     * view does not show the type: it may have one group. */
    if (node->op == &q8_op_convolutiondepthwise)
        return kind == 2 ? 1 : (size_t)view.groups;
    return (size_t)view.groups * (size_t)view.outputs;
}
