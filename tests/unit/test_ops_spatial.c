/* Resizing, blocks and regions against the formulas of the Caffe forks, restated here. */
#include "op_keys.h"

#include <math.h>
#include <stdlib.h>

#include "ops/interp.h"
#include "ops/roi.h"

static float value_at(int i)
{
    return sinf((float)i * 1.7f) + (float)(i % 5) * 0.25f;
}

static float *values(q8_arena *arena, int n)
{
    float *v = q8_arena_array(arena, (size_t)n, sizeof(*v));
    assert_non_null(v);
    for (int i = 0; i < n; i++)
        v[i] = value_at(i);
    return v;
}

/* Infers and runs a node of up to two inputs. */
static float *run(q8_arena *arena, const q8_node *node, const q8_shape *in,
                  const float *const *data, q8_shape *out)
{
    static q8_err err;
    memset(&err, 0, sizeof(err));
    if (node->op->infer(node, in, out, &err))
        fail_msg("%s", err.text);
    float *result = q8_arena_array(arena, q8_shape_count(out), sizeof(*result));
    const q8_forward f = {node, in, out, data, &result};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    return result;
}

/* --- DeepLab's caffe_cpu_interp2 -------------------------------------------------------------- */

static float deeplab(const float *plane, int h1, int w1, int h2, int w2, int i, int j)
{
    const float rh = h2 > 1 ? (float)(h1 - 1) / (float)(h2 - 1) : 0;
    const float rw = w2 > 1 ? (float)(w1 - 1) / (float)(w2 - 1) : 0;
    const float y = rh * (float)i, x = rw * (float)j;
    const int y0 = (int)y, x0 = (int)x;
    const int dy = y0 < h1 - 1 ? w1 : 0, dx = x0 < w1 - 1;
    const float b = y - (float)y0, a = x - (float)x0;
    const float *p = plane + y0 * w1 + x0;
    return (1 - b) * ((1 - a) * p[0] + a * p[dx]) + b * ((1 - a) * p[dy] + a * p[dy + dx]);
}

static void interp_aligns_corners(void **state)
{
    static const int sizes[][4] = {
        {5, 7, 9, 13}, {5, 7, 3, 4}, {2, 2, 8, 5}, {6, 5, 6, 11}, {9, 3, 17, 2}};
    for (size_t k = 0; k < COUNT(sizes); k++) {
        const int *s = sizes[k];
        const q8_shape in = SHAPE3(2, s[0], s[1]);
        q8_shape out;
        const float *data = values(*state, 2 * s[0] * s[1]);
        q8_node *node =
            make(*state, &q8_op_interp, 1, 1, KEYS({0, 2}, {3, s[2]}, {4, s[3]}, {6, 1}));
        const float *got = run(*state, node, &in, &data, &out);
        for (int c = 0; c < 2; c++)
            for (int i = 0; i < s[2]; i++)
                for (int j = 0; j < s[3]; j++)
                    assert_float_equal(
                        *got++, deeplab(data + c * s[0] * s[1], s[0], s[1], s[2], s[3], i, j),
                        1e-5f);
    }
}

static void interp_repeats_pixels(void **state)
{
    const q8_shape in = SHAPE3(1, 3, 4);
    q8_shape out;
    const float *data = values(*state, 12);
    q8_node *by_size = make(*state, &q8_op_interp, 1, 1, KEYS({0, 1}, {3, 9}, {4, 8}));
    q8_node *by_scale = make(*state, &q8_op_interp, 1, 1, KEYS({0, 1}));
    set_float(by_scale, 1, 3);
    set_float(by_scale, 2, 2);
    const float *size = run(*state, by_size, &in, &data, &out);
    const float *scale = run(*state, by_scale, &in, &data, &out);
    for (int i = 0; i < 9; i++)
        for (int j = 0; j < 8; j++) {
            assert_float_equal(size[i * 8 + j], data[i / 3 * 4 + j / 2], 0);
            assert_float_equal(scale[i * 8 + j], data[i / 3 * 4 + j / 2], 0);
        }
}

