/** What the tests of ops share: nodes made by hand and run once. */
#ifndef Q8_TESTS_OP_FIXTURE_H
#define Q8_TESTS_OP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ops/rows.h"

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define SHAPE3(c, h, w) ((q8_shape){3, {c, h, w}})

static inline q8_node *new_node(q8_arena *arena, const q8_op *op, const void *attr)
{
    q8_node *node = q8_node_new(arena, op, "layer", 1, 1);
    assert_non_null(node);
    if (attr)
        memcpy(node->attr, attr, op->attr_size);
    return node;
}

static inline void set_weight(q8_node *node, int slot, const float *data, size_t count)
{
    assert_int_equal(node->op->weights[slot].count(node->attr), count);
    node->weight[slot] = (q8_weight){.data = data, .count = count};
}

/* Infers and runs a node of one input and one output, and compares with what is expected. */
static inline void check_run(const q8_node *node, q8_shape in_shape, const float *in,
                             q8_shape expected, const float *values)
{
    static q8_err err;
    q8_shape shape;
    float data[256], *out = data;
    memset(&err, 0, sizeof(err));
    assert_int_equal(node->op->infer(node, &in_shape, &shape, &err), Q8_OK);
    assert_true(q8_shape_equal(&shape, &expected));
    assert_true(q8_shape_count(&shape) <= COUNT(data));
    const q8_forward f = {node, &in_shape, &shape, &in, &out};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    for (size_t i = 0; i < q8_shape_count(&shape); i++)
        assert_float_equal(data[i], values[i], 1e-5f);
}

static inline int setup(void **state)
{
    return (*state = q8_arena_open()) ? 0 : -1;
}

static inline int teardown(void **state)
{
    q8_arena_close((q8_arena **)state);
    return 0;
}

/** A test with an arena as its state. */
#define ARENA_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
