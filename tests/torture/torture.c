/*
 * torture FOLDER MODE[-on] FIRST STEP -- FLAGS...
 *
 * Runs the program (its own main(), in a process forked for each case) with FLAGS in FOLDER, in
 * which all its outputs are to be called net.*, and lets call FIRST of those that MODE is about
 * fail, then call FIRST + STEP, until there is no such call. Modes: alloc, io, short, intr, link;
 * with
 * "-on" all later calls fail too. Whatever happens there must be one clear error and the old files,
 * or success and whole new ones. With AddressSanitizer leaks are found as well.
 *
 * FIRST and STEP of "1 1" do all; a ctest does some. `torture ... N 0 -- ...` does case N alone,
 * and shows where the call was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"

int __real_main(int argc, char **argv); /* the program's */
int __wrap_main(int argc, char **argv);

enum { MAX_FILES = 16, NAME = 64, TEXT = 1 << 16, SECONDS = 120, MAX_BAD = 10 };

struct file {
    char name[NAME];
    char *data;
    size_t size;
};

/* What is in the folder, but for what the case's program says. */
struct files {
    struct file file[MAX_FILES];
    int n;
};

struct torture {
    const char *folder, *mode_name;
    enum fail_mode mode;
    bool on;
    int argc;
    char **argv;
    struct files old, whole; /* before any run; after one without failures */
    long calls;              /* in that one */
    int n_bad, n_fine, n_refused;
};

static const char SAID[] = "said"; /* stdout and stderr of a case */

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "torture: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* --- files ------------------------------------------------------------------------------------ */

static char *read_file(const char *path, size_t *size)
{
    struct stat st;
    const int fd = open(path, O_RDONLY);
    char *data = fd >= 0 && fstat(fd, &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    if (!data || read(fd, data, (size_t)st.st_size) != (ssize_t)st.st_size)
        give_up(path);
    close(fd);
    data[st.st_size] = 0;
    *size = (size_t)st.st_size;
    return data;
}

static void write_file(const char *path, const char *data, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        give_up(path);
}

static void look(struct files *files)
{
    DIR *dir = opendir(".");
    if (!dir)
        give_up("opendir");
    files->n = 0;
    for (const struct dirent *d; (d = readdir(dir));) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            strcmp(d->d_name, SAID) == 0)
            continue;
        if (files->n == MAX_FILES)
            give_up("too many files");
        struct file *f = &files->file[files->n++];
        snprintf(f->name, sizeof(f->name), "%.*s", NAME - 1, d->d_name);
        f->data = read_file(d->d_name, &f->size);
    }
    closedir(dir);
}

static void forget(struct files *files)
{
    for (int i = 0; i < files->n; i++)
        free(files->file[i].data);
    files->n = 0;
}

static const struct file *find(const struct files *files, const char *name)
{
    for (int i = 0; i < files->n; i++)
        if (strcmp(files->file[i].name, name) == 0)
            return &files->file[i];
    return NULL;
}

