/** Makes one system call or allocation of the program fail: those of our own code, by `ld --wrap`.
 */
#ifndef Q8_TESTS_FAIL_H
#define Q8_TESTS_FAIL_H

#include <stdbool.h>

/** What happens to the chosen calls. */
enum fail_mode {
    FAIL_NEVER, /**< they are counted only */
    FAIL_ALLOC, /**< an allocation, or the making of a thread, fails */
    FAIL_IO,    /**< a call about files fails: EIO, or ENOSPC where something is written */
    FAIL_SHORT, /**< a read or write moves half of what it was asked to */
    FAIL_INTR,  /**< a call is interrupted by a signal that does not matter: EINTR */
    FAIL_LINK,  /**< there are no hard links here: EPERM */
};

/**
 * From now on counts the calls that `mode` is about (FAIL_NEVER: none), and lets the `at`-th fail,
 * counted from 1; with `on` all after it too.
 * @param trace print to stderr which one it is and where it was called
 */
void fail_arm(enum fail_mode mode, long at, bool on, bool trace);
/** Calls counted so far. */
long fail_count(void);
/** Name of the function that failed, "" if none has. */
const char *fail_name(void);

#endif
