#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

/* A clock that stands still until it is moved. */
static double clock_seconds;

static int stopped_clock(clockid_t clock, struct timespec *t)
{
    (void)clock;
    t->tv_sec = (time_t)clock_seconds;
    t->tv_nsec = (long)((clock_seconds - (double)t->tv_sec) * 1e9);
    return 0;
}

#define clock_gettime stopped_clock
#include "../../tool/progress.c"

/* What is printed by updates of (clock_seconds, done) in a stage of 1000. */
static void print(char *text, size_t size, const double (*update)[2], int n)
{
    struct progress p;
    FILE *file = tmpfile(), *shown = stderr;
    assert_non_null(file);
    stderr = file;
    progress_start(&p, PROGRESS_ALWAYS);
    for (int i = 0; i < n; i++) {
        clock_seconds = update[i][0];
        progress_update(&p, "calibrate", (size_t)update[i][1], 1000);
    }
    progress_clear(&p);
    stderr = shown;
    rewind(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

static void the_rate_is_of_what_was_done_since_the_beginning(void **state)
{
    (void)state;
    static const double updates[][2] = {{100, 1}, {110, 101}};
    char text[4096];
    print(text, sizeof(text), updates, 2);
    assert_non_null(strstr(text, "1/1000  0.0/s  ? left"));
    assert_non_null(strstr(text, "101/1000  10.0/s  1:30 left"));
}

/* 800 of 1000 were done before: they say nothing of how fast this run is. */
static void a_run_that_goes_on_counts_its_own_only(void **state)
{
    (void)state;
    static const double updates[][2] = {{100, 804}, {104, 808}, {110, 854}};
    char text[4096];
    print(text, sizeof(text), updates, 3);
    assert_non_null(strstr(text, "808/1000  1.0/s  3:12 left"));
    assert_non_null(strstr(text, "854/1000  5.0/s  0:29 left"));
}

static void a_stage_that_begins_anew_starts_its_clock_anew(void **state)
{
    (void)state;
    static const double updates[][2] = {{100, 10}, {110, 1000}, {120, 10}, {121, 30}};
    char text[4096];
    print(text, sizeof(text), updates, 4);
    assert_non_null(strstr(text, "30/1000  20.0/s  0:49 left"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_of_what_was_done_since_the_beginning),
        cmocka_unit_test(a_run_that_goes_on_counts_its_own_only),
        cmocka_unit_test(a_stage_that_begins_anew_starts_its_clock_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