static bool same(const struct file *a, const struct file *b)
{
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* The folder as it is before every case. */
static void reset(const struct files *old)
{
    struct files now = {0};
    look(&now);
    for (int i = 0; i < now.n; i++)
        if (!find(old, now.file[i].name))
            unlink(now.file[i].name);
    for (int i = 0; i < old->n; i++)
        write_file(old->file[i].name, old->file[i].data, old->file[i].size);
    forget(&now);
}

/* --- a case ----------------------------------------------------------------------------------- */

/* What the child tells of itself, through a pipe. */
struct told {
    long calls;
    char failed[NAME];
};

static int tell_to = -1;

static void tell(void)
{
    struct told told = {.calls = fail_count()};
    snprintf(told.failed, sizeof(told.failed), "%s", fail_name());
    fail_arm(FAIL_NEVER, 0, false, false);
    if (write(tell_to, &told, sizeof(told)) != (ssize_t)sizeof(told))
        _exit(99);
}

static _Noreturn void be_the_tool(const struct torture *t, long at, bool trace)
{
    const int said = open(SAID, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (said < 0 || dup2(said, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0)
        _exit(98);
    close(said);
    alarm(SECONDS);
    fail_arm(t->mode, at, t->on, trace);
    const int status = __real_main(t->argc, t->argv);
    tell();
    exit(status);
}

/* @return what waitpid() says */
static int run(const struct torture *t, long at, bool trace, struct told *told)
{
    int pipes[2], status;
    memset(told, 0, sizeof(*told));
    if (pipe(pipes) != 0)
        give_up("pipe");
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0)
        give_up("fork");
    if (child == 0) {
        tell_to = pipes[1];
        be_the_tool(t, at, trace);
    }
    close(pipes[1]);
    if (read(pipes[0], told, sizeof(*told)) < 0)
        give_up("read");
    close(pipes[0]);
    if (waitpid(child, &status, 0) != child)
        give_up("waitpid");
    return status;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    while ((text = strstr(text, word))) {
        n++;
        text += strlen(word);
    }
    return n;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Holds times, so its bytes differ from run to run. */
static bool varies(const char *name)
{
    return ends_with(name, ".json") || ends_with(name, ".html");
}

/* Success: all files are new and whole; a picture that could not be read may have been left out. */
static const char *check_success(const struct torture *t, const struct files *now, const char *said,
                                 const struct told *told)
{
    const bool fewer_pictures = strstr(said, "warning:");
    for (int i = 0; i < t->whole.n; i++) {
        const struct file *want = &t->whole.file[i], *is = find(now, want->name);
        if (!is)
            return "success, but a file is missing";
        if (!varies(want->name) && !fewer_pictures && !same(is, want))
            return "success, but other bytes";
        if (same(is, find(&t->old, want->name)))
            return "success, but an old file";
    }
    /* What cannot be unlinked stays. */
    if (now->n != t->whole.n && strcmp(told->failed, "unlink") != 0 && !t->on)
        return "success, but a file is left over";
    if (fewer_pictures && (t->mode == FAIL_SHORT || t->mode == FAIL_INTR))
        return "a warning";
    return NULL;
}

static const char *check_failure(const struct torture *t, const struct files *now, const char *said,
                                 const struct told *told)
{
    if (t->mode == FAIL_SHORT || t->mode == FAIL_INTR || t->mode == FAIL_LINK)
        return "an error";
    if (count(said, "error:") != 1)
        return "not one error";
    if (t->mode == FAIL_ALLOC && !strstr(said, "memory"))
        return "an error that does not tell of memory";
    for (int i = 0; i < now->n; i++) {
        const struct file *was = find(&t->old, now->file[i].name);
        if (!was && !ends_with(now->file[i].name, ".partial") &&
            strcmp(told->failed, "unlink") != 0 && !t->on)
            return "an error, and a file is left behind";
        /* Where renames fail for good it tells what lies where. */
        if (was && !same(was, &now->file[i]) && !(t->on && strstr(said, "; what was '")))
            return "an error, and a file has changed";
    }
    for (int i = 0; i < t->old.n; i++)
        if (!find(now, t->old.file[i].name) && !(t->on && strstr(said, "; what was '")))
            return "an error, and an old file is gone";
    return NULL;
}

static const char *check(const struct torture *t, int status, const struct files *now,
                         const char *said, const struct told *told)
{
    if (!WIFEXITED(status))
        return "ended by a signal";
    switch (WEXITSTATUS(status)) {
    case 0:
        return check_success(t, now, said, told);
    case 1:
    case 2:
        return check_failure(t, now, said, told);
    default:
        return "another exit status";
    }
}

static void complain(const char *what, const struct torture *t, long at, int status,
                     const struct files *now, const char *said)
{
    printf("FAILED %s %ld: %s (status %#x)\n%s\n", t->mode_name, at, what, (unsigned)status, said);
    for (int i = 0; i < now->n; i++)
        printf("  there is %s, %zu bytes\n", now->file[i].name, now->file[i].size);
}

/* @return false when there is no `at`-th call */
static bool try_case(struct torture *t, long at, bool show)
{
    struct told told;
    struct files now = {0};
    size_t size;
    reset(&t->old);
    int status = run(t, at, show, &told);
    char *said = read_file(SAID, &size);
    look(&now);
    const char *wrong = check(t, status, &now, said, &told);
    const bool failed = told.failed[0] || !told.calls; /* a child that died tells nothing */
    if (wrong && !show) {
        free(said);
        reset(&t->old);
        status = run(t, at, true, &told); /* once more, to see where */
        said = read_file(SAID, &size);
    }
    if (wrong || show)
        complain(wrong ? wrong : "as it should be", t, at, status, &now, said);
    t->n_bad += wrong != NULL;
    t->n_fine += !wrong && WEXITSTATUS(status) == 0;
    t->n_refused += !wrong && WEXITSTATUS(status) != 0;
    free(said);
    forget(&now);
    return failed;
}

/* --- all of them ------------------------------------------------------------------------------ */

/* The outputs that the flags name get something that a success replaces. */
static void make_old_files(struct torture *t)
{
    for (int i = 0; i < t->argc; i++) {
        const char *name = strstr(t->argv[i], "=net.");
        if (name)
            write_file(name + 1, "old\n", 4);
    }
    look(&t->old);
}

static void run_whole(struct torture *t)
{
    struct told told;
    size_t size;
    const int status = run(t, 0, false, &told);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        printf("without any failure: status %#x\n%s\n", (unsigned)status, read_file(SAID, &size));
        exit(1);
    }
    t->calls = told.calls;
    look(&t->whole);
}

static bool parse_mode(struct torture *t, const char *word)
{
    static const char *const names[] = {"", "alloc", "io", "short", "intr", "link"};
    const size_t n = strcspn(word, "-");
    t->mode_name = word;
    t->on = strcmp(word + n, "-on") == 0;
    for (int m = FAIL_ALLOC; m <= FAIL_LINK; m++)
        if (strlen(names[m]) == n && strncmp(names[m], word, n) == 0)
            t->mode = (enum fail_mode)m;
    return t->mode != FAIL_NEVER;
}

int __wrap_main(int argc, char **argv)
{
    struct torture t = {.folder = argc > 1 ? argv[1] : ""};
    if (argc < 7 || strcmp(argv[5], "--") != 0 || !parse_mode(&t, argv[2])) {
        fputs("usage: torture FOLDER MODE[-on] FIRST STEP -- FLAGS...\n", stderr);
        return 2;
    }
    const long first = atol(argv[3]), step = atol(argv[4]);
    t.argc = argc - 5;
    t.argv = argv + 5; /* whose first word, as a program's name, is "--" */
    if ((mkdir(t.folder, 0755) != 0 && errno != EEXIST) || chdir(t.folder) != 0)
        give_up(t.folder);
    reset(&t.old);
    make_old_files(&t);
    run_whole(&t);
    if (step == 0)
        try_case(&t, first, true);
    for (long at = first; step > 0 && t.n_bad < MAX_BAD && try_case(&t, at, false); at += step)
        ;
    printf("%s: %ld calls; of the cases %d succeeded, %d ended with an error, %d are wrong\n",
           t.mode_name, t.calls, t.n_fine, t.n_refused, t.n_bad);
    forget(&t.old);
    forget(&t.whole);
    return t.n_bad > 0 || (step > 0 && t.n_fine + t.n_refused < 2);
}
