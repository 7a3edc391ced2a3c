/* Shapes are Caffe's: its formulas, restated here one by one, against what an imported layer gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "import/import.h"

static q8_code get_zeros(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                         int n_dim, const float **data, q8_err *err)
{
    size_t count = 1;
    (void)layer, (void)index;
    for (int i = 0; i < n_dim; i++)
        count *= (size_t)dim[i];
    *data = q8_arena_array(user, count, sizeof(float));
    return *data ? Q8_OK : q8_fail_nomem(err);
}

/* Imports inputs {1,c,h,w} named data and like, and one layer. @return NULL when it is refused */
static const q8_graph *import(q8_arena *arena, const int *data, const int *like, const char *layer)
{
    q8_err err = {0};
    const q8_weight_source weights = {.user = arena, .get = get_zeros};
    const q8_import_opts opts = {.weights = &weights};
    const char *text = q8_arena_printf(
        arena,
        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: %d dim: "
        "%d dim: %d } } }\n"
        "layer { name: 'like' type: 'Input' top: 'like' input_param { shape { dim: 1 dim: %d dim: "
        "%d dim: %d } } }\n%s",
        data[0], data[1], data[2], like[0], like[1], like[2], layer);
    q8_caffe_net *net;
    q8_graph *graph = NULL;
    assert_non_null(text);
    if (q8_caffe_parse(&net, "net", text, strlen(text), arena, NULL, &err) ||
        q8_import_caffe(&graph, net, &opts, arena, NULL, &err)) {
        assert_true(err.text[0]);
        return NULL;
    }
    return graph;
}

/* The shape of the network's tensor of that name; of several the last. */
static q8_shape shape_of(const q8_graph *graph, const char *name)
{
    for (int t = graph->n_tensors - 1; t >= 0; t--)
        if (strcmp(graph->tensor[t].name, name) == 0)
            return graph->tensor[t].shape;
    fail_msg("no tensor %s", name);
    return (q8_shape){0};
}

static void check_shape(q8_arena *arena, const int *data, const int *like, const char *layer,
                        q8_shape want)
{
    char is[64], should[64];
    const q8_graph *graph = import(arena, data, like, layer);
    if (!graph)
        fail_msg("refused: %s", layer);
    const q8_shape got = shape_of(graph, "x");
    if (!q8_shape_equal(&got, &want))
        fail_msg("%s instead of %s: %s", q8_shape_text(&got, is), q8_shape_text(&want, should),
                 layer);
}

static const int no_like[] = {1, 1, 1};

/* --- pooling_layer.cpp ---------------------------------------------------------------------- */

static int ceil_div(int a, int b)
{
    return a >= 0 ? (a + b - 1) / b : -(-a / b);
}

static int pooled(int in, int kernel, int stride, int pad, bool any_pad, bool floor)
{
    const int room = in + 2 * pad - kernel;
    int out = (floor ? room / stride : ceil_div(room, stride)) + 1;
    if (any_pad && (out - 1) * stride >= in + pad)
        out--;
    return out;
}

static void pooling(void **state)
{
    (void)state;
    int n = 0;
    for (int in = 3; in <= 12; in++)
        for (int kernel = 1; kernel <= 5; kernel++)
            for (int stride = 1; stride <= 4; stride++)
                for (int pad = 0; pad < kernel; pad++)
                    for (int k = 0; k < 4; k++) {
                        const bool floor = k & 1, ave = k & 2;
                        const int in_w = 15 - in;
                        const int h = pooled(in, kernel, stride, pad, pad > 0, floor);
                        const int w = pooled(in_w, kernel, stride, pad, pad > 0, floor);
                        if (in + 2 * pad < kernel || in_w + 2 * pad < kernel)
                            continue;
                        /* Without padding Caffe lets a window start outside: refused. */
                        if ((h - 1) * stride >= in + pad || (w - 1) * stride >= in_w + pad)
                            continue;
                        q8_arena *arena = q8_arena_open();
                        const char *layer = q8_arena_printf(
                            arena,
                            "layer { name: 'x' type: 'Pooling' bottom: 'data' top: 'x' "
                            "pooling_param { pool: %s kernel_size: %d stride: %d pad: %d "
                            "round_mode: %s } }",
                            ave ? "AVE" : "MAX", kernel, stride, pad, floor ? "FLOOR" : "CEIL");
                        check_shape(arena, (const int[]){2, in, in_w}, no_like, layer,
                                    (q8_shape){3, {2, h, w}});
                        q8_arena_close(&arena);
                        n++;
                    }
    assert_true(n > 1000);
}

