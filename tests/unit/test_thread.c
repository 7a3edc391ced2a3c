#include "base/thread.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

struct count {
    atomic_int next, ran[64];
    pthread_t thread[64];
    atomic_int taken[1000];
};

static q8_code take_all(void *user, int worker, q8_err *err)
{
    (void)err;
    struct count *c = user;
    atomic_fetch_add(&c->ran[worker], 1);
    c->thread[worker] = pthread_self();
    for (int i; (i = atomic_fetch_add(&c->next, 1)) < 1000;)
        atomic_fetch_add(&c->taken[i], 1);
    return Q8_OK;
}

static void check_all_taken(int threads)
{
    static struct count c;
    memset(&c, 0, sizeof(c));
    q8_err err = {0};
    assert_int_equal(q8_parallel(threads, take_all, &c, &err), Q8_OK);
    for (int i = 0; i < 64; i++)
        assert_int_equal(c.ran[i], i < threads ? 1 : 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(c.taken[i], 1);
}

static void test_each_worker_runs_once(void **unused)
{
    (void)unused;
    check_all_taken(1);
    check_all_taken(2);
    check_all_taken(17);
    check_all_taken(64);
}

static void test_without_threads(void **unused)
{
    (void)unused;
    /* No more address space: thread stacks cannot be made, and the caller does it all. */
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none = old;
    none.rlim_cur = 1 << 20;
#ifdef SANITIZED
    skip(); /* sanitizers need address space of their own */
#endif
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    static struct count c;
    q8_err err = {0};
    const q8_code code = q8_parallel(5, take_all, &c, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(code, Q8_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(c.ran[i], 1);
        assert_true(pthread_equal(c.thread[i], pthread_self()));
    }
}

static q8_code fail_some(void *user, int worker, q8_err *err)
{
    (void)user;
    if (worker == 0)
        return Q8_OK;
    return q8_fail(err, worker == 1 ? Q8_EIO : Q8_EMODEL, NULL, NULL, "worker %d", worker);
}

static void test_first_error_by_number(void **unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        q8_err err = {0};
        assert_int_equal(q8_parallel(6, fail_some, NULL, &err), Q8_EIO);
        assert_string_equal(err.text, "worker 1");
        assert_int_equal(q8_parallel(6, fail_some, NULL, NULL), Q8_EIO);
    }
}

static void test_core_count(void **unused)
{
    (void)unused;
    assert_in_range(q8_core_count(), 1, 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_threads), /* before stacks are there to be used again */
        cmocka_unit_test(test_each_worker_runs_once),
        cmocka_unit_test(test_first_error_by_number),
        cmocka_unit_test(test_core_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
