/* Limits of base/limits.h on what a network may ask for: kept to the last number, and named. */
#include "base/limits.h"

#include <limits.h>
#include <stdio.h>

#include "op_keys.h"

static const q8_shape picture = SHAPE3(2, 5, 5);

/* A node of 3x3 windows that is valid but for what a test changes. */
static q8_node *windows(q8_arena *arena, const q8_op *op)
{
    if (op == &q8_op_padding)
        return make(arena, op, 1, 1, NULL);
    if (op == &q8_op_pooling)
        return make(arena, op, 1, 1,
                    KEYS({1, 2000}, {11, 2000}, {2, 1}, {12, 1}, {3, 1000}, {13, 1000}, {14, 1000},
                         {15, 1000}, {5, 1}));
    const bool grouped = op == &q8_op_convolutiondepthwise || op == &q8_op_deconvolutiondepthwise;
    /* A stride that leaves a deconvolution enough to cut off. */
    return make(arena, op, 1, 1,
                KEYS({0, 2}, {1, 3}, {11, 3}, {2, 1}, {12, 1}, {3, 1000}, {13, 1000},
                     {6, grouped ? 18 : 36}, {7, grouped ? 2 : 1}));
}

static void check_refused(const q8_node *node, const char *words)
{
    q8_err err = {0};
    q8_shape out;
    assert_int_equal(node->op->infer(node, &picture, &out, &err), Q8_EMODEL);
    assert_string_equal(err.layer, "layer");
    if (!strstr(err.text, words))
        fail_msg("'%s' is not in '%s'", words, err.text);
}

static void padding(void **state)
{
    const struct {
        const q8_op *op;
        struct {
            int key;
            const char *side;
        } pad[6];
    } cases[] = {
#define SIDES {4, "left"}, {15, "right"}, {14, "top"}, {16, "bottom"}
        {&q8_op_convolution, {SIDES}},
        {&q8_op_convolutiondepthwise, {SIDES}},
        {&q8_op_deconvolution, {SIDES, {18, "right output"}, {19, "bottom output"}}},
        {&q8_op_deconvolutiondepthwise, {SIDES, {18, "right output"}, {19, "bottom output"}}},
        {&q8_op_pooling, {{3, "left"}, {14, "right"}, {13, "top"}, {15, "bottom"}}},
        {&q8_op_padding, {{2, "left"}, {3, "right"}, {0, "top"}, {1, "bottom"}}},
    };
    const int above[] = {Q8_MAX_PADDING + 1, 65536, INT_MAX};
    for (size_t k = 0; k < COUNT(cases); k++)
        for (size_t i = 0; i < COUNT(cases[k].pad) && cases[k].pad[i].side; i++) {
            q8_node *node = windows(*state, cases[k].op);
            q8_shape out;
            char words[96];
            set_int(node, cases[k].pad[i].key, Q8_MAX_PADDING);
            assert_int_equal(infer_code(node, &picture, &out), Q8_OK);
            for (size_t j = 0; j < COUNT(above); j++) {
                set_int(node, cases[k].pad[i].key, above[j]);
                snprintf(words, sizeof(words),
                         "%s pad is %d; the limit is 1024 (Q8_MAX_PADDING in src/base/limits.h)",
                         cases[k].pad[i].side, above[j]);
                check_refused(node, words);
            }
            set_int(node, cases[k].pad[i].key, -1);
            snprintf(words, sizeof(words), "%s pad is -1; it must be at least 0",
                     cases[k].pad[i].side);
            check_refused(node, words);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
