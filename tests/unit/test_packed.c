/* Calibrations as bytes: they come back to the bit, shards add up, and damage is told. */
#include "calib/packed.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pack.h"

enum { TENSORS = 4, PICTURES = 6 };

static const q8_shape shapes[TENSORS] = {
    {3, {5, 4, 3}}, {1, {7}}, {2, {2, 9}}, {3, {33, 6, 6}}, /* the second is not observed */
};

static uint64_t random_bits;

static float next_value(void)
{
    random_bits = random_bits * 6364136223846793005u + 1442695040888963407u;
    const float u = (float)(random_bits >> 40) / 16777216.0f - 0.4f;
    return u < 0 ? 0 : u * u * 50 - 1;
}

static q8_graph *open_graph(q8_arena **arena)
{
    *arena = q8_arena_open();
    assert_non_null(*arena);
    q8_graph *graph = q8_graph_new(*arena);
    assert_non_null(graph);
    for (int t = 0; t < TENSORS; t++)
        assert_int_equal(
            q8_graph_add_tensor(graph, (const char *[]){"a", "b", "c", "d"}[t], &shapes[t]), t);
    return graph;
}

static void open_calibration(q8_calibration *cal)
{
    *cal = (q8_calibration){.n_tensors = TENSORS};
    cal->stats = calloc(TENSORS + 1, sizeof(*cal->stats));
    assert_non_null(cal->stats);
    for (int t = 0; t < TENSORS; t++) {
        if (t == 1)
            continue;
        cal->stats[t] = calloc(1, sizeof(**cal->stats));
        assert_non_null(cal->stats[t]);
        assert_int_equal(q8_stats_init(cal->stats[t], shapes[t].dim[0], NULL), Q8_OK);
    }
}

/* Picture i is the same whoever sees it; picture 4 has values that are not finite. */
static void see(q8_calibration *cal, int picture)
{
    float data[33 * 36];
    random_bits = (uint64_t)picture;
    for (int t = 0; t < TENSORS; t++) {
        for (size_t i = 0; i < q8_shape_count(&shapes[t]); i++)
            data[i] = next_value() * (float)(picture * picture + 1);
        if (picture == 4)
            data[3] = NAN;
        const q8_view view = {.data = data, .shape = shapes[t], .batch = 1, .block = 1};
        if (cal->stats[t])
            q8_stats_add(cal->stats[t], &view);
    }
    cal->used++;
}

/* Pictures from `first` on, every `step`-th. */
static void calibrate(q8_calibration *cal, int first, int step)
{
    open_calibration(cal);
    for (int i = first; i < PICTURES; i += step)
        see(cal, i);
}

static void assert_same(const q8_stats *a, const q8_stats *b)
{
    const size_t n = (size_t)a->channels;
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(&a->hist, &b->hist, sizeof(a->hist));
    assert_memory_equal(&a->min, &b->min, sizeof(a->min));
    assert_memory_equal(&a->max, &b->max, sizeof(a->max));
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->channel_min, b->channel_min, n * sizeof(*a->channel_min));
    assert_memory_equal(a->channel_max, b->channel_max, n * sizeof(*a->channel_max));
    assert_memory_equal(a->channel_absmax, b->channel_absmax, n * sizeof(*a->channel_absmax));
    assert_memory_equal(a->channel_bins, b->channel_bins, n * sizeof(*a->channel_bins));
    assert_memory_equal(a->channel_sum, b->channel_sum, n * sizeof(*a->channel_sum));
}

static void assert_same_calibration(const q8_calibration *a, const q8_calibration *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->used, b->used);
    assert_int_equal(a->skipped, b->skipped);
    for (int t = 0; t < TENSORS; t++) {
        assert_int_equal(!a->stats[t], !b->stats[t]);
        if (a->stats[t])
            assert_same(a->stats[t], b->stats[t]);
    }
}

