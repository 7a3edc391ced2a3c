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

static void check_round_trip(int channels, int h, int w, int batch, int block)
{
    const q8_shape s = {3, {channels, h, w}};
    const size_t area = q8_shape_spatial(&s), plain = (size_t)batch * q8_shape_count(&s);
    const size_t packed = (size_t)batch * q8_layout_count(&s, block);
    assert_int_equal(packed % (size_t)block, 0);
    float *a = malloc(plain * sizeof(*a)), *back = malloc(plain * sizeof(*back));
    float *b = malloc(packed * sizeof(*b));
    for (size_t i = 0; i < plain; i++)
        a[i] = (float)i + 1;
    for (size_t i = 0; i < packed; i++)
        b[i] = -1;
    q8_layout_convert(&s, batch, a, 1, b, block);
    double sum = 0;
    for (size_t i = 0; i < packed; i++)
        sum += b[i];
    assert_true(sum == (double)plain * ((double)plain + 1) / 2); /* padding is all zeros */
    for (int n = 0; n < batch; n++)
        for (int c = 0; c < channels; c++)
            for (size_t p = 0; p < area; p++)
                assert_true(b[index_of(&s, block, n, c, p)] == a[index_of(&s, 1, n, c, p)]);
    q8_layout_convert(&s, batch, b, block, back, 1);
    assert_memory_equal(a, back, plain * sizeof(*a));

    const q8_view view = {b, batch, s, block};
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
    for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++)
        for (int block = 8; block <= 16; block += 8) {
            check_round_trip(channels[i], 1, 1, 1, block);
            check_round_trip(channels[i], 3, 5, 2, block);
            check_round_trip(channels[i], 4, 4, 3, block);
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
    const q8_view view = {data, 1, matrix, 16};
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_round_trip),
        cmocka_unit_test(only_rank_3_is_blocked),
        cmocka_unit_test(full_blocks_of_single_pixels_are_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
