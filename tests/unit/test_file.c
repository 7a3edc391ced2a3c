#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/replace.h"

/* A fresh folder per test; `at()` names a file in it. */
static char folder[64];
static char paths[4][512];
static int next_path;

static int enter(void **state)
{
    (void)state;
    next_path = 0;
    strcpy(folder, "/tmp/q8-test-file-XXXXXX");
    umask(022);
    return mkdtemp(folder) ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static const char *at(const char *name)
{
    char *path = paths[next_path++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static int entries(void)
{
    DIR *d = opendir(folder);
    int n = -2; /* . and .. */
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void assert_holds(const char *path, const char *text)
{
    q8_bytes bytes;
    q8_err err = {0};
    assert_int_equal(q8_file_read(&bytes, path, 1 << 20, &err), Q8_OK);
    assert_string_equal((char *)bytes.data, text);
    assert_int_equal(bytes.size, strlen(text));
    q8_bytes_free(&bytes);
}

static void assert_says(const q8_err *err, const char *text)
{
    if (!strstr(err->text, text))
        fail_msg("'%s' does not say '%s'", err->text, text);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void reads_what_is_there(void **state)
{
    (void)state;
    q8_bytes bytes;
    q8_err err = {0};
    put(at("f"), "");
    assert_holds(at("f"), "");
    put(at("f"), "12345678");
    assert_holds(at("f"), "12345678");
    assert_int_equal(q8_file_read(&bytes, at("f"), 8, &err), Q8_OK);
    q8_bytes_free(&bytes);
    /* A file that does not tell its size. */
    assert_int_equal(q8_file_read(&bytes, "/proc/self/maps", 1 << 24, &err), Q8_OK);
    assert_true(bytes.size > 100);
    q8_bytes_free(&bytes);
}

static void read_errors_name_file_and_reason(void **state)
{
    (void)state;
    q8_bytes bytes;
    q8_err err = {0};
    assert_int_equal(q8_file_read(&bytes, at("missing"), 100, &err), Q8_EIO);
    assert_string_equal(err.text, "cannot open: No such file or directory");
    assert_non_null(strstr(err.file, "missing"));
    assert_null(bytes.data);
    err = (q8_err){0};
    assert_int_equal(q8_file_read(&bytes, folder, 100, &err), Q8_EIO);
    assert_string_equal(err.text, "cannot read: Is a directory");
    err = (q8_err){0};
    put(at("f"), "123456789");
    assert_int_equal(q8_file_read(&bytes, at("f"), 8, &err), Q8_EIO);
    assert_says(&err, "8 bytes");
    err = (q8_err){0};
    assert_int_equal(q8_file_read(&bytes, "/dev/zero", 1000000, &err), Q8_EIO);
    assert_says(&err, "1000000 bytes");
    assert_null(bytes.data);
    if (geteuid() == 0)
        return; /* who may read everything */
    err = (q8_err){0};
    assert_int_equal(chmod(at("f"), 0), 0);
    assert_int_equal(q8_file_read(&bytes, at("f"), 100, &err), Q8_EIO);
    assert_string_equal(err.text, "cannot open: Permission denied");
}

static void on_signal(int number)
{
    (void)number;
}

/* A pipe that is filled slowly, with signals in between. */
static void reads_pipes_through_signals(void **state)
{
    (void)state;
    const char *path = at("pipe");
    const struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
    sigaction(SIGUSR1, &action, NULL);
    assert_int_equal(mkfifo(path, 0600), 0);
    const pid_t parent = getpid(), child = fork();
    if (child == 0) {
        char data[40000];
        memset(data, 'x', sizeof(data));
        usleep(20000);
        kill(parent, SIGUSR1); /* in open() */
        const int fd = open(path, O_WRONLY);
        for (int i = 0; i < 5; i++) {
            usleep(5000);
            kill(parent, SIGUSR1);
            if (write(fd, data, sizeof(data)) != sizeof(data))
                _exit(1);
        }
        _exit(0);
    }
    q8_bytes bytes;
    q8_err err = {0};
    assert_int_equal(q8_file_read(&bytes, path, 1 << 20, &err), Q8_OK);
    assert_int_equal(bytes.size, 200000);
    assert_int_equal(bytes.data[199999], 'x');
    assert_int_equal(bytes.data[200000], 0);
    q8_bytes_free(&bytes);
    int status;
    pid_t ended;
    do
        ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    assert_int_equal(status, 0);
}

/* --- replacing -------------------------------------------------------------------------------- */

static q8_code replace_pair(const char *a, const char *b, q8_err *err)
{
    q8_replace *r = NULL;
    *err = (q8_err){0};
    q8_code code = q8_replace_open(&r, err);
    if (!code)
        code = q8_replace_add(r, a, "new a", 5, err);
    if (!code)
        code = q8_replace_add(r, b, "new b", 5, err);
    if (!code)
        code = q8_replace_commit(r, err);
    q8_replace_close(&r);
    assert_null(r);
    return code;
}

static void makes_new_files(void **state)
{
    (void)state;
    q8_err err;
    struct stat st;
    umask(027);
    assert_int_equal(replace_pair(at("a"), at("b"), &err), Q8_OK);
    assert_holds(at("a"), "new a");
    assert_holds(at("b"), "new b");
    assert_int_equal(stat(at("a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(entries(), 2);
}

static void takes_paths_without_a_folder(void **state)
{
    (void)state;
    q8_err err;
    char old[4096];
    assert_non_null(getcwd(old, sizeof(old)));
    assert_int_equal(chdir(folder), 0);
    q8_code code = replace_pair("a", "./b", &err);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(code, Q8_OK);
    assert_holds(at("b"), "new b");
}

static void keeps_the_mode_of_old_files(void **state)
{
    (void)state;
    q8_err err;
    struct stat st;
    put(at("a"), "old a");
    put(at("b"), "old b, which is longer than the new one");
    assert_int_equal(chmod(at("a"), 0604), 0);
    assert_int_equal(replace_pair(at("a"), at("b"), &err), Q8_OK);
    assert_holds(at("a"), "new a");
    assert_holds(at("b"), "new b");
    assert_int_equal(stat(at("a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    assert_int_equal(entries(), 2);
}

static void nothing_happens_before_commit(void **state)
{
    (void)state;
    q8_replace *r;
    q8_err err = {0};
    put(at("a"), "old a");
    assert_int_equal(q8_replace_open(&r, &err), Q8_OK);
    assert_int_equal(q8_replace_add(r, at("a"), "new a", 5, &err), Q8_OK);
    assert_int_equal(q8_replace_add(r, at("b"), "new b", 5, &err), Q8_OK);
    assert_holds(at("a"), "old a");
    assert_int_equal(access(at("b"), F_OK), -1);
    assert_holds(q8_replace_temp_path(r, 0), "new a");
    assert_holds(q8_replace_temp_path(r, 1), "new b");
    assert_null(q8_replace_temp_path(r, 2));
    assert_int_equal(entries(), 3);
    q8_replace_close(&r);
    q8_replace_close(&r); /* NULL by now */
    assert_holds(at("a"), "old a");
    assert_int_equal(entries(), 1);
}

/* Writes param and bin of one letter again and again. */
static void write_pairs(char letter)
{
    enum { PAIRS = 150, SIZE = 5000 };
    char data[SIZE], a[512], b[512];
    snprintf(a, sizeof(a), "%s/net.param", folder);
    snprintf(b, sizeof(b), "%s/net.bin", folder);
    memset(data, letter, sizeof(data));
    for (int i = 0; i < PAIRS; i++) {
        q8_replace *r;
        q8_err err = {0};
        q8_code code = q8_replace_open(&r, &err);
        if (!code)
            code = q8_replace_add(r, a, data, (size_t)(SIZE - i), &err);
        if (!code)
            code = q8_replace_add(r, b, data, (size_t)(SIZE - i), &err);
        if (!code)
            code = q8_replace_commit(r, &err);
        q8_replace_close(&r);
        if (code)
            _exit(1);
    }
    _exit(0);
}

/* Two processes replace a pair of files; nobody who reads it ever has one's first file with the
 * other's second, or with an older one's. */
static void two_writers_and_a_reader(void **state)
{
    (void)state;
    pid_t child[2];
    char param[512], bin[512];
    int pairs = 0, status, left = 2;
    snprintf(param, sizeof(param), "%s/net.param", folder);
    snprintf(bin, sizeof(bin), "%s/net.bin", folder);
    for (int i = 0; i < 2; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0)
            write_pairs((char)('a' + i));
    }
    while (left > 0) {
        q8_bytes one = {0}, other = {0};
        q8_err err = {0};
        if (q8_file_read_pair(&one, param, 1 << 20, &other, bin, 1 << 20, &err) == Q8_OK) {
            assert_int_equal(one.size, other.size);
            assert_memory_equal(one.data, other.data, one.size);
            pairs++;
        }
        q8_bytes_free(&one);
        q8_bytes_free(&other);
        while (left > 0 && waitpid(-1, &status, WNOHANG) > 0) {
            assert_int_equal(status, 0);
            left--;
        }
    }
    assert_true(pairs > 10);
    assert_int_equal(entries(), 2);
}

static void a_failed_rename_puts_the_others_back(void **state)
{
    (void)state;
    for (int existed = 0; existed < 2; existed++) {
        q8_replace *r;
        q8_err err = {0};
        struct stat before, after;
        if (existed)
            put(at("a"), "old a");
        assert_int_equal(q8_replace_open(&r, &err), Q8_OK);
        assert_int_equal(q8_replace_add(r, at("a"), "new a", 5, &err), Q8_OK);
        assert_int_equal(q8_replace_add(r, at("b"), "new b", 5, &err), Q8_OK);
        assert_int_equal(q8_replace_add(r, at("c"), "new c", 5, &err), Q8_OK);
        assert_int_equal(mkdir(at("c"), 0700), 0);
        assert_int_equal(stat(at("a"), &before), existed ? 0 : -1);
        assert_int_equal(q8_replace_commit(r, &err), Q8_EIO);
        assert_string_equal(err.text, "cannot replace: Is a directory");
        assert_non_null(strstr(err.file, "/c"));
        q8_replace_close(&r);
        assert_int_equal(entries(), 1 + existed); /* the folder, and a if it was there */
        if (existed) {
            assert_holds(at("a"), "old a");
            assert_int_equal(stat(at("a"), &after), 0);
            assert_int_equal(before.st_ino, after.st_ino);
        }
        assert_int_equal(rmdir(at("c")), 0);
    }
}

static void a_folder_in_the_way_of_a_backup_stays(void **state)
{
    (void)state;
    q8_replace *r;
    q8_err err = {0};
    assert_int_equal(q8_replace_open(&r, &err), Q8_OK);
    assert_int_equal(q8_replace_add(r, at("a"), "new a", 5, &err), Q8_OK);
    assert_int_equal(q8_replace_add(r, at("b"), "new b", 5, &err), Q8_OK);
    assert_int_equal(mkdir(at("a"), 0700), 0);
    assert_int_equal(q8_replace_commit(r, &err), Q8_EIO);
    q8_replace_close(&r);
    assert_int_equal(entries(), 1);
    assert_int_equal(rmdir(at("a")), 0);
}

static void writes_through_symbolic_links(void **state)
{
    (void)state;
    q8_err err;
    struct stat st;
    assert_int_equal(mkdir(at("real"), 0700), 0);
    put(at("real/a"), "old a");
    assert_int_equal(symlink("real/a", at("link")), 0);
    assert_int_equal(replace_pair(at("link"), at("b"), &err), Q8_OK);
    assert_int_equal(lstat(at("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_holds(at("real/a"), "new a");
    assert_int_equal(entries(), 3);
}

static void assert_refused(const char *path, q8_code code, const char *why)
{
    q8_err err;
    assert_int_equal(replace_pair(at("ok"), path, &err), code);
    assert_says(&err, why);
    assert_string_equal(err.file, path);
    assert_int_equal(access(at("ok"), F_OK), -1);
}

static void refuses_what_cannot_be_replaced(void **state)
{
    (void)state;
    char slash[600];
    put(at("read-only"), "old");
    assert_int_equal(chmod(at("read-only"), 0444), 0);
    assert_int_equal(symlink("nowhere", at("dangling")), 0);
    snprintf(slash, sizeof(slash), "%s/", folder);
    assert_refused(folder, Q8_EIO, "is a folder");
    assert_refused(slash, Q8_EIO, "is a folder");
    assert_refused(at("new/"), Q8_EIO, "a file name is missing");
    assert_refused("", Q8_EIO, "a file name is missing");
    assert_refused("/dev/full", Q8_EIO, "is not a regular file");
    assert_refused(at("read-only"), Q8_EIO, "is read-only");
    assert_refused(at("dangling"), Q8_EIO, "a symbolic link to a file that does not exist");
    assert_refused(at("no/such/folder"), Q8_EIO, "cannot create: No such file or directory");
    assert_refused(at("read-only/file"), Q8_EIO, "cannot create: Not a directory");
    assert_refused("/proc/new", Q8_EIO, "cannot create a temporary file beside it");
    assert_refused(at("../"), Q8_EIO, "is a folder");
    assert_holds(at("read-only"), "old");
    assert_int_equal(entries(), 2);
}

static void refuses_one_file_twice(void **state)
{
    (void)state;
    char twin[600];
    snprintf(twin, sizeof(twin), "%s/./ok", folder);
    assert_refused(twin, Q8_EINVAL, "is the same file as");
    put(at("file"), "old");
    assert_int_equal(symlink("file", at("link")), 0);
    q8_err err;
    assert_int_equal(replace_pair(at("file"), at("link"), &err), Q8_EINVAL);
    assert_holds(at("file"), "old");
    assert_int_equal(entries(), 2);
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
    (void)state;
    static char large[100000];
    struct rlimit old, small;
    q8_replace *r;
    q8_err err = {0};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){30000, old.rlim_max};
    put(at("a"), "old a");
    assert_int_equal(q8_replace_open(&r, &err), Q8_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const q8_code code = q8_replace_add(r, at("a"), large, sizeof(large), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(code, Q8_EIO);
    assert_string_equal(err.text, "cannot write: File too large");
    assert_int_equal(entries(), 1);
    q8_replace_close(&r);
    assert_holds(at("a"), "old a");
}

static void takes_the_longest_names(void **state)
{
    (void)state;
    char name[256];
    q8_err err;
    memset(name, 'n', 255);
    name[255] = '\0';
    put(at(name), "old");
    assert_int_equal(replace_pair(at(name), at("b"), &err), Q8_OK);
    assert_holds(at(name), "new a");
    assert_int_equal(entries(), 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(reads_what_is_there),
        TEST(read_errors_name_file_and_reason),
        TEST(reads_pipes_through_signals),
        TEST(makes_new_files),
        TEST(takes_paths_without_a_folder),
        TEST(keeps_the_mode_of_old_files),
        TEST(nothing_happens_before_commit),
        TEST(two_writers_and_a_reader),
        TEST(a_failed_rename_puts_the_others_back),
        TEST(a_folder_in_the_way_of_a_backup_stays),
        TEST(writes_through_symbolic_links),
        TEST(refuses_what_cannot_be_replaced),
        TEST(refuses_one_file_twice),
        TEST(a_full_disk_leaves_nothing_behind),
        TEST(takes_the_longest_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