static void comes_back_to_the_bit(void **unused)
{
    (void)unused;
    q8_arena *arena;
    q8_graph *graph = open_graph(&arena);
    q8_calibration cal, back;
    q8_buf bytes = {0};
    q8_err err = {0};
    calibrate(&cal, 0, 1);
    cal.skipped = 3;
    /* As if pictures of zeros had been seen very often: all widths of counters, gaps of all
     * lengths, a sum beyond 64 bits. */
    cal.used = (size_t)1 << 25;
    for (int t = 0; t < TENSORS; t++) {
        const uint64_t values = cal.used * q8_shape_count(&shapes[t]);
        if (!cal.stats[t])
            continue;
        cal.stats[t]->hist.zeros += values - cal.stats[t]->count;
        cal.stats[t]->count = values;
    }
    for (uint64_t i = 0; i < 64; i++) {
        cal.stats[0]->hist.bin[40 + i * (i + 1) / 2] += i * i;
        cal.stats[0]->hist.zeros -= i * i;
    }
    cal.stats[3]->channel_sum[1] = (q8_fixed_sum)-1 * ((q8_fixed_sum)1 << 64) - 5;
    q8_calibration_pack(&cal, &bytes);
    assert_false(bytes.failed);
    assert_int_equal(q8_calibration_unpack(&back, bytes.data, bytes.size, graph, &err), Q8_OK);
    assert_same_calibration(&cal, &back);
    q8_buf again = {0};
    q8_calibration_pack(&back, &again);
    assert_int_equal(again.size, bytes.size);
    assert_memory_equal(again.data, bytes.data, bytes.size);
    q8_buf_free(&bytes);
    q8_buf_free(&again);
    q8_calibration_free(&cal);
    q8_calibration_free(&back);
    q8_arena_close(&arena);
}

static void shards_add_up(void **unused)
{
    (void)unused;
    q8_arena *arena;
    q8_graph *graph = open_graph(&arena);
    q8_calibration whole, sum, part;
    q8_err err = {0};
    calibrate(&whole, 0, 1);
    calibrate(&sum, PICTURES, 1); /* none: a rank without samples */
    sum.skipped = 1;
    whole.skipped = 4;
    for (int i = 2; i >= 0; i--) {
        q8_calibration shard;
        q8_buf bytes = {0};
        calibrate(&shard, i, 3);
        shard.skipped = 1;
        q8_calibration_pack(&shard, &bytes);
        assert_int_equal(q8_calibration_unpack(&part, bytes.data, bytes.size, graph, &err), Q8_OK);
        assert_int_equal(q8_calibration_merge(&sum, &part, &err), Q8_OK);
        q8_buf_free(&bytes);
        q8_calibration_free(&shard);
        q8_calibration_free(&part);
    }
    assert_same_calibration(&whole, &sum);
    q8_calibration_free(&whole);
    q8_calibration_free(&sum);
    q8_arena_close(&arena);
}

static void refuses_to_merge_what_does_not_fit(void **unused)
{
    (void)unused;
    q8_calibration a, b;
    q8_err err = {0};
    calibrate(&a, 0, 2);
    calibrate(&b, 1, 2);
    b.used = Q8_MAX_SAMPLES;
    assert_int_equal(q8_calibration_merge(&a, &b, &err), Q8_EINVAL);
    assert_string_equal(err.text, "statistics of 67108867 samples used and 0 skipped; the limit is "
                                  "67108864 (Q8_MAX_SAMPLES in src/base/limits.h)");
    b.used = 1;
    a.stats[2]->channel_sum[1] = b.stats[2]->channel_sum[1] = (q8_fixed_sum)1 << 126;
    err = (q8_err){0};
    assert_int_equal(q8_calibration_merge(&a, &b, &err), Q8_EINVAL);
    q8_stats_free(b.stats[2]);
    free(b.stats[2]);
    b.stats[2] = NULL;
    err = (q8_err){0};
    assert_int_equal(q8_calibration_merge(&a, &b, &err), Q8_EINVAL);
    assert_non_null(strstr(err.text, "other tensors"));
    assert_int_equal(a.used, 3);
    q8_calibration_free(&a);
    q8_calibration_free(&b);
}

