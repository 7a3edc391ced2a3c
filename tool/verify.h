/** `--verify`: which pictures, and what is printed of the result. */
#ifndef Q8_TOOL_VERIFY_H
#define Q8_TOOL_VERIFY_H

#include "options.h"

/**
 * What to verify on: the pictures behind `--verify`, or some of the calibration's.
 * @return false when verification was switched off
 */
bool verify_choose(q8_verify_opts *opts, const struct options *o, const q8_calib_opts *calib,
                   const q8_calib_result *calibrated);

/** `--verify` is a number. */
bool verify_is_count(const struct options *o);

/** The outputs' figures and the layers that lose most. */
void verify_print(const q8_verify_result *result, const struct options *o);

#endif
