/** Over samples on every core: each is read and run through the network once. */
#ifndef Q8_CALIB_LOOP_H
#define Q8_CALIB_LOOP_H

#include "calib/samples.h"
#include "exec/exec.h"

/** What is to be done. All borrowed. */
typedef struct q8_loop {
    const q8_samples *samples;
    const q8_exec *exec; /**< for a batch of 1 */
    const char *stage;   /**< for env->progress */
    bool strict;         /**< an unreadable sample is an error, not a counted warning */
    void *const *worker; /**< by thread: what its calls are given */
    int n_workers;
    /** Before a sample is run; NULL: nothing is to be done then. */
    void (*begin)(void *worker, size_t sample);
    q8_observe_fn observe;
    /** After a sample has been run; NULL: nothing is to be done then. */
    q8_code (*done)(void *worker, size_t sample, q8_err *err);
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
