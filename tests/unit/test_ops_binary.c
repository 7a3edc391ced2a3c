/* BinaryOp, Reduction, Tile, Embed and MemoryData as a .param gives them: broadcasting worked out
 * by hand, and attributes that are refused. */
#include <limits.h>

#include "op_keys.h"
#include "ops/binaryop.h"

enum { TYPE = 0, WITH_SCALAR = 1, B = 2 }; /* BinaryOp's keys */

static q8_node *binary(q8_arena *arena, int type)
{
    return make(arena, &q8_op_binaryop, 2, 1, KEYS({TYPE, type}));
}

static void check_pair(const q8_node *node, q8_shape a, const float *x, q8_shape b, const float *y,
                       q8_shape expected, const float *values)
{
    static q8_err err;
    const q8_shape in[] = {a, b};
    q8_shape shape;
    float data[64], *out = data;
    const float *const inputs[] = {x, y};
    assert_int_equal(infer_code(node, in, &shape), Q8_OK);
    assert_true(q8_shape_equal(&shape, &expected));
    const q8_forward f = {node, in, &shape, inputs, &out};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    for (size_t i = 0; i < q8_shape_count(&shape); i++)
        assert_float_equal(data[i], values[i], 1e-6f);
}

static void operations(void **state)
{
    const float x[] = {2, -3}, y[] = {4, 0.5f};
    const float expected[Q8_BINARY_N_TYPES][2] = {{6, -2.5f}, {-2, -3.5f}, {8, -1.5f},
                                                  {0.5f, -6}, {4, 0.5f},   {2, -3},
                                                  {16, 0},    {2, 3.5f},   {2, -1.0f / 6}};
    const q8_shape two = {1, {2}};
    for (int type = 0; type < Q8_BINARY_N_TYPES; type++) {
        const int n = type == Q8_BINARY_POW ? 1 : 2; /* the root of -3 is not a number */
        const q8_shape shape = n == 1 ? (q8_shape){1, {1}} : two;
        check_pair(binary(*state, type), shape, x, shape, y, shape, expected[type]);
        q8_node *scalar = make(*state, &q8_op_binaryop, 1, 1, KEYS({TYPE, type}, {WITH_SCALAR, 1}));
        set_float(scalar, B, y[0]);
        check_run(scalar, (q8_shape){1, {1}}, x, (q8_shape){1, {1}}, expected[type]);
    }
}

static void broadcasting(void **state)
{
    const q8_node *add = binary(*state, Q8_BINARY_ADD), *sub = binary(*state, Q8_BINARY_SUB);
    const float x[] = {1, 2, 3, 4, 5, 6}, y[] = {10, 20, 30};
    const q8_shape matrix = {2, {2, 3}};
    check_pair(add, matrix, x, (q8_shape){1, {2}}, y, matrix, /* a row each */
               (const float[]){11, 12, 13, 24, 25, 26});
    check_pair(add, matrix, x, (q8_shape){1, {3}}, y, matrix, /* no rows of it: along them */
               (const float[]){11, 22, 33, 14, 25, 36});
    check_pair(sub, (q8_shape){1, {2}}, y, matrix, x, matrix, (const float[]){9, 8, 7, 16, 15, 14});
    check_pair(add, SHAPE3(2, 3, 1), x, SHAPE3(1, 1, 2), y, SHAPE3(2, 3, 2),
               (const float[]){11, 21, 12, 22, 13, 23, 14, 24, 15, 25, 16, 26});
    check_pair(add, SHAPE3(2, 1, 3), x, (q8_shape){2, {2, 1}}, y, SHAPE3(2, 1, 3),
               (const float[]){11, 12, 13, 24, 25, 26});
    check_pair(add, SHAPE3(2, 1, 3), x, (q8_shape){1, {1}}, y, SHAPE3(2, 1, 3),
               (const float[]){11, 12, 13, 14, 15, 16});
}

