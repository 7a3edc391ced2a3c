/* NCHW and blocked layouts. */
#include "exec/layout.h"
#include "test_exec_graph.h"

/* The definition, element by element. */
static size_t index_of(const q8_shape *s, int block, int n, int c, size_t p)
{
    const size_t area = q8_shape_spatial(s), b = (size_t)block;
    const size_t blocks = ((size_t)s->dim[0] + b - 1) / b;
    return (((size_t)n * blocks + (size_t)c / b) * area + p) * b + (size_t)c % b;
}

static void check_round_trip(int channels, int h, int w, int batch, int asked)
{
    const q8_shape s = {3, {channels, h, w}};
    const int block = q8_layout_block(&s, asked);
    const size_t area = q8_shape_spatial(&s), plain = (size_t)batch * q8_shape_count(&s);
    const size_t packed = (size_t)batch * q8_layout_count(&s, block);
    assert_int_equal(packed % (size_t)block, 0);
    float *a = malloc(plain * sizeof(*a)), *back = malloc(plain * sizeof(*back));
    float *b = malloc(packed * sizeof(*b));
    for (size_t i = 0; i < plain; i++)
        a[i] = (float)i + 1;
    for (size_t i = 0; i < packed; i++)
        b[i] = -1;
    q8_layout_convert(&s, batch, a, 1, b, asked);
    double sum = 0;
    for (size_t i = 0; i < packed; i++)
        sum += b[i];
    assert_true(sum == (double)plain * ((double)plain + 1) / 2); /* padding is all zeros */
    for (int n = 0; n < batch; n++)
        for (int c = 0; c < channels; c++)
            for (size_t p = 0; p < area; p++)
                assert_true(b[index_of(&s, block, n, c, p)] == a[index_of(&s, 1, n, c, p)]);
    q8_layout_convert(&s, batch, b, asked, back, 1);
    assert_memory_equal(a, back, plain * sizeof(*a));

    const q8_view view = {b, batch, s, block, NULL};
    memset(back, 0, plain * sizeof(*back));
    q8_view_to_nchw(&view, batch - 1, back);
    assert_memory_equal(a + (size_t)(batch - 1) * q8_shape_count(&s), back,
                        q8_shape_count(&s) * sizeof(*a));
    free(a);
    free(b);
    free(back);
}

static void blocks_round_trip(void **state)
{
    (void)state;
    static const int channels[] = {1, 3, 7, 8, 9, 15, 16, 17, 24, 33};
    static const int asked[] = {8, 16, Q8_CHANNELS_LAST};
    for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++)
        for (int k = 0; k < 3; k++) {
            check_round_trip(channels[i], 1, 1, 1, asked[k]);
            check_round_trip(channels[i], 3, 5, 2, asked[k]);
            check_round_trip(channels[i], 4, 4, 3, asked[k]);
        }
}

/* Straight from one to the other it is what it is by way of NCHW. */
static void from_blocks_to_pixels_and_back(void **state)
{
    (void)state;
    enum { BATCH = 2, H = 3, W = 5, MOST = 48 };
    static float nchw[BATCH * MOST * H * W], blocks[BATCH * MOST * H * W],
        pixels[BATCH * MOST * H * W], got[BATCH * MOST * H * W];
    static const int block[] = {8, 16, Q8_CHANNELS_LAST};
    for (int i = 0; i < BATCH * MOST * H * W; i++)
        nchw[i] = (float)i + 1;
    for (int c = 1; c <= MOST; c += 5)
        for (int k = 0; k < 9; k++) {
            const q8_shape s = {3, {c, H, W}};
            const int from = block[k / 3], to = block[k % 3];
            const size_t bytes = BATCH * q8_layout_count(&s, to) * sizeof(float);
            q8_layout_convert(&s, BATCH, nchw, 1, blocks, from);
            q8_layout_convert(&s, BATCH, nchw, 1, pixels, to);
            memset(got, 255, sizeof(got));
            q8_layout_convert(&s, BATCH, blocks, from, got, to);
            assert_memory_equal(got, pixels, bytes);
        }
}

static void only_rank_3_is_blocked(void **state)
{
    (void)state;
    const q8_shape vector = {1, {10}}, matrix = {2, {3, 5}}, map = {3, {10, 2, 2}};
    assert_int_equal(q8_layout_count(&vector, 16), 10);
    assert_int_equal(q8_layout_count(&matrix, 16), 15);
    assert_int_equal(q8_layout_count(&map, 16), 64);
    assert_true(q8_layout_same(&vector, 1, 16));
    assert_false(q8_layout_same(&map, 1, 16));

    const float data[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    float out[15];
    const q8_view view = {data, 1, matrix, 16, NULL};
    q8_view_to_nchw(&view, 0, out);
    assert_memory_equal(data, out, sizeof(out));
}

static void full_blocks_of_single_pixels_are_plain(void **state)
{
    (void)state;
    const q8_shape full = {3, {32, 1, 1}}, odd = {3, {24, 1, 1}};
    assert_true(q8_layout_same(&full, 1, 16));
    assert_true(q8_layout_same(&odd, 8, 1));
    assert_false(q8_layout_same(&odd, 1, 16));
    assert_true(q8_layout_same(&odd, 1, Q8_CHANNELS_LAST));
}

static void as_many_channels_as_a_block_holds_are_pixels(void **state)
{
    (void)state;
    const q8_shape eight = {3, {8, 4, 5}}, more = {3, {24, 4, 5}}, vector = {1, {10}};
    assert_true(q8_layout_same(&eight, 8, Q8_CHANNELS_LAST));
    assert_false(q8_layout_same(&eight, 16, Q8_CHANNELS_LAST));
    assert_false(q8_layout_same(&more, 8, Q8_CHANNELS_LAST));
    assert_int_equal(q8_layout_count(&more, Q8_CHANNELS_LAST), 480);
    assert_int_equal(q8_layout_count(&vector, Q8_CHANNELS_LAST), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_round_trip),
        cmocka_unit_test(only_rank_3_is_blocked),
        cmocka_unit_test(from_blocks_to_pixels_and_back),
        cmocka_unit_test(full_blocks_of_single_pixels_are_plain),
        cmocka_unit_test(as_many_channels_as_a_block_holds_are_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
