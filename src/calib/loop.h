/** Over samples on every core: each is read and run through the network once. */
#ifndef Q8_CALIB_LOOP_H
#define Q8_CALIB_LOOP_H

#include "calib/samples.h"
#include "exec/exec.h"

/** A sample that could not be read, or that something else went wrong with. */
typedef struct q8_unread {
    size_t index;
    q8_code code;
    bool fatal;                      /**< it is not left out but ends the loop */
    const char *text, *file, *layer; /**< in a state all in one memory from malloc(), at `text` */
} q8_unread;

/** How far a loop has come: of the samples that this member of the team does, all before the
 *  `next`-th are done, none after it. */
typedef struct q8_loop_state {
    size_t next;
    size_t used;
    q8_unread *unread; /**< in list order */
    size_t n_unread;
} q8_loop_state;

/** Adds a copy of a sample behind the others. */
q8_code q8_loop_state_add(q8_loop_state *state, const q8_unread *unread, q8_err *err);
void q8_loop_state_free(q8_loop_state *state);

/** What is to be done. All borrowed. */
typedef struct q8_loop {
    const q8_samples *samples;
    const q8_exec *exec;
    const char *stage;   /**< for env->progress */
    bool strict;         /**< an unreadable sample is an error, not a counted warning */
    void *const *worker; /**< by thread: what its calls are given */
    int n_workers;
    /** Before a batch of these samples is run; NULL: nothing is to be done then. */
    void (*begin)(void *worker, const size_t *sample, int n);
    q8_observe_fn observe;
    /** After a sample has been run, with its batch; NULL: nothing is to be done then. */
    q8_code (*done)(void *worker, size_t sample, q8_err *err);
    /** Where it begins; brought up to date before each `pause`. NULL: at the first sample. */
    q8_loop_state *state;
    /**
     * Called while no sample is being done, about every `pause_seconds` (0: whenever each thread
     * has done a batch), when the loop is cancelled, and when all is done; not once something
     * fatal has happened. NULL: never.
     */
    q8_code (*pause)(void *user, const q8_loop_state *state, q8_err *err);
    void *pause_user;
    double pause_seconds;
} q8_loop;

/** How many threads a loop over these samples should have. */
int q8_loop_workers(const q8_samples *samples, const q8_env *env);

/**
 * Unreadable samples are warned about by file, in list order, and counted; with `strict` the first
 * of them is an error, and so is having none that can be read. Which thread does which sample
 * changes from run to run; warnings and errors do not.
 */
q8_code q8_loop_run(const q8_loop *loop, const q8_env *env, size_t *used, size_t *skipped,
                    q8_err *err);

#endif