/* Zeros cost little: an empty calibration, and one of a few values. */
static void is_compact(void **unused)
{
    (void)unused;
    q8_calibration cal;
    q8_buf bytes = {0};
    open_calibration(&cal);
    q8_calibration_pack(&cal, &bytes);
    assert_true(bytes.size < 3 * 64 + 40 * 50);
    for (int i = 0; i < PICTURES; i++)
        see(&cal, i);
    bytes.size = 0;
    q8_calibration_pack(&cal, &bytes);
    assert_true(bytes.size < 20000); /* in memory it is 125 kB */
    q8_buf_free(&bytes);
    q8_calibration_free(&cal);
}

/* A calibration of all pictures, and its bytes. */
struct packed {
    q8_arena *arena;
    q8_graph *graph;
    q8_calibration cal;
    q8_buf bytes;
};

static int setup(void **state)
{
    struct packed *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->graph = open_graph(&p->arena);
    calibrate(&p->cal, 0, 1);
    q8_calibration_pack(&p->cal, &p->bytes);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct packed *p = *state;
    q8_buf_free(&p->bytes);
    q8_calibration_free(&p->cal);
    q8_arena_close(&p->arena);
    free(p);
    return 0;
}

/* --- damage ----------------------------------------------------------------------------------- */

static q8_code unpack(const q8_buf *bytes, size_t size, const q8_graph *graph, q8_err *err)
{
    q8_calibration cal;
    unsigned char *exact = malloc(size ? size : 1); /* so that reading past the end is seen */
    assert_non_null(exact);
    if (size)
        memcpy(exact, bytes->data, size);
    *err = (q8_err){0};
    const q8_code code = q8_calibration_unpack(&cal, exact, size, graph, err);
    if (code) {
        assert_null(cal.stats);
        assert_true(err->text[0] != 0);
    }
    q8_calibration_free(&cal);
    free(exact);
    return code;
}

static void tells_what_is_cut_off(void **state)
{
    struct packed *p = *state;
    q8_err err;
    for (size_t size = 0; size < p->bytes.size; size += size < 300 ? 1 : 31)
        assert_int_equal(unpack(&p->bytes, size, p->graph, &err), Q8_EFORMAT);
    q8_buf_add(&p->bytes, "", 1);
    assert_int_equal(unpack(&p->bytes, p->bytes.size, p->graph, &err), Q8_EFORMAT);
}

/* Changes a calibration before it is packed. */
typedef void (*spoil_fn)(q8_calibration *cal);

static void count(q8_calibration *cal)
{
    cal->stats[3]->count++;
}
static void used(q8_calibration *cal)
{
    cal->used++;
}
static void too_many(q8_calibration *cal)
{
    cal->used = Q8_MAX_SAMPLES + 1;
}
static void skipped(q8_calibration *cal)
{
    cal->skipped = SIZE_MAX;
}
static void zeros(q8_calibration *cal)
{
    cal->stats[0]->hist.zeros = UINT64_MAX;
}
static void bin(q8_calibration *cal)
{
    cal->stats[0]->hist.bin[7]++;
}
static void large_bin(q8_calibration *cal)
{
    cal->stats[0]->hist.bin[7] = UINT64_MAX;
}
static void exponent(q8_calibration *cal)
{
    cal->stats[2]->hist.exponent++;
}
static void low_exponent(q8_calibration *cal)
{
    cal->stats[2]->hist.exponent--;
}
static void huge_exponent(q8_calibration *cal)
{
    cal->stats[2]->hist.exponent = INT32_MAX;
}
static void no_exponent(q8_calibration *cal)
{
    cal->stats[2]->hist.exponent = Q8_HIST_EMPTY;
}
static void nan_min(q8_calibration *cal)
{
    cal->stats[2]->min = NAN;
}
static void infinite_max(q8_calibration *cal)
{
    cal->stats[2]->max = INFINITY;
}
static void swapped(q8_calibration *cal)
{
    cal->stats[2]->min = 2;
    cal->stats[2]->max = 1;
}
static void channel_min(q8_calibration *cal)
{
    cal->stats[3]->channel_min[5] = -1e9f;
}
static void channel_max(q8_calibration *cal)
{
    cal->stats[3]->channel_max[5] = NAN;
}
static void channel_absmax(q8_calibration *cal)
{
    cal->stats[3]->channel_absmax[5] *= 2;
}
static void channel_sum(q8_calibration *cal)
{
    cal->stats[3]->channel_sum[5] *= 1000;
}
static void huge_sum(q8_calibration *cal)
{
    cal->stats[3]->channel_sum[5] = (q8_fixed_sum)1 << 126;
}
static void top(q8_calibration *cal)
{
    cal->stats[3]->channel_bins[32].top = 255;
}
static void negative_top(q8_calibration *cal)
{
    cal->stats[3]->channel_bins[32].top = -1;
}
static void factor(q8_calibration *cal)
{
    cal->stats[3]->channel_bins[32].factor = NAN;
}
static void small(q8_calibration *cal)
{
    cal->stats[3]->channel_bins[32].small = UINT32_MAX;
}
static void channels(q8_calibration *cal)
{
    cal->stats[3]->channels--;
}

