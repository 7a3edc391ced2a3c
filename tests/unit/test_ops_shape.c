/* Pooling, normalisation, shape and SSD layers: small examples worked out by hand. */
#include <limits.h>
#include <math.h>

#include "op_keys.h"
#include "ops/pooling.h"
#include "ops/simple.h"

/* Runs a node of several inputs, whose shapes it accepts, into `out`. */
static void run_node(const q8_node *node, const q8_shape *in_shape, const float *const *in,
                     q8_shape *out_shape, float *const *out)
{
    static q8_err err;
    assert_int_equal(infer_code(node, in_shape, out_shape), Q8_OK);
    memset(&err, 0, sizeof(err));
    const q8_forward f = {node, in_shape, out_shape, in, out};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
}

static void check_values(const float *got, const float *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_float_equal(got[i], expected[i], 1e-5f);
}

static bool identity(const q8_node *node, q8_shape in)
{
    q8_shape out[4];
    assert_int_equal(infer_code(node, &in, out), Q8_OK);
    return node->op->is_identity(node, &in, out);
}

/* --- pooling and padding ------------------------------------------------------------------------
 */

static const float nine[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void max_pooling(void **state)
{
    /* 3x3, kernel 2, stride 2 */
    const q8_pooling_attr full = {.kernel_w = 2, .kernel_h = 2, .stride_w = 2, .stride_h = 2};
    q8_pooling_attr attr = full;
    q8_node *node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), nine, SHAPE3(1, 2, 2), (const float[]){5, 6, 8, 9});
    attr.mode = Q8_POOL_VALID;
    node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), nine, SHAPE3(1, 1, 1), (const float[]){5});
    /* the border of all negative values must not win as a zero */
    attr.pad_left = attr.pad_top = 1;
    node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), (const float[]){-1, -2, -3, -4, -5, -6, -7, -8, -9},
              SHAPE3(1, 2, 2), (const float[]){-1, -2, -4, -5});
}

static void average_pooling(void **state)
{
    q8_pooling_attr attr = {
        .type = Q8_POOL_AVE, .kernel_w = 2, .kernel_h = 2, .stride_w = 2, .stride_h = 2};
    q8_node *node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), nine, SHAPE3(1, 2, 2), (const float[]){3, 4.5f, 7.5f, 9});
    attr.mode = Q8_POOL_VALID;
    attr.pad_left = attr.pad_top = 1;
    node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), nine, SHAPE3(1, 2, 2), (const float[]){1, 2.5f, 5.5f, 7});
    attr.count_include_pad = 1;
    node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), nine, SHAPE3(1, 2, 2),
              (const float[]){0.25f, 1.25f, 2.75f, 7});
    attr = (q8_pooling_attr){.type = Q8_POOL_AVE, .global_pooling = 1, .count_include_pad = 1};
    node = new_node(*state, &q8_op_pooling, &attr);
    check_run(node, SHAPE3(1, 3, 3), nine, SHAPE3(1, 1, 1), (const float[]){5});
}

static void pooling_windows_that_fit_nowhere(void **state)
{
    const struct {
        int key, value;
        q8_code code;
    } cases[] = {
        {0, 2, Q8_EUNSUPPORTED},  {5, 2, Q8_EUNSUPPORTED},  {5, 3, Q8_EUNSUPPORTED},
        {7, 1, Q8_EUNSUPPORTED},  {1, 0, Q8_EMODEL},        {1, -1, Q8_EMODEL},
        {1, 4, Q8_EMODEL},        {1, INT_MAX, Q8_EMODEL},  {2, 0, Q8_EMODEL},
        {12, -1, Q8_EMODEL},      {12, INT_MAX, Q8_EMODEL}, {3, -1, Q8_EMODEL},
        {3, 2, Q8_EMODEL},        {14, -1, Q8_EMODEL},      {14, 2, Q8_EMODEL},
        {14, INT_MAX, Q8_EMODEL}, {13, INT_MIN, Q8_EMODEL},
    };
    const q8_shape in = SHAPE3(1, 3, 3);
    q8_shape out;
    for (size_t i = 0; i < COUNT(cases); i++) {
        q8_node *node = make(*state, &q8_op_pooling, 1, 1,
                             KEYS({1, 2}, {11, 2}, {2, 1}, {12, 1}, {5, Q8_POOL_VALID}));
        assert_int_equal(infer_code(node, &in, &out), Q8_OK);
        set_int(node, cases[i].key, cases[i].value);
        assert_int_equal(infer_code(node, &in, &out), cases[i].code);
    }
}

