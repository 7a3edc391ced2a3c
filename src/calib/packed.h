/**
 * A whole calibration as bytes, the same on every machine: for files and messages.
 *
 *     u32 tensors of the graph, u64 used, u64 skipped, u32 observed tensors; then for each of these
 *         u32 id, u32 channels, f32 min, f32 max, u64 count,
 *         i32 exponent, u64 zeros, u64 not finite, counters of the histogram; and for each channel
 *             f32 min, f32 max, f32 absmax, i128 sum, i32 top, f32 factor, u32 small, counters
 *
 * Counters are u8 bytes per counter (1, 2, 4 or 8), then runs until all are there: u16 counters
 * that are 0, u16 others, and these.
 */
#ifndef Q8_CALIB_PACKED_H
#define Q8_CALIB_PACKED_H

#include "base/buf.h"
#include "base/limits.h"
#include "calib/calibrate.h"

/** Appends it. `used` must be the number of samples that the statistics are of, be it 0. */
void q8_calibration_pack(const q8_calibration *cal, q8_buf *to);

/**
 * `*cal`, which holds nothing yet, becomes what was packed, to the bit. The bytes may be anybody's:
 * what contradicts itself or does not fit the graph's tensors is ::Q8_EFORMAT, and no more memory
 * is taken than statistics of this graph need. On failure `*cal` holds nothing.
 */
q8_code q8_calibration_unpack(q8_calibration *cal, const void *data, size_t size,
                              const q8_graph *graph, q8_err *err);

/**
 * `into` becomes what it would be had it seen both's samples. Both are of the same graph; if they
 * observe other tensors, or hold more samples together than can be counted, that is
 * ::Q8_EINVAL, and `into` is as it was.
 */
q8_code q8_calibration_merge(q8_calibration *into, const q8_calibration *from, q8_err *err);

#endif
