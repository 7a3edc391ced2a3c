/** A model's statistics as files. */
#ifndef Q8_API_STATS_H
#define Q8_API_STATS_H

#include "api/model.h"
#include "base/buf.h"
#include "calib/stats_file.h"

/** What tells the model's float network from others. Everything is from `arena`. */
q8_code q8_stats_describe(q8_stats_subject *subject, const q8_model *model, q8_arena *arena,
                          q8_err *err);
/** q8_calibration_run() with checkpoints. */
q8_code q8_stats_calibrate(q8_model *model, q8_calibration_of what, const q8_env *env, q8_err *err);
/** The file's bytes, for q8_buf_free() also after a failure. */
q8_code q8_stats_bytes(const q8_model *model, q8_buf *bytes, q8_err *err);

#endif