static void tells_contradictions(void **unused)
{
    (void)unused;
    static const spoil_fn spoil[] = {
        count,        used,     too_many,     skipped,       zeros,          bin,
        large_bin,    exponent, low_exponent, huge_exponent, no_exponent,    nan_min,
        infinite_max, swapped,  channel_min,  channel_max,   channel_absmax, channel_sum,
        huge_sum,     top,      negative_top, factor,        small,          channels,
    };
    q8_arena *arena;
    q8_graph *graph = open_graph(&arena);
    for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
        q8_calibration cal;
        q8_buf bytes = {0};
        q8_err err;
        calibrate(&cal, 0, 1);
        q8_calibration_pack(&cal, &bytes);
        assert_int_equal(unpack(&bytes, bytes.size, graph, &err), Q8_OK);
        spoil[i](&cal);
        bytes.size = 0;
        q8_calibration_pack(&cal, &bytes);
        if (unpack(&bytes, bytes.size, graph, &err) != Q8_EFORMAT)
            fail_msg("contradiction %zu was not seen", i);
        q8_buf_free(&bytes);
        cal.n_tensors = TENSORS;
        q8_calibration_free(&cal);
    }
    q8_arena_close(&arena);
}

static void tells_another_graph(void **state)
{
    struct packed *p = *state;
    q8_err err;
    p->graph->tensor[3].shape.dim[0]++;
    assert_int_equal(unpack(&p->bytes, p->bytes.size, p->graph, &err), Q8_EFORMAT);
    assert_non_null(strstr(err.text, "'d' contradict its shape"));
    p->graph->n_tensors--;
    assert_int_equal(unpack(&p->bytes, p->bytes.size, p->graph, &err), Q8_EFORMAT);
    assert_non_null(strstr(err.text, "4 tensors"));
}

/* Whatever byte is changed: an error, or statistics that pack and merge. */
static void survives_any_byte(void **state)
{
    struct packed *p = *state;
    q8_calibration back;
    q8_buf again = {0};
    for (size_t i = 0; i < p->bytes.size; i += i < 300 ? 1 : 11) {
        const unsigned char was = p->bytes.data[i];
        static const unsigned char change[] = {1, 0x80, 0xff};
        for (size_t k = 0; k < sizeof(change); k++) {
            q8_err err = {0};
            p->bytes.data[i] = was ^ change[k];
            if (q8_calibration_unpack(&back, p->bytes.data, p->bytes.size, p->graph, &err))
                continue;
            assert_int_equal(q8_calibration_merge(&back, &p->cal, &err), Q8_OK);
            again.size = 0;
            q8_calibration_pack(&back, &again);
            q8_calibration_free(&back);
            assert_int_equal(q8_calibration_unpack(&back, again.data, again.size, p->graph, &err),
                             Q8_OK);
            q8_calibration_free(&back);
        }
        p->bytes.data[i] = was;
    }
    q8_buf_free(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_to_the_bit),
        cmocka_unit_test(shards_add_up),
        cmocka_unit_test(refuses_to_merge_what_does_not_fit),
        cmocka_unit_test(is_compact),
        cmocka_unit_test_setup_teardown(tells_what_is_cut_off, setup, teardown),
        cmocka_unit_test(tells_contradictions),
        cmocka_unit_test_setup_teardown(tells_another_graph, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_any_byte, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