/* --- conv_layer.cpp, deconv_layer.cpp --------------------------------------------------------- */

static int convolved(int in, int kernel, int stride, int pad, int dilation)
{
    const int room = in + 2 * pad - (dilation * (kernel - 1) + 1);
    return room < 0
               ? 0
               : room / stride + 1; /* Caffe rounds a kernel larger than the input up: refused */
}

static int deconvolved(int in, int kernel, int stride, int pad, int dilation)
{
    return stride * (in - 1) + dilation * (kernel - 1) + 1 - 2 * pad;
}

static void check_filter(const char *type, int kernel, int stride, int pad, int dilation, int group,
                         int h, int w)
{
    q8_arena *arena = q8_arena_open();
    const char *layer =
        q8_arena_printf(arena,
                        "layer { name: 'x' type: '%s' bottom: 'data' top: 'x' convolution_param { "
                        "num_output: 12 kernel_size: %d stride: %d pad: %d dilation: %d group: %d "
                        "} }",
                        type, kernel, stride, pad, dilation, group);
    if (h < 1 || w < 1)
        assert_null(import(arena, (const int[]){6, 9, 11}, no_like, layer));
    else
        check_shape(arena, (const int[]){6, 9, 11}, no_like, layer, (q8_shape){3, {12, h, w}});
    q8_arena_close(&arena);
}

static void filters(void **state)
{
    (void)state;
    static const int groups[] = {1, 2, 3, 6};
    for (int kernel = 1; kernel <= 4; kernel++)
        for (int stride = 1; stride <= 3; stride++)
            for (int pad = 0; pad <= 2; pad++)
                for (int dilation = 1; dilation <= 3; dilation++)
                    for (int g = 0; g < 4; g++) {
                        check_filter("Deconvolution", kernel, stride, pad, dilation, groups[g],
                                     deconvolved(9, kernel, stride, pad, dilation),
                                     deconvolved(11, kernel, stride, pad, dilation));
                        check_filter("Convolution", kernel, stride, pad, dilation, groups[g],
                                     convolved(9, kernel, stride, pad, dilation),
                                     convolved(11, kernel, stride, pad, dilation));
                    }
}

/* --- crop_layer.cpp ------------------------------------------------------------------------- */

/* From `axis` on the size is the second bottom's, before it the first's. */
static void crop(void **state)
{
    (void)state;
    const int data[] = {8, 9, 10}, like[] = {3, 5, 4};
    for (int axis = 1; axis <= 3; axis++)
        for (int n_offsets = 0; n_offsets <= 4 - axis; n_offsets++) {
            if (n_offsets > 1 && n_offsets != 4 - axis)
                continue;
            for (int sign = 0; sign < 2; sign++) {
                q8_arena *arena = q8_arena_open();
                const char *offsets = "";
                for (int i = 0; i < n_offsets; i++)
                    offsets = q8_arena_printf(arena, "%s offset: %d", offsets, 1 + i);
                const char *layer =
                    q8_arena_printf(arena,
                                    "layer { name: 'x' type: 'Crop' bottom: 'data' bottom: 'like' "
                                    "top: 'x' crop_param { axis: %d%s } }",
                                    sign ? axis - 4 : axis, offsets);
                q8_shape want = {3, {data[0], data[1], data[2]}};
                for (int i = axis; i <= 3; i++)
                    want.dim[i - 1] = like[i - 1];
                check_shape(arena, data, like, layer, want);
                q8_arena_close(&arena);
            }
        }
}