static void pooling_identity(void **state)
{
    q8_pooling_attr attr = {.kernel_w = 1, .kernel_h = 1, .stride_w = 1, .stride_h = 1};
    assert_true(identity(new_node(*state, &q8_op_pooling, &attr), SHAPE3(2, 3, 3)));
    attr.kernel_w = attr.kernel_h = 3;
    attr.pad_left = attr.pad_right = attr.pad_top = attr.pad_bottom = 1;
    assert_false(identity(new_node(*state, &q8_op_pooling, &attr), SHAPE3(2, 3, 3)));
    attr = (q8_pooling_attr){.global_pooling = 1};
    assert_true(identity(new_node(*state, &q8_op_pooling, &attr), SHAPE3(2, 1, 1)));
}

static void padding(void **state)
{
    q8_padding_attr attr = {.top = 1, .left = 2, .right = 1, .value = 0.5f};
    check_run(new_node(*state, &q8_op_padding, &attr), SHAPE3(2, 1, 1), (const float[]){7, 8},
              SHAPE3(2, 2, 4),
              (const float[]){.5f, .5f, .5f, .5f, .5f, .5f, 7, .5f, .5f, .5f, .5f, .5f, .5f, .5f, 8,
                              .5f});
    const q8_shape in = SHAPE3(1, 2, 2);
    q8_shape out;
    attr.bottom = -1;
    assert_int_equal(infer_code(new_node(*state, &q8_op_padding, &attr), &in, &out), Q8_EMODEL);
    attr = (q8_padding_attr){.type = 1};
    assert_int_equal(infer_code(new_node(*state, &q8_op_padding, &attr), &in, &out),
                     Q8_EUNSUPPORTED);
}

/* --- normalisation ------------------------------------------------------------------------------
 */

static void lrn(void **state)
{
    q8_lrn_attr attr = {.size = 3, .alpha = 3, .beta = 1, .bias = 2};
    q8_node *node = new_node(*state, &q8_op_lrn, &attr);
    /* 1/(2+1+4), 2/(2+1+4+9), 3/(2+4+9) */
    check_run(node, SHAPE3(3, 1, 1), (const float[]){1, 2, 3}, SHAPE3(3, 1, 1),
              (const float[]){1 / 7.f, 2 / 16.f, 3 / 15.f});
    attr.region = Q8_LRN_WITHIN_CHANNEL;
    attr.alpha = 9;
    node = new_node(*state, &q8_op_lrn, &attr);
    check_run(node, SHAPE3(1, 1, 3), (const float[]){1, 2, 3}, SHAPE3(1, 1, 3),
              (const float[]){1 / 7.f, 2 / 16.f, 3 / 15.f});
    const q8_shape in = SHAPE3(1, 1, 3);
    q8_shape out;
    const int sizes[] = {0, -1, 4, INT_MAX, INT_MIN, 65537};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        attr.size = sizes[i];
        assert_int_equal(infer_code(new_node(*state, &q8_op_lrn, &attr), &in, &out), Q8_EMODEL);
    }
}

