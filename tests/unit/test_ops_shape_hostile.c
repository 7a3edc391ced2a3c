/* Pooling, normalisation, shape and SSD layers with attributes as a hostile .param could bring
 * them. */
#include <limits.h>
#include <math.h>

#include "op_keys.h"

static const int wild_ints[] = {INT_MIN, -234, -233, -1, 0, 1, 2, 3, 5, 1 << 16, 1 << 30, INT_MAX};
static const float wild_floats[] = {NAN,    -INFINITY, -3e38f, -1,    0,
                                    1e-30f, 0.5f,      7,      3e38f, INFINITY};
static const int int_lists[] = {1, -233, -233, 2, INT_MAX, -1, 0, INT_MIN};
static const float float_lists[] = {1, 3e38f, 2, NAN, -1, 0, 1e-30f, INFINITY};
enum { WILD = 12 };

static void set_wild(q8_node *node, const q8_field *field, int i)
{
    void *at = (char *)node->attr + field->offset;
    switch (field->kind) {
    case Q8_INT:
        *(int *)at = wild_ints[i];
        break;
    case Q8_FLOAT:
        *(float *)at = wild_floats[i % (int)COUNT(wild_floats)];
        break;
    case Q8_INTS:
        *(q8_ints *)at = (q8_ints){i % 4, int_lists + i / 4};
        break;
    case Q8_FLOATS:
        *(q8_floats *)at = (q8_floats){i % 4, float_lists + i / 4};
        break;
    }
}

/* Whatever the attributes: an error, or shapes that can be; then, if small, it runs. */
static void check_survives(q8_node *node, const q8_shape *in)
{
    static const float data[4096];
    static float made[3][4096];
    static q8_err err;
    const float *const ins[] = {data, data, data};
    float *const outs[] = {made[0], made[1], made[2]};
    q8_shape out[3];
    if (infer_code(node, in, out) != Q8_OK)
        return;
    for (int i = 0; i < node->n_out; i++) {
        assert_in_range(out[i].rank, 1, Q8_MAX_RANK);
        for (int k = 0; k < out[i].rank; k++)
            assert_true(out[i].dim[k] > 0);
        const size_t count = q8_shape_count(&out[i]);
        if (count == 0 || count > 4096)
            return;
    }
    if (node->op->n_weights) {
        const size_t count = node->op->weights[0].count(node->attr);
        assert_in_range(count, 1, 4096);
        node->weight[0] = (q8_weight){data, count};
    }
    const q8_forward f = {node, in, out, ins, outs};
    memset(&err, 0, sizeof(err));
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    if (node->op->is_identity)
        node->op->is_identity(node, in, out);
}

