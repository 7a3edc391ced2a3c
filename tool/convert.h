/** One conversion, from the options to the files and what is printed. */
#ifndef Q8_TOOL_CONVERT_H
#define Q8_TOOL_CONVERT_H

#include "options.h"

/** @param met set to false where an accuracy was asked for and is out of reach; files are written
 * all the same */
q8_code convert(const struct options *o, bool *met, const q8_env *env, q8_err *err);

#endif