static void interp_refuses_what_ncnn_reads_wrongly(void **state)
{
    static const struct {
        q8_shape in;
        int type, h, w, align;
        q8_code code;
    } cases[] = {
        {SHAPE3(1, 1, 5), 2, 4, 8, 1, Q8_EUNSUPPORTED},
        {SHAPE3(1, 5, 5), 2, 1, 8, 1, Q8_EUNSUPPORTED},
        {SHAPE3(1, 5, 5), 2, 1, 8, 0, Q8_OK},
        {SHAPE3(1, 1, 5), 1, 4, 8, 0, Q8_OK},
        {SHAPE3(1, 1, 1), 2, 1, 1, 1, Q8_OK},
        {SHAPE3(1, 5, 5), 3, 9, 9, 0, Q8_EUNSUPPORTED},
        {SHAPE3(1, 5, 5), 0, 9, 9, 0, Q8_EUNSUPPORTED},
        {SHAPE3(1, 5, 5), 2, -1, 9, 0, Q8_EMODEL},
        {SHAPE3(1, 5, 5), 2, 1 << 30, 9, 0, Q8_EMODEL},
        {{1, {5}}, 2, 9, 9, 0, Q8_EMODEL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        q8_shape out;
        q8_node *node =
            make(*state, &q8_op_interp, 1, 1,
                 KEYS({0, cases[i].type}, {3, cases[i].h}, {4, cases[i].w}, {6, cases[i].align}));
        assert_int_equal(infer_code(node, &cases[i].in, &out), cases[i].code);
    }
    q8_node *node = make(*state, &q8_op_interp, 1, 1, KEYS({0, 1}));
    q8_shape in = SHAPE3(1, 5, 5), out;
    static const float scales[] = {0, -1, 1e30f, 0.1f, NAN, INFINITY};
    for (size_t i = 0; i < COUNT(scales); i++) {
        set_float(node, 1, scales[i]);
        assert_int_equal(infer_code(node, &in, &out), Q8_EMODEL);
    }
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void blocks(void **state)
{
    for (int mode = 0; mode < 2; mode++) {
        const q8_shape wide = SHAPE3(3, 4, 6);
        q8_shape deep, back;
        const float *data = values(*state, 72);
        q8_node *down = make(*state, &q8_op_reorg, 1, 1, KEYS({0, 2}, {1, mode}));
        q8_node *up = make(*state, &q8_op_pixelshuffle, 1, 1, KEYS({0, 2}, {1, mode}));
        const float *got = run(*state, down, &wide, &data, &deep);
        assert_true(q8_shape_equal(&deep, &SHAPE3(12, 2, 3)));
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < 4; y++)
                for (int x = 0; x < 6; x++) {
                    const int offset = y % 2 * 2 + x % 2;
                    const int k = mode == 0 ? c * 4 + offset : offset * 3 + c;
                    assert_float_equal(got[(k * 2 + y / 2) * 3 + x / 2], data[(c * 4 + y) * 6 + x],
                                       0);
                }
        const float *same = run(*state, up, &deep, &got, &back);
        assert_true(q8_shape_equal(&back, &wide));
        assert_memory_equal(same, data, 72 * sizeof(float));
    }
    q8_shape in = SHAPE3(3, 4, 5), out;
    assert_int_equal(infer_code(make(*state, &q8_op_reorg, 1, 1, KEYS({0, 2})), &in, &out),
                     Q8_EMODEL);
    assert_int_equal(infer_code(make(*state, &q8_op_pixelshuffle, 1, 1, KEYS({0, 2})), &in, &out),
                     Q8_EMODEL);
    static const int sizes[] = {0, -1, 1 << 20, 1 << 30};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        assert_int_equal(
            infer_code(make(*state, &q8_op_reorg, 1, 1, KEYS({0, sizes[i]})), &in, &out),
            Q8_EMODEL);
        assert_int_equal(
            infer_code(make(*state, &q8_op_pixelshuffle, 1, 1, KEYS({0, sizes[i]})), &in, &out),
            Q8_EMODEL);
    }
}

/* --- regions --------------------------------------------------------------------------------- */

static int clamp(int x, int size)
{
    return x < 0 ? 0 : x > size ? size : x;
}