static void softmax(void **state)
{
    const float in[] = {0, 1000, logf(3), 1000}, by_row[] = {0, 1, 0, 1};
    const float by_column[] = {0.25f, 0.5f, 0.75f, 0.5f};
    q8_softmax_attr attr = {.axis = -1, .fixed_axis = 1};
    const q8_shape matrix = {2, {2, 2}};
    check_run(new_node(*state, &q8_op_softmax, &attr), matrix, in, matrix, by_row);
    attr.axis = 0;
    check_run(new_node(*state, &q8_op_softmax, &attr), matrix, in, matrix, by_column);
    q8_shape out;
    attr = (q8_softmax_attr){.axis = 1};
    assert_int_equal(infer_code(new_node(*state, &q8_op_softmax, &attr), &matrix, &out),
                     Q8_EUNSUPPORTED);
    attr = (q8_softmax_attr){.axis = 2, .fixed_axis = 1};
    assert_int_equal(infer_code(new_node(*state, &q8_op_softmax, &attr), &matrix, &out), Q8_EMODEL);
}

static void normalize(void **state)
{
    /* over the two channels, then a scale for each */
    const float in[] = {3, 0, 4, 2}, scale[] = {10, 20};
    q8_node *node =
        make(*state, &q8_op_normalize, 1, 1, KEYS({0, 0}, {1, 0}, {3, 2}, {4, 1}, {9, 0}));
    set_float(node, 2, 0);
    set_weight(node, 0, scale, 2);
    check_run(node, SHAPE3(2, 1, 2), in, SHAPE3(2, 1, 2), (const float[]){6, 0, 16, 20});
    set_float(node, 2, 75); /* 3/sqrt(25+75) */
    check_run(node, SHAPE3(2, 1, 2), in, SHAPE3(2, 1, 2),
              (const float[]){3, 0, 8, 2 / sqrtf(79) * 20});
    const q8_shape three = SHAPE3(3, 1, 2);
    q8_shape out;
    assert_int_equal(infer_code(node, &three, &out), Q8_EMODEL); /* two scales */
}

/* --- moving elements ----------------------------------------------------------------------------
 */

static void eltwise(void **state)
{
    const float a[] = {1, -2}, b[] = {3, 5}, c[] = {-4, 0.5f}, coeffs[] = {2, -1, 0.5f};
    const float *const in[] = {a, b, c};
    const q8_shape shapes[] = {{1, {2}}, {1, {2}}, {1, {2}}};
    const float expected[][2] = {{-12, -5}, {0, 3.5f}, {3, 5}, {-3, -8.75f}};
    for (int i = 0; i < 4; i++) {
        q8_node *node = make(*state, &q8_op_eltwise, 3, 1, KEYS({0, i < 3 ? i : 1}));
        if (i == 3)
            set_floats(node, 1, 3, coeffs);
        q8_shape out_shape;
        float data[2], *out = data;
        run_node(node, shapes, in, &out_shape, &out);
        check_values(data, expected[i], 2);
    }
    q8_node *node = make(*state, &q8_op_eltwise, 3, 1, KEYS({0, 1}));
    set_floats(node, 1, 2, coeffs);
    q8_shape out_shape;
    assert_int_equal(infer_code(node, shapes, &out_shape), Q8_EMODEL);
    const q8_shape unlike[] = {{1, {2}}, {1, {2}}, {2, {1, 2}}};
    node = make(*state, &q8_op_eltwise, 3, 1, NULL);
    assert_int_equal(infer_code(node, unlike, &out_shape), Q8_EMODEL);
}