static void shapes_that_do_not_meet(void **state)
{
    const q8_node *add = binary(*state, Q8_BINARY_ADD);
    const q8_shape pairs[][2] = {
        {{1, {2}}, {1, {3}}},
        {{2, {2, 3}}, {1, {4}}},
        {SHAPE3(2, 3, 4), SHAPE3(2, 3, 3)},
        {SHAPE3(2, 3, 4), {2, {3, 4}}},
    };
    q8_shape out;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        assert_int_equal(infer_code(add, pairs[i], &out), Q8_EMODEL);
        const q8_shape swapped[] = {pairs[i][1], pairs[i][0]};
        assert_int_equal(infer_code(add, swapped, &out), Q8_EMODEL);
    }
    const q8_shape same[] = {{1, {2}}, {1, {2}}};
    const int types[] = {-1, Q8_BINARY_N_TYPES, INT_MAX, INT_MIN};
    for (size_t i = 0; i < COUNT(types); i++)
        assert_int_equal(infer_code(binary(*state, types[i]), same, &out), Q8_EUNSUPPORTED);
    const q8_node *scalar = make(*state, &q8_op_binaryop, 2, 1, KEYS({WITH_SCALAR, 1}));
    assert_int_equal(infer_code(scalar, same, &out), Q8_EMODEL);
    const q8_node *alone = make(*state, &q8_op_binaryop, 1, 1, NULL);
    assert_int_equal(infer_code(alone, same, &out), Q8_EMODEL);
}

/* With a number it is an affine map, where it is one. */
static void numbers_as_affine(void **state)
{
    const float in[] = {-2, 0.5f}, b = 4;
    for (int type = 0; type < Q8_BINARY_N_TYPES; type++) {
        q8_node *node = make(*state, &q8_op_binaryop, 1, 1, KEYS({TYPE, type}, {WITH_SCALAR, 1}));
        float factor[2], shift[2];
        set_float(node, B, b);
        const bool affine = type <= Q8_BINARY_DIV || type == Q8_BINARY_RSUB;
        assert_int_equal(node->op->as_affine(node, 2, factor, shift), affine);
        if (!affine)
            continue;
        const float expected[] = {factor[0] * in[0] + shift[0], factor[1] * in[1] + shift[1]};
        check_run(node, (q8_shape){1, {2}}, in, (q8_shape){1, {2}}, expected);
    }
    q8_node *node =
        make(*state, &q8_op_binaryop, 1, 1, KEYS({TYPE, Q8_BINARY_DIV}, {WITH_SCALAR, 1}));
    float factor[2], shift[2]; /* division by 0 must not be folded away unseen */
    assert_false(node->op->as_affine(node, 2, factor, shift));
    assert_false(node->op->as_affine(binary(*state, Q8_BINARY_ADD), 2, factor, shift));
}

/* --- Reduction -------------------------------------------------------------------------------- */

enum { REDUCE_ALL = 1, AXES = 3, KEEPDIMS = 4, FIXED = 5 }; /* its keys */

static q8_node *reduction(q8_arena *arena, int type, int keepdims, int n, const int *axes)
{
    q8_node *node = make(arena, &q8_op_reduction, 1, 1,
                         KEYS({TYPE, type}, {REDUCE_ALL, 0}, {KEEPDIMS, keepdims}, {FIXED, 1}));
    *(q8_ints *)member(node, AXES) = (q8_ints){n, axes};
    return node;
}

static void reductions(void **state)
{
    const float in[] = {1, -2, 3, 4, 0.5f, 6, 7, 8, -9, 10, 11, 12};
    const q8_shape shape = SHAPE3(2, 2, 3);
    const int all[] = {0, 1, 2}, ends[] = {0, -1}, middle[] = {1};
    check_run(reduction(*state, 4, 0, 1, middle), shape, in, (q8_shape){2, {2, 3}},
              (const float[]){4, 0.5f, 6, 10, 11, 12});
    check_run(reduction(*state, 5, 1, 1, middle), shape, in, SHAPE3(2, 1, 3),
              (const float[]){1, -2, 3, 7, 8, -9});
    check_run(reduction(*state, 0, 0, 2, ends), shape, in, (q8_shape){1, {2}},
              (const float[]){8, 43.5f});
    check_run(reduction(*state, 3, 1, 2, ends), shape, in, SHAPE3(1, 2, 1),
              (const float[]){8.0f / 6, 43.5f / 6});
    check_run(reduction(*state, 6, 0, 1, ends), shape, in, (q8_shape){2, {2, 3}},
              (const float[]){7, -16, -27, 40, 5.5f, 72});
    check_run(reduction(*state, 4, 1, 3, all), shape, in, SHAPE3(1, 1, 1), (const float[]){12});
}

