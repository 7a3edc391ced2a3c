/* Exchanges among members of a team: sums, errors, and that nobody is left waiting. */
#include "base/hash.h"
#include "test_team_threads.h"

static const int sizes[] = {1, 2, 3, 5, 8, 9};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]), MOST_BYTES = 200000 };

static void assert_all(const struct member *member, int size, q8_code code, const char *text)
{
    for (int i = 0; i < size; i++) {
        assert_int_equal(member[i].code, code);
        assert_string_equal(member[i].err.text, text);
        assert_int_equal(member[i].err.code, code);
    }
}

/* --- sums ------------------------------------------------------------------------------------- */

/* Member r brings r, then r + 1 bytes of r, then many. */
struct gathered {
    uint64_t sum[MOST_MEMBERS];
    q8_buf few[MOST_MEMBERS], many[MOST_MEMBERS];
    int told[MOST_MEMBERS];
};

static void pack_sum(void *user, q8_buf *bytes)
{
    q8_buf_add(bytes, user, sizeof(uint64_t));
}

static q8_code add_sum(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    uint64_t other;
    if (size != sizeof(other))
        return q8_fail(err, Q8_EINTERNAL, NULL, NULL, "not a sum");
    memcpy(&other, data, sizeof(other));
    *(uint64_t *)user += other;
    return Q8_OK;
}

static q8_code replace_sum(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    *(uint64_t *)user = 0;
    return add_sum(user, data, size, err);
}

static void add_own(q8_buf *bytes, int rank, size_t count)
{
    const unsigned char own = (unsigned char)rank;
    for (size_t i = 0; i < count; i++)
        q8_buf_add(bytes, &own, 1);
}

static void gather(struct member *m)
{
    struct gathered *g = m->user;
    const int r = m->team.rank;
    const q8_reduction sum = {&g->sum[r], pack_sum, add_sum, replace_sum};
    g->sum[r] = (uint64_t)r + 1;
    g->told[r] = r + 7;
    add_own(&g->few[r], r, (size_t)r);
    add_own(&g->many[r], r, MOST_BYTES - (size_t)r);
    m->code = q8_team_reduce(&m->env, Q8_OK, &sum, &m->err);
    m->code = q8_team_gather(&m->env, m->code, &g->few[r], &m->err);
    m->code = q8_team_broadcast(&m->env, m->code, &g->told[r], sizeof(g->told[r]), &m->err);
    m->code = q8_team_gather(&m->env, m->code, &g->many[r], &m->err);
    if (!m->code)
        m->code = q8_team_check_same(&m->env, 17, "numbers", &m->err);
}

static void test_sums(void **state)
{
    (void)state;
    for (int s = 0; s < N_SIZES; s++) {
        struct member member[MOST_MEMBERS];
        struct gathered g = {0};
        const int n = sizes[s];
        run_team(member, n, gather, &g);
        assert_all(member, n, Q8_OK, "");
        for (int i = 0; i < n; i++) {
            size_t few = 0, many = 0;
            assert_int_equal(g.sum[i], n * (n + 1) / 2);
            assert_int_equal(g.told[i], 7);
            for (int k = 0; k < n; k++) {
                for (int j = 0; j < k; j++)
                    assert_int_equal(g.few[i].data[few++], k);
                for (size_t j = 0; j < MOST_BYTES - (size_t)k; j += 1000)
                    assert_int_equal(g.many[i].data[many + j], k);
                many += MOST_BYTES - (size_t)k;
            }
            assert_int_equal(g.few[i].size, few);
            assert_int_equal(g.many[i].size, many);
            q8_buf_free(&g.few[i]);
            q8_buf_free(&g.many[i]);
        }
    }
}

static void test_alone(void **state)
{
    (void)state;
    q8_err err = {0};
    q8_team one = {.size = 1};
    const q8_env env = {.team = &one};
    assert_int_equal(q8_agree(NULL, Q8_EIO, &err), Q8_EIO);
    assert_int_equal(q8_agree(&env, Q8_EIO, &err), Q8_EIO);
    assert_int_equal(q8_agree(&env, Q8_OK, &err), Q8_OK);
    assert_int_equal(q8_team_size(NULL), 1);
    assert_int_equal(q8_team_share(&env, 5), 5);
    assert_int_equal(q8_team_share(&env, 0), 0);
    assert_true(q8_team_stopped(&env) == SIZE_MAX);
}

static void test_shares(void **state)
{
    (void)state;
    for (int size = 1; size < 7; size++)
        for (size_t count = 0; count < 20; count++) {
            size_t sum = 0;
            for (int rank = 0; rank < size; rank++) {
                q8_team team = {.rank = rank, .size = size};
                const q8_env env = {.team = &team};
                size_t expected = 0;
                for (size_t i = 0; i < count; i++)
                    expected += i % (size_t)size == (size_t)rank;
                assert_int_equal(q8_team_share(&env, count), expected);
                sum += expected;
            }
            assert_int_equal(sum, count);
        }
}

/* --- errors ----------------------------------------------------------------------------------- */

/* What member `who` does wrong; the others do what gather() does. */
struct mishap {
    struct gathered g;
    int who;
    q8_code code;
    int again[MOST_MEMBERS]; /* what an exchange says after the failure */
};

static void fail_early(struct member *m)
{
    struct mishap *mishap = m->user;
    if (m->team.rank == mishap->who) {
        m->code = q8_fail(&m->err, mishap->code, NULL, "fc8", "no luck");
        m->code = q8_agree(&m->env, m->code, &m->err); /* the others are not in this one */
    } else {
        m->user = &mishap->g;
        gather(m);
    }
    q8_err other = {0};
    mishap->again[m->team.rank] = (int)q8_agree(&m->env, Q8_OK, &other);
}