/* --- reshape_layer.cpp ------------------------------------------------------------------------ */

/* Caffe's new shape, with the batch (1) in front; false: Caffe refuses it. */
static bool reshaped(const int *bottom, const int *dims, int n_dims, int axis, int num_axes,
                     int *out, int *rank)
{
    const int from = axis >= 0 ? axis : 4 + axis + 1;
    const int to = num_axes == -1 ? 4 : from + num_axes;
    int known = 1, inferred = -1;
    const int total = bottom[0] * bottom[1] * bottom[2] * bottom[3];
    *rank = 0;
    for (int i = 0; i < from; i++)
        out[(*rank)++] = bottom[i];
    for (int i = 0; i < n_dims; i++) {
        if (dims[i] == 0 && from + i >= 4)
            return false;
        if (dims[i] == -1)
            inferred = *rank;
        out[(*rank)++] = dims[i] == 0 ? bottom[from + i] : dims[i];
    }
    for (int i = to; i < 4; i++)
        out[(*rank)++] = bottom[i];
    for (int i = 0; i < *rank; i++)
        known *= i == inferred ? 1 : out[i];
    if (known == 0 || total % known || (inferred < 0 && known != total))
        return false;
    if (inferred >= 0)
        out[inferred] = total / known;
    return true;
}

static void reshape(void **state)
{
    (void)state;
    static const struct {
        int n, dim[4], axis, num_axes;
    } cases[] = {
        {4, {0, 0, 0, -1}, 0, -1},  {4, {0, -1, 0, 0}, 0, -1},
        {3, {0, 0, -1}, 0, -1},     {2, {0, -1}, 0, -1},
        {4, {0, 2, 10, -1}, 0, -1}, {3, {0, -1, 5}, 0, -1},
        {1, {-1}, 1, -1},           {2, {0, -1}, 1, -1},
        {2, {-1, 3}, 1, 2},         {1, {-1}, -1, -1},
        {1, {-1}, 2, -1},           {1, {-1}, 1, 2},
        {2, {3, 2}, 1, 1},          {1, {1}, 3, 0},
        {3, {5, 6, 4}, 1, -1},      {3, {1, 24, 5}, 0, -1},
        {2, {-1, 120}, 0, -1},      {3, {0, 0, 0}, 1, -1},
        {3, {0, -1, 7}, 0, -1},     {2, {0, 119}, 0, -1},
    };
    int refused = 0;
    const int bottom[] = {1, 6, 4, 5};
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        q8_arena *arena = q8_arena_open();
        const char *dims = "";
        int out[8], rank;
        for (int i = 0; i < cases[k].n; i++)
            dims = q8_arena_printf(arena, "%s dim: %d", dims, cases[k].dim[i]);
        const char *layer = q8_arena_printf(arena,
                                            "layer { name: 'x' type: 'Reshape' bottom: 'data' top: "
                                            "'x' reshape_param { shape {%s } axis: %d num_axes: %d "
                                            "} }",
                                            dims, cases[k].axis, cases[k].num_axes);
        const bool ok = reshaped(bottom, cases[k].dim, cases[k].n, cases[k].axis, cases[k].num_axes,
                                 out, &rank);
        if (!ok || rank > 4) {
            assert_null(import(arena, bottom + 1, no_like, layer));
            refused++;
        } else {
            q8_shape want = {.rank = rank - 1};
            assert_int_equal(out[0], 1);
            for (int i = 1; i < rank; i++)
                want.dim[i - 1] = out[i];
            check_shape(arena, bottom + 1, no_like, layer, want);
        }
        q8_arena_close(&arena);
    }
    assert_int_equal(refused, 5); /* two by Caffe too, three for their five axes */
}

/* --- slice_layer.cpp ------------------------------------------------------------------------- */