/* roi_pooling_layer.cpp of Fast R-CNN. */
static float fast_rcnn(const float *plane, int height, int width, const float *roi, float scale,
                       int pooled_h, int pooled_w, int ph, int pw)
{
    const int x1 = (int)roundf(roi[0] * scale), y1 = (int)roundf(roi[1] * scale);
    const int x2 = (int)roundf(roi[2] * scale), y2 = (int)roundf(roi[3] * scale);
    const int roi_h = y2 - y1 + 1 > 1 ? y2 - y1 + 1 : 1, roi_w = x2 - x1 + 1 > 1 ? x2 - x1 + 1 : 1;
    const float bin_h = (float)roi_h / (float)pooled_h, bin_w = (float)roi_w / (float)pooled_w;
    const int h0 = clamp((int)floorf((float)ph * bin_h) + y1, height);
    const int h1 = clamp((int)ceilf((float)(ph + 1) * bin_h) + y1, height);
    const int w0 = clamp((int)floorf((float)pw * bin_w) + x1, width);
    const int w1 = clamp((int)ceilf((float)(pw + 1) * bin_w) + x1, width);
    float max = h1 <= h0 || w1 <= w0 ? 0 : -1e30f;
    for (int h = h0; h < h1; h++)
        for (int w = w0; w < w1; w++)
            max = plane[h * width + w] > max ? plane[h * width + w] : max;
    return max;
}

/* psroi_pooling_layer.cu of R-FCN. */
static float rfcn(const float *planes, int height, int width, const float *roi, float scale,
                  int group, int c, int ph, int pw)
{
    const float x1 = roundf(roi[0]) * scale, y1 = roundf(roi[1]) * scale;
    const float x2 = roundf(roi[2] + 1) * scale, y2 = roundf(roi[3] + 1) * scale;
    const float bin_w = fmaxf(x2 - x1, 0.1f) / (float)group;
    const float bin_h = fmaxf(y2 - y1, 0.1f) / (float)group;
    const int h0 = clamp((int)floorf((float)ph * bin_h + y1), height);
    const int h1 = clamp((int)ceilf((float)(ph + 1) * bin_h + y1), height);
    const int w0 = clamp((int)floorf((float)pw * bin_w + x1), width);
    const int w1 = clamp((int)ceilf((float)(pw + 1) * bin_w + x1), width);
    const float *plane = planes + ((c * group + ph) * group + pw) * height * width;
    double sum = 0;
    for (int h = h0; h < h1; h++)
        for (int w = w0; w < w1; w++)
            sum += plane[h * width + w];
    return h1 <= h0 || w1 <= w0 ? 0 : (float)(sum / ((h1 - h0) * (w1 - w0)));
}

static const float regions[][4] = {
    {10, 20, 90, 100},    {0, 0, 159, 127},
    {-40, 30, 60, 400},   {100, 90, 20, 10},
    {500, 500, 600, 600}, {33.3f, 41.7f, 35, 44},
    {-500, -9, -400, 30}, {1e30f, -1e30f, 1e30f, 1e30f},
};

static void region_pooling(void **state)
{
    enum { H = 8, W = 10, GROUP = 3, OUT = 2 };
    const float *data = values(*state, OUT * GROUP * GROUP * H * W);
    q8_node *max = make(*state, &q8_op_roipooling, 2, 1, KEYS({0, 4}, {1, 3}));
    q8_node *mean = make(*state, &q8_op_psroipooling, 2, 1, KEYS({0, GROUP}, {1, GROUP}, {3, OUT}));
    set_float(max, 2, 0.0625f);
    set_float(mean, 2, 0.0625f);
    for (size_t k = 0; k < COUNT(regions); k++) {
        const float *in[] = {data, regions[k]};
        q8_shape shape[] = {SHAPE3(2, H, W), {1, {4}}}, out;
        const float *got = run(*state, max, shape, in, &out);
        assert_true(q8_shape_equal(&out, &SHAPE3(2, 3, 4)));
        for (int c = 0; c < 2 && regions[k][0] < 1e20f; c++)
            for (int ph = 0; ph < 3; ph++)
                for (int pw = 0; pw < 4; pw++)
                    assert_float_equal(
                        got[(c * 3 + ph) * 4 + pw],
                        fast_rcnn(data + c * H * W, H, W, regions[k], 0.0625f, 3, 4, ph, pw), 0);
        shape[0].dim[0] = OUT * GROUP * GROUP;
        got = run(*state, mean, shape, in, &out);
        assert_true(q8_shape_equal(&out, &SHAPE3(OUT, GROUP, GROUP)));
        for (int c = 0; c < OUT && regions[k][0] < 1e20f; c++)
            for (int ph = 0; ph < GROUP; ph++)
                for (int pw = 0; pw < GROUP; pw++)
                    assert_float_equal(got[(c * GROUP + ph) * GROUP + pw],
                                       rfcn(data, H, W, regions[k], 0.0625f, GROUP, c, ph, pw),
                                       1e-5f);
    }
}

