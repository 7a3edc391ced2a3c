/** Checkpoints: what a calibration has gathered so far, so that another run can go on from there.
 */
#ifndef Q8_CALIB_CHECKPOINT_H
#define Q8_CALIB_CHECKPOINT_H

#include "calib/stats_file.h"

/** A file, and what it is a checkpoint of. `path` and `subject` are the caller's, borrowed. */
typedef struct q8_checkpoint {
    const char *path;
    q8_stats_subject subject;
    q8_origin origin;
    q8_stats_progress over; /**< `state` is not used */
} q8_checkpoint;

/**
 * Takes down over what the calibration is, and where its checkpoint is there goes on from it: fills
 * `cal` and `state`, with a note. A checkpoint of something else is ::Q8_EINVAL.
 */
q8_code q8_checkpoint_open(q8_checkpoint *checkpoint, const q8_samples *samples, bool strict,
                           q8_calibration *cal, q8_loop_state *state, const q8_env *env,
                           q8_err *err);
/** Replaces the file. Where no sample has been done yet there is none. */
q8_code q8_checkpoint_write(const q8_checkpoint *checkpoint, const q8_calibration *cal,
                            const q8_loop_state *state, q8_err *err);
void q8_checkpoint_close(q8_checkpoint *checkpoint);

#endif
