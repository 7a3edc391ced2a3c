/** Nodes set up by ncnn's keys, since some attribute structs are private to their op. */
#ifndef Q8_TESTS_OP_KEYS_H
#define Q8_TESTS_OP_KEYS_H

#include "op_fixture.h"

static inline void *member(q8_node *node, int key)
{
    for (int i = 0; i < node->op->n_fields; i++)
        if (node->op->fields[i].key == key)
            return (char *)node->attr + node->op->fields[i].offset;
    fail_msg("%s has no key %d", node->op->type, key);
    return NULL;
}

static inline void set_int(q8_node *node, int key, int value)
{
    *(int *)member(node, key) = value;
}

static inline void set_float(q8_node *node, int key, float value)
{
    *(float *)member(node, key) = value;
}

static inline void set_floats(q8_node *node, int key, int n, const float *v)
{
    *(q8_floats *)member(node, key) = (q8_floats){n, v};
}

/* A node with some int keys set; the list of pairs ends with a key of -1. */
static inline q8_node *make(q8_arena *arena, const q8_op *op, int n_in, int n_out,
                            const int (*pairs)[2])
{
    q8_node *node = q8_node_new(arena, op, "layer", n_in, n_out);
    assert_non_null(node);
    for (; pairs && (*pairs)[0] >= 0; pairs++)
        set_int(node, (*pairs)[0], (*pairs)[1]);
    return node;
}

#define KEYS(...) ((const int[][2]){__VA_ARGS__, {-1, 0}})

static inline q8_code infer_code(const q8_node *node, const q8_shape *in, q8_shape *out)
{
    static q8_err err;
    memset(&err, 0, sizeof(err));
    const q8_code code = node->op->infer(node, in, out, &err);
    assert_int_equal(err.code, code);
    assert_true(code == Q8_OK || err.text[0]);
    return code;
}

#endif
