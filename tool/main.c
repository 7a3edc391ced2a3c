/* The program: reads the command line, calls libq8, prints. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "convert.h"
#include "device.h"
#include "message.h"
#include "options.h"
#include "progress.h"
#include "show.h"
#include "stats.h"
#include "team.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_OUT_OF_REACH = 3,
    EXIT_INTERRUPTED = 130
};

static volatile int interrupted;

static void on_signal(int number)
{
    (void)number;
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

static void catch_signals(void)
{
    /* SA_RESETHAND: a second Ctrl-C ends at once. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_warning(void *user, const q8_err *what)
{
    progress_clear(user);
    print_message(what, "warning");
}

static void on_note(void *user, const q8_err *what)
{
    progress_clear(user);
    print_message(what, "note");
}

static void on_progress(void *user, const char *stage, size_t done, size_t total)
{
    progress_update(user, stage, done, total);
}

static int default_threads(const struct options *o, const q8_team *team)
{
    return o->threads ? o->threads : team_threads(team);
}

static int list_devices(q8_err *err)
{
    if (device_list(err) == Q8_OK)
        return EXIT_DONE;
    print_message(err, "error");
    return EXIT_FAILED;
}

static int run(int argc, char **argv, q8_team *team)
{
    static struct options options;
    static q8_err err;
    struct progress progress;
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        return show_main(argc - 1, argv + 1);
    if (!options_parse(&options, argc, argv))
        return EXIT_USAGE;
    if (options.help)
        options_help(stdout);
    if (options.version)
        printf("caffe-int8-to-ncnn %s\n", q8_version());
    if (options.help || options.version)
        return EXIT_DONE;
    if (device_is_list(&options))
        return list_devices(&err);
    catch_signals();
    progress_start(&progress, options.quiet ? PROGRESS_NEVER : options.progress);
    const q8_env env = {.user = &progress,
                        .warn = on_warning,
                        .note = options.quiet ? NULL : on_note,
                        .progress = on_progress,
                        .cancel = &interrupted,
                        .threads = default_threads(&options, team),
                        .max_memory = options.max_memory,
                        .team = team};
    bool met;
    const q8_code code = convert(&options, &met, &env, &err);
    progress_clear(&progress);
    if (code == Q8_EINTR) {
        stats_print_interrupted(&options, team);
        return EXIT_INTERRUPTED;
    }
    if (code)
        print_message(&err, "error");
    if (!code && !met)
        return EXIT_OUT_OF_REACH;
    return code == Q8_OK ? EXIT_DONE : code == Q8_EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

/** Left alone, glibc keeps ever larger blocks for itself once one of their size was freed, so what
 * a long list of pictures took for a moment would show in the memory of all that follows. */
static void return_freed_memory(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 1 << 18);
#endif
}

int main(int argc, char **argv)
{
    q8_team team;
    return_freed_memory();
    if (!team_open(&team, &interrupted))
        return EXIT_FAILED;
    const bool first = team.rank == 0;
    const int status = run(argc, argv, &team);
    team_close(&team);
    return first ? status : EXIT_DONE; /* mpirun's is the first that is not 0 */
}