/* A map that is linear in x and y has its own value as the mean of any bin inside. */
static void region_align(void **state)
{
    enum { H = 8, W = 10 };
    float *data = values(*state, H * W);
    for (int i = 0; i < H * W; i++)
        data[i] = 3 * (float)(i % W) - 2 * (float)(i / W);
    q8_node *node = make(*state, &q8_op_roialign, 2, 1, KEYS({0, 3}, {1, 2}, {5, 1}));
    const float region[] = {1.25f, 2, 7.5f, 6.5f};
    const float *in[] = {data, region};
    q8_shape shape[] = {SHAPE3(1, H, W), {1, {4}}}, out;
    for (int ratio = 0; ratio < 4; ratio++) {
        set_int(node, 3, ratio);
        const float *got = run(*state, node, shape, in, &out);
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 3; j++) {
                const float y = 2 + ((float)i + 0.5f) * 2.25f;
                const float x = 1.25f + ((float)j + 0.5f) * (6.25f / 3);
                assert_float_equal(got[i * 3 + j], 3 * x - 2 * y, 1e-4f);
            }
    }
    for (size_t k = 0; k < COUNT(regions); k++) { /* wherever they are, no pixel outside is read */
        in[1] = regions[k];
        run(*state, node, shape, in, &out);
    }
}

static void region_shapes(void **state)
{
    q8_shape out;
    const q8_op *const ops[] = {&q8_op_roipooling, &q8_op_psroipooling, &q8_op_roialign};
    for (size_t i = 0; i < COUNT(ops); i++) {
        static const q8_shape wrong[] = {{1, {5}}, {3, {4, 1, 1}}, {2, {4, 5}}};
        q8_node *node = make(*state, ops[i], 2, 1, KEYS({0, 3}, {1, 3}));
        if (i == 1)
            set_int(node, 3, 2);
        if (i == 2)
            set_int(node, 5, 1);
        q8_shape in[] = {SHAPE3(18, 4, 4), SHAPE3(300, 1, 4)};
        assert_int_equal(infer_code(node, in, &out), Q8_OK);
        for (size_t k = 0; k < COUNT(wrong); k++) {
            in[1] = wrong[k];
            assert_int_equal(infer_code(node, in, &out), Q8_EMODEL);
        }
        in[1] = (q8_shape){1, {4}};
        static const int bins[] = {0, -3, 1 << 30};
        for (size_t k = 0; k < COUNT(bins); k++) {
            set_int(node, 0, bins[k]);
            assert_int_equal(infer_code(node, in, &out), Q8_EMODEL);
        }
        set_int(node, 0, 3);
        set_float(node, 2, NAN);
        assert_int_equal(infer_code(node, in, &out), Q8_EMODEL);
    }
    q8_node *unsafe = make(*state, &q8_op_roialign, 2, 1, KEYS({0, 3}, {1, 3}));
    assert_int_equal(infer_code(unsafe, (const q8_shape[]){SHAPE3(1, 4, 4), {1, {4}}}, &out),
                     Q8_EUNSUPPORTED);
    q8_node *ps = make(*state, &q8_op_psroipooling, 2, 1, KEYS({3, 2}));
    assert_int_equal(infer_code(ps, (const q8_shape[]){SHAPE3(97, 4, 4), {1, {4}}}, &out),
                     Q8_EMODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(interp_aligns_corners),
        ARENA_TEST(interp_repeats_pixels),
        ARENA_TEST(interp_refuses_what_ncnn_reads_wrongly),
        ARENA_TEST(blocks),
        ARENA_TEST(region_pooling),
        ARENA_TEST(region_align),
        ARENA_TEST(region_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