static void hostile_attributes(void **state)
{
    /* From defaults, or from keys that are accepted, so that forward() has its turn too. */
    static const struct {
        const q8_op *op;
        int n_in, n_out;
        q8_shape in[3];
        int keys[8][2]; /* set before; a pair {0, 0} is a harmless one or the end */
    } cases[] = {
        {&q8_op_pooling, 1, 1, {{3, {2, 5, 4}}}, {{1, 3}, {11, 3}, {2, 2}, {12, 2}}},
        {&q8_op_pooling,
         1,
         1,
         {{3, {2, 5, 4}}},
         {{1, 3}, {11, 2}, {2, 1}, {12, 1}, {3, 1}, {5, 1}}},
        {&q8_op_pooling, 1, 1, {{1, {5}}}, {{1, 1}}},
        {&q8_op_padding, 1, 1, {{3, {2, 5, 4}}}, {{0, 0}}},
        {&q8_op_lrn, 1, 1, {{3, {2, 5, 4}}}, {{0, 0}}},
        {&q8_op_softmax, 1, 1, {{3, {2, 5, 4}}}, {{0, 0}}},
        {&q8_op_softmax, 1, 1, {{4, {2, 2, 5, 4}}}, {{1, 1}}},
        {&q8_op_eltwise, 2, 1, {{2, {5, 4}}, {2, {5, 4}}}, {{0, 0}}},
        {&q8_op_concat, 2, 1, {{2, {5, 4}}, {2, {5, 4}}}, {{0, 0}}},
        {&q8_op_slice, 1, 3, {{2, {5, 4}}}, {{1, 0}}},
        {&q8_op_slice, 1, 1, {{1, {4}}}, {{1, 0}}},
        {&q8_op_reshape, 1, 1, {{3, {2, 5, 4}}}, {{0, -1}}},
        {&q8_op_reshape, 1, 1, {{1, {30}}}, {{0, -1}, {1, 5}}},
        {&q8_op_reshape, 1, 1, {{3, {6, 5, 4}}}, {{0, -1}, {1, 3}, {2, 0}}},
        {&q8_op_reshape, 1, 1, {{4, {2, 2, 5, 4}}}, {{0, -1}}},
        {&q8_op_permute, 1, 1, {{3, {2, 5, 4}}}, {{0, 0}}},
        {&q8_op_permute, 1, 1, {{4, {2, 2, 5, 4}}}, {{0, 0}}},
        {&q8_op_crop, 1, 1, {{3, {2, 5, 4}}}, {{3, -233}, {4, -233}, {5, -233}}},
        {&q8_op_crop, 2, 1, {{3, {2, 5, 4}}, {3, {1, 2, 3}}}, {{0, 0}}},
        {&q8_op_crop, 2, 1, {{4, {2, 2, 5, 4}}, {4, {2, 2, 5, 4}}}, {{0, 0}}},
        {&q8_op_shufflechannel, 1, 1, {{3, {6, 5, 4}}}, {{0, 1}}},
        {&q8_op_normalize, 1, 1, {{3, {3, 5, 4}}}, {{3, 3}}},
        {&q8_op_normalize, 1, 1, {{3, {3, 5, 4}}}, {{3, 1}, {1, 1}}},
        {&q8_op_priorbox, 2, 1, {{3, {1, 2, 3}}, {3, {3, 8, 9}}}, {{9, -233}, {10, -233}}},
        {&q8_op_detectionoutput, 3, 1, {{1, {12}}, {1, {9}}, {2, {2, 12}}}, {{0, 3}}},
    };
    for (size_t k = 0; k < COUNT(cases); k++) {
        const q8_op *op = cases[k].op;
        q8_node *node = make(*state, op, cases[k].n_in, cases[k].n_out, NULL);
        for (size_t i = 0; i < COUNT(cases[k].keys); i++)
            if (cases[k].keys[i][0] || cases[k].keys[i][1])
                set_int(node, cases[k].keys[i][0], cases[k].keys[i][1]);
        if (op == &q8_op_priorbox)
            set_floats(node, 0, 1, float_lists);
        void *defaults = q8_arena_alloc(*state, op->attr_size);
        assert_non_null(defaults);
        memcpy(defaults, node->attr, op->attr_size);
        /* every two fields, and every field alone */
        for (int a = 0; a < op->n_fields; a++)
            for (int b = a; b < op->n_fields; b++)
                for (int i = 0; i < WILD * WILD; i++) {
                    memcpy(node->attr, defaults, op->attr_size);
                    set_wild(node, &op->fields[a], i / WILD);
                    set_wild(node, &op->fields[b], i % WILD);
                    check_survives(node, cases[k].in);
                }
        /* many fields at once; a fixed generator, so that a failure repeats */
        unsigned random = 1;
        for (int i = 0; i < 20000; i++) {
            memcpy(node->attr, defaults, op->attr_size);
            for (int a = 0; a < op->n_fields; a++) {
                random = random * 1664525u + 1013904223u;
                set_wild(node, &op->fields[a], (int)(random >> 16) % WILD);
            }
            check_survives(node, cases[k].in);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(hostile_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
