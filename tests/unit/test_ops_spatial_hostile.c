/* Resizing, region, detection and recurrent layers with attributes as a hostile .param could bring
 * them, and with inputs that are not numbers. */
#include <limits.h>
#include <math.h>

#include "op_keys.h"

enum { SMALL = 4096, WILD = 12 };

static const int wild_ints[WILD] = {INT_MIN, -234, -233, -1,      0,       1,
                                    2,       3,    5,    1 << 16, 1 << 30, INT_MAX};
static const float wild_floats[WILD] = {NAN,  -INFINITY, -3e38f, -1,   0,        1e-30f,
                                        0.5f, 7,         3e38f,  1e9f, INFINITY, 33};
static const float lists[] = {1, 3e38f, 2, NAN, -1, 0, 1e-30f, INFINITY, 1, 2, 3, 4};

static void set_wild(q8_node *node, const q8_field *field, int i)
{
    void *at = (char *)node->attr + field->offset;
    if (field->kind == Q8_INT)
        *(int *)at = wild_ints[i];
    else if (field->kind == Q8_FLOAT)
        *(float *)at = wild_floats[i];
    else if (field->kind == Q8_FLOATS)
        *(q8_floats *)at = (q8_floats){i % 5, lists + i / 2};
}

static const float mask[] = {0, 1};

static float input[3][SMALL];

static void check_survives(q8_node *node, const q8_shape *in)
{
    static const float zeros[SMALL];
    static float made[2][SMALL];
    static q8_err err;
    const float *const from[] = {input[0], input[1], input[2]};
    float *const to[] = {made[0], made[1]};
    q8_shape out[2];
    if (infer_code(node, in, out) != Q8_OK)
        return;
    for (int i = 0; i < node->n_out; i++) {
        for (int k = 0; k < out[i].rank; k++)
            assert_true(out[i].dim[k] > 0);
        const size_t count = q8_shape_count(&out[i]);
        if (count == 0 || count > SMALL)
            return;
    }
    for (int i = 0; i < node->op->n_weights; i++) {
        const size_t count = node->op->weights[i].count(node->attr);
        assert_in_range(count, 1, SMALL);
        node->weight[i] = (q8_weight){zeros, count};
    }
    const q8_forward f = {node, in, out, from, to};
    memset(&err, 0, sizeof(err));
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    if (node->op->is_identity)
        node->op->is_identity(node, in, out);
    if (node->op->macs)
        assert_true(node->op->macs(node, in, out) >= 0);
}

/* Keys set before; {0, 0} is a harmless one or the end. */
static const struct {
    const q8_op *op;
    int n_in, n_out;
    q8_shape in[3];
    int keys[4][2];
} cases[] = {
    {&q8_op_interp, 1, 1, {{3, {2, 5, 4}}}, {{0, 1}}},
    {&q8_op_interp, 1, 1, {{3, {2, 5, 4}}}, {{0, 2}, {3, 7}, {4, 9}}},
    {&q8_op_interp, 1, 1, {{3, {2, 1, 4}}}, {{0, 2}, {6, 1}}},
    {&q8_op_reorg, 1, 1, {{3, {2, 6, 4}}}, {{0, 2}}},
    {&q8_op_pixelshuffle, 1, 1, {{3, {8, 3, 4}}}, {{0, 2}}},
    {&q8_op_roipooling, 2, 1, {{3, {2, 5, 4}}, {1, {4}}}, {{0, 3}, {1, 2}}},
    {&q8_op_psroipooling, 2, 1, {{3, {18, 5, 4}}, {1, {4}}}, {{0, 3}, {1, 3}, {3, 2}}},
    {&q8_op_roialign, 2, 1, {{3, {2, 5, 4}}, {1, {4}}}, {{0, 3}, {1, 2}, {5, 1}}},
    {&q8_op_proposal, 3, 2, {{3, {18, 2, 3}}, {3, {36, 2, 3}}, {1, {3}}}, {{3, 7}}},
    {&q8_op_yolodetectionoutput, 2, 1, {{3, {12, 2, 3}}, {3, {12, 1, 1}}}, {{0, 1}, {1, 2}}},
    {&q8_op_yolov3detectionoutput, 1, 1, {{3, {12, 2, 3}}}, {{0, 1}, {1, 2}}},
    {&q8_op_lstm, 1, 1, {{2, {3, 5}}}, {{0, 2}, {1, 40}, {3, 2}}},
    {&q8_op_rnn, 1, 1, {{2, {3, 5}}}, {{0, 2}, {1, 10}}},
};

static void check_case(q8_arena *arena, size_t k)
{
    const q8_op *op = cases[k].op;
    q8_node *node = make(arena, op, cases[k].n_in, cases[k].n_out, NULL);
    for (size_t i = 0; i < COUNT(cases[k].keys); i++)
        if (cases[k].keys[i][0] || cases[k].keys[i][1])
            set_int(node, cases[k].keys[i][0], cases[k].keys[i][1]);
    if (op == &q8_op_yolodetectionoutput || op == &q8_op_yolov3detectionoutput)
        set_floats(node, 4, 4, lists + 8);
    if (op == &q8_op_yolov3detectionoutput) {
        set_floats(node, 5, 2, mask);
        set_floats(node, 6, 1, lists + 11);
    }
    void *defaults = q8_arena_alloc(arena, op->attr_size);
    assert_non_null(defaults);
    memcpy(defaults, node->attr, op->attr_size);
    for (int a = 0; a < op->n_fields; a++)
        for (int b = a; b < op->n_fields; b++)
            for (int i = 0; i < WILD * WILD; i++) {
                memcpy(node->attr, defaults, op->attr_size);
                set_wild(node, &op->fields[a], i / WILD);
                set_wild(node, &op->fields[b], i % WILD);
                check_survives(node, cases[k].in);
            }
}

static void hostile_attributes(void **state)
{
    for (int i = 0; i < 3 * SMALL; i++)
        input[i / SMALL][i % SMALL] = sinf((float)i) * 40;
    for (size_t k = 0; k < COUNT(cases); k++)
        check_case(*state, k);
}

static void hostile_values(void **state)
{
    unsigned random = 1;
    for (int i = 0; i < 3 * SMALL; i++) {
        random = random * 1664525u + 1013904223u;
        input[i / SMALL][i % SMALL] = wild_floats[(random >> 16) % WILD];
    }
    for (size_t k = 0; k < COUNT(cases); k++)
        check_case(*state, k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {ARENA_TEST(hostile_attributes), ARENA_TEST(hostile_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