static void concat_and_slice(void **state)
{
    const float a[] = {1, 2, 3, 4}, b[] = {5, 6};
    const float *const in[] = {a, b};
    const q8_shape shapes[] = {{2, {2, 2}}, {2, {2, 1}}};
    q8_node *node = make(*state, &q8_op_concat, 2, 1, KEYS({0, -1}));
    float data[6], *out = data;
    q8_shape joined;
    run_node(node, shapes, in, &joined, &out);
    assert_true(q8_shape_equal(&joined, &(q8_shape){2, {2, 3}}));
    check_values(data, (const float[]){1, 2, 5, 3, 4, 6}, 6);
    set_int(node, 0, 0);
    assert_int_equal(infer_code(node, shapes, &joined), Q8_EMODEL);

    /* and back */
    node = make(*state, &q8_op_slice, 1, 2, KEYS({1, 1}));
    const int sizes[] = {2, -233}, shares[] = {-233, -233}, short_sizes[] = {2, 0}, all[] = {1, 1};
    q8_ints *list = member(node, 0);
    *list = (q8_ints){2, sizes};
    const q8_shape six = {2, {2, 3}};
    const float *whole = data;
    float first[4], second[2], *const parts[] = {first, second};
    q8_shape out_shapes[2];
    run_node(node, &six, &whole, out_shapes, parts);
    check_values(first, a, 4);
    check_values(second, b, 2);
    *list = (q8_ints){2, shares}; /* 3 / 2, then the rest */
    assert_int_equal(infer_code(node, &six, out_shapes), Q8_OK);
    assert_int_equal(out_shapes[0].dim[1], 1);
    assert_int_equal(out_shapes[1].dim[1], 2);
    *list = (q8_ints){2, short_sizes};
    assert_int_equal(infer_code(node, &six, out_shapes), Q8_EMODEL);
    *list = (q8_ints){2, all}; /* one is left */
    assert_int_equal(infer_code(node, &six, out_shapes), Q8_EMODEL);
    *list = (q8_ints){1, sizes};
    assert_int_equal(infer_code(node, &six, out_shapes), Q8_EMODEL);
}

static void permute(void **state)
{
    /* {2,1,3}: 1 2 3 / 4 5 6 */
    const float in[] = {1, 2, 3, 4, 5, 6}, across[] = {1, 4, 2, 5, 3, 6};
    const struct {
        q8_shape shape;
        const float *values;
    } expected[] = {
        {SHAPE3(2, 1, 3), in},     {SHAPE3(2, 3, 1), in},     {SHAPE3(1, 2, 3), in},
        {SHAPE3(1, 3, 2), across}, {SHAPE3(3, 2, 1), across}, {SHAPE3(3, 1, 2), across},
    };
    for (int i = 0; i < 6; i++)
        check_run(make(*state, &q8_op_permute, 1, 1, KEYS({0, i})), SHAPE3(2, 1, 3), in,
                  expected[i].shape, expected[i].values);
    check_run(make(*state, &q8_op_permute, 1, 1, KEYS({0, 1})), (q8_shape){2, {2, 3}}, in,
              (q8_shape){2, {3, 2}}, across);
    assert_true(identity(make(*state, &q8_op_permute, 1, 1, KEYS({0, 0})), SHAPE3(2, 1, 3)));
    assert_false(identity(make(*state, &q8_op_permute, 1, 1, KEYS({0, 1})), SHAPE3(2, 3, 3)));
}

static void shuffle_channels(void **state)
{
    const float in[] = {0, 1, 2, 3, 4, 5};
    q8_node *node = make(*state, &q8_op_shufflechannel, 1, 1, KEYS({0, 2}));
    check_run(node, SHAPE3(6, 1, 1), in, SHAPE3(6, 1, 1), (const float[]){0, 3, 1, 4, 2, 5});
    set_int(node, 1, 1);
    check_run(node, SHAPE3(6, 1, 1), in, SHAPE3(6, 1, 1), (const float[]){0, 2, 4, 1, 3, 5});
    const q8_shape seven = SHAPE3(7, 1, 1);
    q8_shape out;
    assert_int_equal(infer_code(node, &seven, &out), Q8_EMODEL);
}

