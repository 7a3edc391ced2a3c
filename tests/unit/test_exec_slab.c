/* Memory placement: what lives together never overlaps, and memory is not wasted. */
#include "exec/slab.h"
#include "test_exec_graph.h"

static bool together(const q8_slab_part *a, const q8_slab_part *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static void check(const q8_slab_part *part, int n, size_t total)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(part[i].offset % Q8_SLAB_ALIGN, 0);
        assert_true(part[i].offset + part[i].bytes <= total);
        for (int k = 0; k < i; k++)
            if (together(&part[i], &part[k]))
                assert_true(part[i].offset + part[i].bytes <= part[k].offset ||
                            part[k].offset + part[k].bytes <= part[i].offset);
    }
}

/* The most that is live at any step: no plan can need less. */
static size_t lower_bound(const q8_slab_part *part, int n, int steps)
{
    size_t most = 0;
    for (int s = -1; s < steps; s++) {
        size_t sum = 0;
        for (int i = 0; i < n; i++)
            if (part[i].first <= s && s <= part[i].last)
                sum += (part[i].bytes + 63) / 64 * 64;
        most = sum > most ? sum : most;
    }
    return most;
}

static void random_parts_never_overlap(void **state)
{
    (void)state;
    enum { N = 60, STEPS = 40 };
    uint32_t seed = 7;
    for (int round = 0; round < 300; round++) {
        q8_slab_part part[N];
        const int n = random_int(&seed, 0, N);
        for (int i = 0; i < n; i++) {
            const int first = random_int(&seed, -1, STEPS - 1);
            part[i] = (q8_slab_part){
                .bytes = (size_t)random_int(&seed, 1, round % 2 ? 100 : 100000),
                .first = first,
                .last = random_int(&seed, first, round % 3 ? STEPS - 1 : first),
            };
        }
        size_t total = 1;
        q8_err err = {0};
        assert_int_equal(q8_slab_place(part, n, false, &total, &err), Q8_OK);
        check(part, n, total);
        const size_t bound = lower_bound(part, n, STEPS);
        assert_true(total >= bound);
        assert_true(total <= 2 * bound);
    }
}

static void a_chain_needs_its_two_largest_neighbours(void **state)
{
    (void)state;
    q8_slab_part part[20];
    for (int i = 0; i < 20; i++)
        part[i] = (q8_slab_part){.bytes = 6400, .first = i - 1, .last = i};
    size_t total;
    assert_int_equal(q8_slab_place(part, 20, false, &total, NULL), Q8_OK);
    assert_int_equal(total, 2 * 6400);
}

static void a_whole_lives_as_long_as_its_pieces(void **state)
{
    (void)state;
    /* 3 is a piece of 5, 0 and 1 are pieces of 3; 2 and 4 live beside some of them. */
    q8_slab_part part[] = {
        {.bytes = 64, .first = 0, .last = 1, .whole = 4, .at = 0},
        {.bytes = 128, .first = 2, .last = 2, .whole = 4, .at = 64},
        {.bytes = 1000, .first = 1, .last = 3},
        {.bytes = 192, .first = 3, .last = 6, .whole = 6, .at = 640},
        {.bytes = 1000, .first = 6, .last = 7},
        {.bytes = 832, .first = 5, .last = 5},
    };
    size_t total;
    assert_int_equal(q8_slab_place(part, 6, false, &total, NULL), Q8_OK);
    assert_int_equal(part[5].first, 0);
    assert_int_equal(part[5].last, 6);
    assert_int_equal(part[3].offset, part[5].offset + 640);
    assert_int_equal(part[0].offset, part[3].offset);
    assert_int_equal(part[1].offset, part[3].offset + 64);
    for (int i = 2; i <= 4; i += 2)
        assert_true(part[i].offset + part[i].bytes <= part[5].offset ||
                    part[5].offset + part[5].bytes <= part[i].offset);
    assert_int_equal(total, 832 + 1024);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    size_t total;
    q8_err err = {0};
    q8_slab_part huge[] = {{.bytes = SIZE_MAX - 10}};
    assert_int_equal(q8_slab_place(huge, 1, false, &total, &err), Q8_ENOMEM);
    q8_slab_part sum[] = {{.bytes = SIZE_MAX / 2 - 100}, {.bytes = SIZE_MAX / 2 - 100}};
    err = (q8_err){0};
    assert_int_equal(q8_slab_place(sum, 2, false, &total, &err), Q8_ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_parts_never_overlap),
        cmocka_unit_test(a_chain_needs_its_two_largest_neighbours),
        cmocka_unit_test(a_whole_lives_as_long_as_its_pieces),
        cmocka_unit_test(sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