static void free_gathered(struct gathered *g)
{
    for (int i = 0; i < MOST_MEMBERS; i++) {
        q8_buf_free(&g->few[i]);
        q8_buf_free(&g->many[i]);
    }
}

static void test_one_fails(void **state)
{
    (void)state;
    for (int s = 1; s < N_SIZES; s++)
        for (int who = 0; who < sizes[s]; who++) {
            struct member member[MOST_MEMBERS];
            struct mishap mishap = {.who = who, .code = Q8_EMODEL};
            char text[64] = "no luck";
            if (who > 0)
                snprintf(text, sizeof(text), "no luck (in process %d of %d)", who + 1, sizes[s]);
            run_team(member, sizes[s], fail_early, &mishap);
            assert_all(member, sizes[s], Q8_EMODEL, text);
            for (int i = 0; i < sizes[s]; i++) {
                assert_string_equal(member[i].err.layer, "fc8");
                assert_int_equal(mishap.again[i], Q8_EMODEL);
            }
            free_gathered(&mishap.g);
        }
}

/* Everybody fails: of the errors, not the interrupts, the one of the lowest rank counts. */
static void fail_all(struct member *m)
{
    const int r = m->team.rank;
    m->code = q8_fail(&m->err, r < 2 ? Q8_EINTR : Q8_EIO, NULL, NULL, "error %d", r);
    m->code = q8_agree(&m->env, m->code, &m->err);
}

static void test_which_error(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    run_team(member, 2, fail_all, NULL);
    assert_all(member, 2, Q8_EINTR, "error 0");
    run_team(member, 5, fail_all, NULL);
    assert_all(member, 5, Q8_EIO, "error 2 (in process 3 of 5)");
}

static void be_cancelled(struct member *m)
{
    m->cancel = m->team.rank == 1;
    m->code = q8_agree(&m->env, Q8_OK, &m->err);
}

static void test_cancel(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    run_team(member, 3, be_cancelled, NULL);
    assert_all(member, 3, Q8_EINTR, "interrupted");
}

/* A code without a message. */
static void fail_silently(struct member *m)
{
    m->code = q8_agree(&m->env, m->team.rank == 1 ? Q8_EINVAL : Q8_OK, &m->err);
}

static void test_no_reason(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    run_team(member, 2, fail_silently, NULL);
    assert_all(member, 2, Q8_EINVAL, "failed without a reason (in process 2 of 2)");
}

static q8_code refuse(void *user, const unsigned char *data, size_t size, q8_err *err)
{
    (void)data, (void)size;
    const struct member *m = user;
    return m->team.rank == 2 ? q8_fail(err, Q8_EFORMAT, NULL, NULL, "refused") : Q8_OK;
}

static void pack_none(void *user, q8_buf *bytes)
{
    (void)user, (void)bytes;
}

/* Member 2 cannot merge what 3 brings; or cannot take the result, which the next exchange tells. */
static void refuse_child(struct member *m)
{
    const q8_reduction what = {m, pack_none, refuse, refuse};
    m->code = q8_team_reduce(&m->env, Q8_OK, &what, &m->err);
}

static void refuse_result(struct member *m)
{
    int *first = m->user;
    const q8_reduction what = {m, pack_none, refuse, refuse};
    first[m->team.rank] = (int)q8_team_reduce(&m->env, Q8_OK, &what, &m->err);
    m->code = q8_agree(&m->env, (q8_code)first[m->team.rank], &m->err);
}

static void test_refusals(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    int first[3];
    run_team(member, 4, refuse_child, NULL);
    assert_all(member, 4, Q8_EFORMAT, "refused (in process 3 of 4)");
    run_team(member, 3, refuse_result, first); /* without a child */
    assert_all(member, 3, Q8_EFORMAT, "refused (in process 3 of 3)");
    assert_true(first[0] == Q8_OK && first[1] == Q8_OK && first[2] == Q8_EFORMAT);
}

/* Member 1 is gone without a word. */
static void vanish(struct member *m)
{
    if (m->team.rank != 1)
        m->code = q8_agree(&m->env, Q8_OK, &m->err);
}

static void test_a_member_is_lost(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    run_team(member, 4, vanish, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(member[i].code, i == 1 ? Q8_OK : Q8_EIO);
    assert_string_equal(member[3].err.text, "the connection to process 2 of 4 is lost");
}

static void differ(struct member *m)
{
    const uint64_t hash = q8_hash(0, "abc", m->team.rank == 2 ? 2 : 3);
    m->code = q8_team_check_same(&m->env, hash, "pictures", &m->err);
    q8_err other = {0};
    if (q8_agree(&m->env, Q8_OK, &other) != Q8_EINVAL) /* known to all: nothing is exchanged */
        m->code = Q8_EINTERNAL;
}

static void test_not_the_same(void **state)
{
    (void)state;
    struct member member[MOST_MEMBERS];
    run_team(member, 5, differ, NULL);
    assert_all(member, 5, Q8_EINVAL,
               "process 3 of 5 has other pictures than process 1: all must see the same");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_one_fails),
        cmocka_unit_test(test_which_error),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_no_reason),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_member_is_lost),
        cmocka_unit_test(test_not_the_same),
    };
    alarm(60); /* nobody may wait for ever */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