static void reshape(void **state)
{
    const struct {
        int c, h, w;
        q8_shape in, out; /* rank 0: refused */
    } cases[] = {
        {-233, -233, -1, SHAPE3(2, 3, 4), {1, {24}}},
        {-233, -1, 6, SHAPE3(2, 3, 4), {2, {4, 6}}},
        {-233, 0, -1, SHAPE3(2, 3, 4), {2, {3, 8}}},
        {0, -1, 2, SHAPE3(2, 3, 4), SHAPE3(2, 6, 2)},
        {4, 3, 2, {1, {24}}, SHAPE3(4, 3, 2)},
        {-233, -1, -1, SHAPE3(2, 3, 4), {0}},
        {-233, -1, 5, SHAPE3(2, 3, 4), {0}},
        {-233, 5, 5, SHAPE3(2, 3, 4), {0}},
        {-233, -1, 0, SHAPE3(8, 1, 1), {0}},
        {-233, -233, -233, SHAPE3(2, 3, 4), {0}},
        {INT_MAX, INT_MAX, INT_MAX, SHAPE3(2, 3, 4), {0}},
        {1 << 16, 1 << 16, -1, SHAPE3(2, 3, 4), {0}},
        {-2, -3, 4, SHAPE3(2, 3, 4), {0}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        q8_node *node = make(*state, &q8_op_reshape, 1, 1,
                             KEYS({2, cases[i].c}, {1, cases[i].h}, {0, cases[i].w}));
        q8_shape out;
        const q8_code code = infer_code(node, &cases[i].in, &out);
        assert_int_equal(code == Q8_OK, cases[i].out.rank > 0);
        if (code == Q8_OK)
            assert_true(q8_shape_equal(&out, &cases[i].out));
    }
    const q8_shape shape = SHAPE3(5, 1, 1), flat = {1, {5}};
    const q8_reshape_attr attr = q8_reshape_to(&shape);
    check_run(new_node(*state, &q8_op_reshape, &attr), flat, nine, shape, nine);
}

static void crop(void **state)
{
    const q8_shape in[] = {SHAPE3(1, 3, 3), SHAPE3(1, 2, 1)};
    const float *const data[] = {nine, nine};
    q8_node *node = make(*state, &q8_op_crop, 2, 1, KEYS({0, 2}, {1, 1}));
    float got[9], *out = got;
    q8_shape shape;
    run_node(node, in, data, &shape, &out);
    check_values(got, (const float[]){6, 9}, 2);
    set_int(node, 0, 3);
    assert_int_equal(infer_code(node, in, &shape), Q8_EMODEL);
    set_int(node, 0, -1);
    assert_int_equal(infer_code(node, in, &shape), Q8_EMODEL);
    set_int(node, 3, 1); /* a size, and an input for it */
    assert_int_equal(infer_code(node, in, &shape), Q8_EMODEL);

    node = make(*state, &q8_op_crop, 1, 1, KEYS({1, 1}, {3, 2}, {4, -233}, {5, -233}));
    check_run(node, in[0], nine, SHAPE3(1, 2, 2), (const float[]){4, 5, 7, 8});
    set_int(node, 6, INT_MAX);
    assert_int_equal(infer_code(node, in, &shape), Q8_EMODEL);
}

/* --- SSD ----------------------------------------------------------------------------------------
 */

static const float sizes[] = {4}, max_sizes[] = {9}, ratios[] = {4};

static q8_node *make_priors(q8_arena *arena, int flip)
{
    q8_node *node = make(arena, &q8_op_priorbox, 2, 1, KEYS({7, flip}, {9, -233}, {10, -233}));
    set_floats(node, 0, 1, sizes);
    set_floats(node, 1, 1, max_sizes);
    set_floats(node, 2, 1, ratios);
    set_float(node, 13, 0.5f);
    return node;
}

static void priorbox(void **state)
{
    /* A feature map of 1x2 on a picture of 10x20: centres (5,5) and (15,5). */
    const q8_shape in[] = {SHAPE3(1, 1, 2), SHAPE3(3, 10, 20)};
    q8_node *node = make_priors(*state, 1);
    float got[64], *out = got;
    q8_shape shape;
    run_node(node, in, (const float *const[]){NULL, NULL}, &shape, &out);
    assert_true(q8_shape_equal(&shape, &(q8_shape){2, {2, 32}}));
    const float half[][2] = {{2, 2}, {3, 3}, {4, 1}, {1, 4}}; /* sqrt(4*9) = 6; 4*2 by 4/2 */
    for (int i = 0; i < 8; i++) {
        const float x = i < 4 ? 5 : 15, w = half[i % 4][0], h = half[i % 4][1];
        check_values(got + (size_t)i * 4,
                     (const float[]){(x - w) / 20, (5 - h) / 10, (x + w) / 20, (5 + h) / 10}, 4);
        check_values(got + 32 + (size_t)i * 4, (const float[]){0.1f, 0.1f, 0.2f, 0.2f}, 4);
    }
    set_int(node, 9, 0);
    assert_int_equal(infer_code(node, in, &shape), Q8_EMODEL);
    node = make_priors(*state, 0);
    assert_int_equal(infer_code(node, in, &shape), Q8_OK);
    assert_int_equal(shape.dim[1], 24);
    set_float(node, 11, NAN);
    assert_int_equal(infer_code(node, in, &shape), Q8_EMODEL);
}

static void detections(void **state)
{
    /* Four priors: 0 and 1 overlap by 9/11, 2 is elsewhere, 3 is background. */
    const float prior[] = {0,   0,   .1f, .1f, .01f, 0,   .11f, .1f, .5f, .5f, .7f,
                           .6f, 0,   0,   1,   1,    .1f, .1f,  .2f, .2f, .1f, .1f,
                           .2f, .2f, .1f, .1f, .2f,  .2f, .1f,  .1f, .2f, .2f};
    const float loc[16] = {
        [8] = 1, [10] = logf(2) / .2f}; /* 2: right by a tenth of its width, twice as wide */
    const float conf[] = {.3f, .5f, .2f, .1f, .6f, .3f, .2f, .1f, .7f, .9f, .05f, .05f};
    const float *const in[] = {loc, conf, prior};
    const q8_shape shapes[] = {{1, {16}}, {1, {12}}, {2, {2, 16}}};
    q8_node *node = make(*state, &q8_op_detectionoutput, 3, 1, KEYS({0, 3}, {2, 10}, {3, 5}));
    set_float(node, 1, 0.5f);
    set_float(node, 4, 0.15f);
    float got[30], *out = got;
    q8_shape shape;
    run_node(node, shapes, in, &shape, &out);
    assert_true(q8_shape_equal(&shape, &(q8_shape){2, {5, 6}}));
    const float expected[] = {2,    .7f, .42f, .5f, .82f, .6f, 1,    .6f, .01f, 0,
                              .11f, .1f, 2,    .3f, .01f, 0,   .11f, .1f, -1,   0,
                              0,    0,   0,    0,   -1,   0,   0,    0,   0,    0};
    check_values(got, expected, 30);

    set_int(node, 3, 1); /* the best one only */
    run_node(node, shapes, in, &shape, &out);
    assert_int_equal(shape.dim[0], 1);
    check_values(got, expected, 6);
    set_int(node, 2, 0);
    assert_int_equal(infer_code(node, shapes, &shape), Q8_EMODEL);
    set_int(node, 2, 10);
    set_int(node, 0, 4); /* 16 confidences would be needed */
    assert_int_equal(infer_code(node, shapes, &shape), Q8_EMODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(max_pooling),
        ARENA_TEST(average_pooling),
        ARENA_TEST(pooling_windows_that_fit_nowhere),
        ARENA_TEST(pooling_identity),
        ARENA_TEST(padding),
        ARENA_TEST(lrn),
        ARENA_TEST(softmax),
        ARENA_TEST(normalize),
        ARENA_TEST(eltwise),
        ARENA_TEST(concat_and_slice),
        ARENA_TEST(permute),
        ARENA_TEST(shuffle_channels),
        ARENA_TEST(reshape),
        ARENA_TEST(crop),
        ARENA_TEST(priorbox),
        ARENA_TEST(detections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