static void slice(void **state)
{
    (void)state;
    static const int data[] = {6, 8, 9};
    for (int axis = 1; axis <= 3; axis++)
        for (int tops = 1; tops <= 4; tops++) {
            q8_arena *arena = q8_arena_open();
            const char *names = "";
            for (int i = 0; i < tops; i++)
                names = q8_arena_printf(arena, "%s top: 'x%d'", names, i);
            const char *layer = q8_arena_printf(
                arena,
                "layer { name: 'x' type: 'Slice' bottom: 'data'%s slice_param { axis: %d } }",
                names, axis);
            const q8_graph *graph = import(arena, data, no_like, layer);
            assert_int_equal(graph != NULL, data[axis - 1] % tops == 0);
            for (int i = 0; graph && i < tops; i++) {
                q8_shape want = {3, {data[0], data[1], data[2]}};
                want.dim[axis - 1] /= tops;
                const q8_shape got = shape_of(graph, q8_arena_printf(arena, "x%d", i));
                assert_true(q8_shape_equal(&got, &want));
            }
            q8_arena_close(&arena);
        }
}

/* --- spp_layer.cpp: bins of all levels ---------------------------------------------------------
 */

static void spp(void **state)
{
    (void)state;
    for (int h = 4; h <= 20; h++)
        for (int levels = 1; levels <= 3; levels++) {
            q8_arena *arena = q8_arena_open();
            const int w = 24 - h;
            int bins = 0;
            bool fits = true;
            for (int l = 0; l < levels; l++) {
                const int n = 1 << l, kh = (h + n - 1) / n, kw = (w + n - 1) / n;
                const int ph = (kh * n - h + 1) / 2, pw = (kw * n - w + 1) / 2;
                fits &= (!ph && !pw) || (ph < kh && pw < kw);
                bins +=
                    pooled(h, kh, kh, ph, ph || pw, false) * pooled(w, kw, kw, pw, ph || pw, false);
            }
            const char *layer =
                q8_arena_printf(arena,
                                "layer { name: 'x' type: 'SPP' bottom: 'data' top: 'x' spp_param { "
                                "pyramid_height: %d } }",
                                levels);
            const q8_shape want =
                levels == 1 ? (q8_shape){3, {2, 1, 1}} : (q8_shape){1, {2 * bins}};
            if (fits)
                check_shape(arena, (const int[]){2, h, w}, no_like, layer, want);
            else
                assert_null(import(arena, (const int[]){2, h, w}, no_like, layer));
            q8_arena_close(&arena);
        }
}

/* --- interp_layer.cpp of DeepLab ----------------------------------------------------------------
 */

static void interp(void **state)
{
    (void)state;
    for (int zoom = 0; zoom <= 4; zoom++)
        for (int shrink = 0; shrink <= 4; shrink++)
            for (int cut = 0; cut < 3; cut++) {
                q8_arena *arena = q8_arena_open();
                int out[2] = {9 - 2 * cut, 14 - 2 * cut};
                const bool sized = !zoom == !shrink;
                for (int i = 0; i < 2; i++) {
                    if (shrink)
                        out[i] = (out[i] - 1) / shrink + 1;
                    if (zoom)
                        out[i] = out[i] + (out[i] - 1) * (zoom - 1);
                }
                const char *z = zoom ? q8_arena_printf(arena, "zoom_factor: %d", zoom) : "";
                const char *s = shrink ? q8_arena_printf(arena, "shrink_factor: %d", shrink) : "";
                const char *layer = q8_arena_printf(
                    arena,
                    "layer { name: 'x' type: 'Interp' bottom: 'data' top: 'x' interp_param { %s %s "
                    "pad_beg: %d pad_end: %d height: 7 width: 5 } }",
                    z, s, -cut, -cut);
                /* A size counts with both factors or none. */
                const q8_shape want = {3, {2, sized ? 7 : out[0], sized ? 5 : out[1]}};
                check_shape(arena, (const int[]){2, 9, 14}, no_like, layer, want);
                q8_arena_close(&arena);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling), cmocka_unit_test(filters), cmocka_unit_test(crop),
        cmocka_unit_test(reshape), cmocka_unit_test(slice),   cmocka_unit_test(spp),
        cmocka_unit_test(interp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
