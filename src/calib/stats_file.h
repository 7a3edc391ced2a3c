/**
 * Statistics as files, and checkpoints of a calibration that is under way.
 *
 *     "\x89q8stats", u32 version, u64 size of the file,
 *     u64 hash of the network's layers, u64 of its weights, text that describes the network,
 *     u32 inputs (0: nothing was observed), for each u8 pictures, u8 rgb, u8 resize, 4 f32 mean,
 *         4 f32 norm, u64 hash of a mean by pixel,
 *     u32 parts, for each u64 hash,
 *     u8 checkpoint; if it is one: u64 hash of the samples, u8 strict, u64 samples, u64 done,
 *         u32 unreadable samples, for each u64 index, u32 code, text, text file,
 *     the calibration as in packed.h, u64 hash of all before
 *
 * Numbers and texts are as in base/pack.h.
 */
#ifndef Q8_CALIB_STATS_FILE_H
#define Q8_CALIB_STATS_FILE_H

#include "base/buf.h"
#include "calib/calibrate.h"
#include "calib/loop.h"
#include "calib/origin.h"

/** Raised whenever the format changes, or what its numbers mean. */
enum { Q8_STATS_VERSION = 1 };

/** What a file is for: it is written with this, and must be the same when read. Borrowed. */
typedef struct q8_stats_subject {
    const q8_graph *graph;
    const bool *wanted; /**< tensors that are observed */
    uint64_t layers, weights;
    const char *description; /**< of the network, for messages */
} q8_stats_subject;

/** How far a checkpoint's calibration has come, and over what. */
typedef struct q8_stats_progress {
    uint64_t samples; /**< hash */
    bool strict;
    size_t n_samples;
    q8_loop_state state;
} q8_stats_progress;

/** @param progress NULL: it is complete */
q8_code q8_stats_pack(q8_buf *to, const q8_stats_subject *subject, const q8_origin *origin,
                      const q8_calibration *cal, const q8_stats_progress *progress, q8_err *err);

/**
 * Reads a file and checks all of it: damage is ::Q8_EFORMAT, another network ::Q8_EINVAL. What it
 * fills holds nothing yet, and nothing after a failure.
 * @param progress NULL: a checkpoint is refused; else a complete file is
 */
q8_code q8_stats_load(q8_calibration *cal, q8_origin *origin, q8_stats_progress *progress,
                      const char *path, const q8_stats_subject *subject, q8_err *err);
/** The same of bytes in memory; `path` is for messages. */
q8_code q8_stats_unpack(q8_calibration *cal, q8_origin *origin, q8_stats_progress *progress,
                        const char *path, const void *data, size_t size,
                        const q8_stats_subject *subject, q8_err *err);

#endif
