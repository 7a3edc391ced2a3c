/** `--gpu` and `--device`. */
#ifndef Q8_TOOL_DEVICE_H
#define Q8_TOOL_DEVICE_H

#include "options.h"

/** What is wrong with the flags about the GPU; NULL: nothing. */
const char *device_usage(const struct options *o);

/** `--device list` was given. */
bool device_is_list(const struct options *o);

/** Opens what `--gpu 1` and `--device` ask for, with a note; `*gpu` is NULL where they ask for
 * none. */
q8_code device_open(q8_gpu **gpu, const struct options *o, const q8_env *env, q8_err *err);

/** Prints the devices that there are. */
q8_code device_list(q8_err *err);

#endif