static void reductions_refused(void **state)
{
    const q8_shape shape = SHAPE3(2, 2, 3);
    const int bad[] = {3}, low[] = {-4}, good[] = {1};
    q8_shape out;
    assert_int_equal(infer_code(reduction(*state, 0, 0, 1, bad), &shape, &out), Q8_EMODEL);
    assert_int_equal(infer_code(reduction(*state, 0, 0, 1, low), &shape, &out), Q8_EMODEL);
    assert_int_equal(infer_code(reduction(*state, 0, 0, 0, good), &shape, &out), Q8_EUNSUPPORTED);
    assert_int_equal(infer_code(reduction(*state, 7, 0, 1, good), &shape, &out), Q8_EUNSUPPORTED);
    assert_int_equal(infer_code(reduction(*state, -1, 0, 1, good), &shape, &out), Q8_EUNSUPPORTED);
    q8_node *old = reduction(*state, 0, 0, 1, good);
    set_int(old, FIXED, 0);
    assert_int_equal(infer_code(old, &shape, &out), Q8_EUNSUPPORTED);
}

/* --- others, as a hostile .param could have them ---------------------------------------------- */

static void hostile_constants(void **state)
{
    const int cases[][5][2] = {
        /* w, h, c, d, load type */
        {{0, 0}, {1, 0}, {2, 0}, {11, 0}, {21, 1}},
        {{0, -3}, {1, 0}, {2, 0}, {11, 0}, {21, 1}},
        {{0, 2}, {1, 0}, {2, 2}, {11, 0}, {21, 1}},
        {{0, INT_MAX}, {1, INT_MAX}, {2, INT_MAX}, {11, 0}, {21, 1}},
        {{0, INT_MIN}, {1, INT_MIN}, {2, INT_MIN}, {11, 0}, {21, 1}},
        {{0, 2}, {1, 2}, {2, 2}, {11, 2}, {21, 1}},
        {{0, 2}, {1, 2}, {2, 2}, {11, 0}, {21, 0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        q8_node *node = q8_node_new(*state, &q8_op_memorydata, "layer", 0, 1);
        q8_shape out;
        for (int k = 0; k < 5; k++)
            set_int(node, cases[i][k][0], cases[i][k][1]);
        assert_true(infer_code(node, NULL, &out) != Q8_OK);
        if (i < 5)
            assert_int_equal(node->op->weights[0].count(node->attr), 0);
    }
}

static void hostile_tiles_and_tables(void **state)
{
    const q8_shape matrix = {2, {4, 5}}, vector = {1, {4}};
    const int tiles[][2] = {{2, 1}, {-1, 1}, {0, 0}, {0, -1}, {1, INT_MAX}, {INT_MIN, 2}};
    q8_shape out;
    for (size_t i = 0; i < COUNT(tiles); i++) {
        const q8_node *node =
            make(*state, &q8_op_tile, 1, 1, KEYS({0, tiles[i][0]}, {1, tiles[i][1]}));
        assert_int_equal(infer_code(node, &matrix, &out), Q8_EMODEL);
    }
    const int tables[][3] = {{0, 0, 0}, {2, 3, 5}, {-2, -3, 6}, {65536, 65536, 0}, {2, 3, -6}};
    for (size_t i = 0; i < COUNT(tables); i++) {
        const q8_node *node = make(*state, &q8_op_embed, 1, 1,
                                   KEYS({0, tables[i][0]}, {1, tables[i][1]}, {3, tables[i][2]}));
        assert_int_equal(infer_code(node, &vector, &out), Q8_EMODEL);
    }
    const q8_node *int8 = make(*state, &q8_op_embed, 1, 1, KEYS({0, 2}, {1, 3}, {3, 6}, {18, 2}));
    assert_int_equal(infer_code(int8, &vector, &out), Q8_EUNSUPPORTED);
    const q8_node *table = make(*state, &q8_op_embed, 1, 1, KEYS({0, 2}, {1, 3}, {3, 6}));
    assert_int_equal(infer_code(table, &matrix, &out), Q8_EMODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(operations),
        ARENA_TEST(broadcasting),
        ARENA_TEST(shapes_that_do_not_meet),
        ARENA_TEST(numbers_as_affine),
        ARENA_TEST(reductions),
        ARENA_TEST(reductions_refused),
        ARENA_TEST(hostile_constants),
        ARENA_TEST(hostile_tiles_and_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
